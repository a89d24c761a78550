// CPU kernels of alike.py's operators.

#include "native.h"
#include "parallel.h"

#include <ATen/cpu/vec/vec.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace {

constexpr int64_t kLook = 5;   // Motion x and y, and three colours.
constexpr int64_t kMost = 64;  // Neighbours of a ring; a multiple of what a vector holds.

// How cells are compared, and with which others.
struct Around {
  const float *looks, *known;
  int64_t height, width;
  float motion, share;
  float most;  // What all neighbours can weigh.

  // Of squares of differences to the motion of `mine`.
  float scale(const float* mine) const {
    const float allowed = motion + share * std::hypot(mine[0], mine[1]);
    return 0.5f / (allowed * allowed);
  }
};

// Neighbours at one distance: where they are, and what each can weigh.
struct Ring {
  std::vector<int32_t> x, y;
  float weight;

  float most() const { return weight * static_cast<float>(x.size()); }
};

// offsets: x, y and radius of each neighbour, nearest first.
std::vector<Ring> find_rings(const int64_t* offsets, int64_t count) {
  std::vector<Ring> rings;
  for (const int64_t* offset = offsets; offset < offsets + 3 * count; offset += 3) {
    if (offset == offsets || offset[2] != offset[-1]) rings.push_back({{}, {}, 1.0f / static_cast<float>(offset[2])});
    rings.back().x.push_back(static_cast<int32_t>(offset[0]));
    rings.back().y.push_back(static_cast<int32_t>(offset[1]));
  }
  return rings;
}

struct Candidate {
  int32_t label;
  float votes;
};

void add(std::vector<Candidate>& candidates, int32_t label, float votes) {
  const auto same = [=](const Candidate& each) { return each.label == label; };
  const auto place = std::find_if(candidates.begin(), candidates.end(), same);
  if (place == candidates.end())
    candidates.push_back({label, votes});
  else
    place->votes += votes;
}

// Whether the first of the candidates, which is made the one with most votes, stays so, if others get `left` votes more.
bool decided(std::vector<Candidate>& candidates, float left) {
  const auto fewer = [](const Candidate& one, const Candidate& other) { return one.votes < other.votes; };
  std::iter_swap(candidates.begin(), std::max_element(candidates.begin(), candidates.end(), fewer));
  const auto second = std::max_element(candidates.begin() + 1, candidates.end(), fewer);
  return (second == candidates.end() ? 0 : second->votes) + left <= candidates[0].votes;
}

// The votes of a ring, each for the label of a cell.
struct Votes {
  explicit Votes(size_t most) : cell(most), weight(most + at::vec::Vectorized<float>::size()) {}

  std::vector<int32_t> cell;
  std::vector<float> weight;  // There is room for a whole vector at its end.
};

// Those of the neighbours of `cell`: how much like `mine` they are, how near and how well known; outside of the picture
// 0. scale: of squares of differences in motion.
void count(const Around& around, const Ring& ring, int64_t cell, const float* mine, float scale, Votes& votes) {
  using at::vec::Vectorized;
  const auto width = static_cast<int32_t>(around.width), height = static_cast<int32_t>(around.height);
  const auto row = static_cast<int32_t>(cell / around.width), column = static_cast<int32_t>(cell % around.width);
  const float *looks = around.looks, *known = around.known;
  const float mine_0 = mine[0], mine_1 = mine[1], mine_2 = mine[2], mine_3 = mine[3], mine_4 = mine[4];
  const int32_t *offset_x = ring.x.data(), *offset_y = ring.y.data();
  int32_t* cells = votes.cell.data();
  float *weight = votes.weight.data(), unlike[kMost];
  const auto size = static_cast<int32_t>(ring.x.size());
  const float ring_weight = ring.weight;
#pragma omp simd
  for (int32_t k = 0; k < size; ++k) {
    const int32_t x = column + offset_x[k], y = row + offset_y[k];
    const int32_t inside = (x >= 0) & (x < width) & (y >= 0) & (y < height);
    const int32_t there = inside * (y * width + x), look = there * static_cast<int32_t>(kLook);
    const float u = looks[look] - mine_0, v = looks[look + 1] - mine_1;
    const float r = looks[look + 2] - mine_2, g = looks[look + 3] - mine_3, b = looks[look + 4] - mine_4;
    unlike[k] = (u * u + v * v) * scale + r * r + g * g + b * b;
    weight[k] = ring_weight * static_cast<float>(inside) * known[there];
    cells[k] = there;
  }
  for (int32_t k = 0; k < size; k += Vectorized<float>::size())
    (Vectorized<float>::loadu(unlike + k).neg().exp_u20() * Vectorized<float>::loadu(weight + k)).store(weight + k);
}

int32_t elect_one(const Around& around, const std::vector<Ring>& rings, const int32_t* labels, int64_t cell, float own,
                  Votes& votes, std::vector<Candidate>& candidates) {
  const float* mine = around.looks + cell * kLook;
  const float scale = around.scale(mine);
  candidates.assign(1, {labels[cell], own});
  float left = around.most;
  if (own >= left) return labels[cell];
  for (const Ring& ring : rings) {
    left -= ring.most();
    count(around, ring, cell, mine, scale, votes);
    for (size_t k = 0; k < ring.x.size(); ++k)
      if (votes.weight[k] > 0) add(candidates, labels[votes.cell[k]], votes.weight[k]);
    if (decided(candidates, left)) break;
  }
  return candidates[0].label;
}

