// CPU kernel of alike.py's operator.

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

// Those of the neighbours of `cell`: how alike they are, how near and how well known; outside of the picture 0.
void count(const Around& around, const Ring& ring, int64_t cell, float scale, Votes& votes) {
  using at::vec::Vectorized;
  const auto width = static_cast<int32_t>(around.width), height = static_cast<int32_t>(around.height);
  const auto row = static_cast<int32_t>(cell / around.width), column = static_cast<int32_t>(cell % around.width);
  const float *looks = around.looks, *known = around.known, *mine = looks + cell * kLook;
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
  const float allowed = around.motion + around.share * std::hypot(mine[0], mine[1]);
  const float scale = 0.5f / (allowed * allowed);
  candidates.assign(1, {labels[cell], own});
  float left = around.most;
  if (own >= left) return labels[cell];
  for (const Ring& ring : rings) {
    left -= ring.most();
    count(around, ring, cell, scale, votes);
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

Tensor elect(const Tensor& labels, const Tensor& cells, const Tensor& own, const Tensor& looks, const Tensor& known,
             const Tensor& offsets, double motion, double share) {
  TORCH_CHECK(labels.dim() == 2 && cells.dim() == 1 && offsets.dim() == 2, "labels are ", labels.sizes(), ", cells ",
              cells.sizes(), ", offsets ", offsets.sizes());
  const int64_t height = labels.size(0), width = labels.size(1), count = cells.numel(), places = labels.numel();
  check(labels, "labels", at::kInt, {height, width});
  check(cells, "cells", at::kLong, {count});
  check(own, "own", at::kFloat, {count});
  check(looks, "looks", at::kFloat, {places, kLook});
  check(known, "known", at::kFloat, {height, width});
  check(offsets, "offsets", at::kLong, {offsets.size(0), 3});
  const Tensor whole = labels.contiguous(), which = cells.contiguous(), weights = own.contiguous();
  const Tensor seen = looks.contiguous(), sure = known.contiguous(), steps = offsets.contiguous();
  const std::vector<Ring> rings = find_rings(steps.const_data_ptr<int64_t>(), steps.size(0));
  float most = 0;
  size_t largest = 0;
  for (const Ring& ring : rings) most += ring.most(), largest = std::max(largest, ring.x.size());
  TORCH_CHECK(largest <= kMost && places * kLook <= std::numeric_limits<int32_t>::max(), "a ring of ", largest,
              " neighbours, or ", places, " cells, are too many");
  const Around around{seen.const_data_ptr<float>(), sure.const_data_ptr<float>(), height, width,
                      static_cast<float>(motion), static_cast<float>(share), most};
  const int64_t* cell = which.const_data_ptr<int64_t>();
  TORCH_CHECK(std::all_of(cell, cell + count, [=](int64_t each) { return each >= 0 && each < places; }),
              "a cell lies outside of ", height, "x", width);
  const Tensor elected = at::empty({count}, labels.options());
  int32_t* to = elected.mutable_data_ptr<int32_t>();
  parallel_for(0, count, 256, [&](int64_t begin, int64_t end) {
    std::vector<Candidate> candidates;
    Votes votes(kMost);
    for (int64_t k = begin; k < end; ++k)
      to[k] = elect_one(around, rings, whole.const_data_ptr<int32_t>(), cell[k], weights.const_data_ptr<float>()[k],
                        votes, candidates);
  });
  return elected;
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("elect", elect); }