void check(const Tensor& tensor, const char* name, at::ScalarType type, at::IntArrayRef sizes) {
  TORCH_CHECK(tensor.scalar_type() == type && tensor.sizes() == sizes, name, " is ", tensor.scalar_type(), " of ",
              tensor.sizes(), ", must be ", type, " of ", sizes);
}

// What both operators are given, checked.
struct Given {
  Given(const Tensor& cells, const Tensor& looks, const Tensor& known, const Tensor& offsets, double motion,
        double share)
      : cells(cells.contiguous()), looks(looks.contiguous()), known(known.contiguous()) {
    TORCH_CHECK(cells.dim() == 1 && known.dim() == 2 && offsets.dim() == 2, "cells are ", cells.sizes(), ", known ",
                known.sizes(), ", offsets ", offsets.sizes());
    const int64_t height = known.size(0), width = known.size(1), places = known.numel();
    check(cells, "cells", at::kLong, cells.sizes());
    check(looks, "looks", at::kFloat, {places, kLook});
    check(known, "known", at::kFloat, known.sizes());
    check(offsets, "offsets", at::kLong, {offsets.size(0), 3});
    rings = find_rings(offsets.contiguous().const_data_ptr<int64_t>(), offsets.size(0));
    float most = 0;
    size_t largest = 0;
    for (const Ring& ring : rings) most += ring.most(), largest = std::max(largest, ring.x.size());
    TORCH_CHECK(largest <= kMost && places * kLook <= std::numeric_limits<int32_t>::max(), "a ring of ", largest,
                " neighbours, or ", places, " cells, are too many");
    const int64_t* cell = this->cells.const_data_ptr<int64_t>();
    TORCH_CHECK(std::all_of(cell, cell + cells.numel(), [=](int64_t each) { return each >= 0 && each < places; }),
                "a cell lies outside of ", height, "x", width);
    around = {this->looks.const_data_ptr<float>(), this->known.const_data_ptr<float>(), height, width,
              static_cast<float>(motion), static_cast<float>(share), most};
  }

  int64_t cell(int64_t k) const { return cells.const_data_ptr<int64_t>()[k]; }

  Tensor cells, looks, known;
  std::vector<Ring> rings;
  Around around;
};

Tensor elect(const Tensor& labels, const Tensor& cells, const Tensor& own, const Tensor& looks, const Tensor& known,
             const Tensor& offsets, double motion, double share) {
  const Given given(cells, looks, known, offsets, motion, share);
  check(labels, "labels", at::kInt, known.sizes());
  check(own, "own", at::kFloat, cells.sizes());
  const Tensor whole = labels.contiguous(), weights = own.contiguous();
  const Tensor elected = at::empty({cells.numel()}, labels.options());
  int32_t* to = elected.mutable_data_ptr<int32_t>();
  parallel_for(0, cells.numel(), 256, [&](int64_t begin, int64_t end) {
    std::vector<Candidate> candidates;
    Votes votes(kMost);
    for (int64_t k = begin; k < end; ++k)
      to[k] = elect_one(given.around, given.rings, whole.const_data_ptr<int32_t>(), given.cell(k),
                        weights.const_data_ptr<float>()[k], votes, candidates);
  });
  return elected;
}

Tensor sum_alike(const Tensor& values, const Tensor& cells, const Tensor& mine, const Tensor& looks,
                 const Tensor& known, const Tensor& offsets, double motion, double share) {
  const Given given(cells, looks, known, offsets, motion, share);
  const int64_t channels = values.dim() == 3 ? values.size(0) : 0, places = known.numel(), number = cells.numel();
  check(values, "values", at::kFloat, {channels, known.size(0), known.size(1)});
  check(mine, "mine", at::kFloat, {number, kLook});
  const Tensor whole = values.contiguous(), wanted = mine.contiguous();
  const Tensor sums = at::empty({channels + 1, number}, values.options());
  const float *from = whole.const_data_ptr<float>(), *likes = wanted.const_data_ptr<float>();
  float* to = sums.mutable_data_ptr<float>();
  parallel_for(0, number, 256, [&](int64_t begin, int64_t end) {
    Votes votes(kMost);
    for (int64_t k = begin; k < end; ++k) {
      const float* like = likes + k * kLook;
      const float scale = given.around.scale(like);
      for (int64_t c = 0; c <= channels; ++c) to[c * number + k] = 0;
      for (const Ring& ring : given.rings) {
        count(given.around, ring, given.cell(k), like, scale, votes);
        for (size_t i = 0; i < ring.x.size(); ++i) {
          const float weight = votes.weight[i];
          for (int64_t c = 0; c < channels; ++c) to[c * number + k] += weight * from[c * places + votes.cell[i]];
          to[channels * number + k] += weight;
        }
      }
    }
  });
  return sums;
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) {
  library.impl("elect", elect);
  library.impl("sum_alike", sum_alike);
}
