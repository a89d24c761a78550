// CPU kernel of alike.py's operator.

#include "native.h"
#include "parallel.h"

#include <ATen/cpu/vec/vec.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace {

constexpr int64_t kLook = 5;  // Motion x and y, and three colours.

// How cells are compared, and with which others.
struct Around {
  const float *looks, *known;
  const int64_t* offsets;  // x, y and radius, nearest first.
  int64_t height, width, count;
  float motion, share;
  float most;  // What all neighbours can weigh.
};

struct Candidate {
  int32_t label;
  float votes;
};

// How unlike two cells are that look like `mine` and `other`; scale: of squares of differences in motion.
float unlike(const float* mine, const float* other, float scale) {
  float sum = 0;
  for (int64_t k = 0; k < kLook; ++k) {
    const float difference = other[k] - mine[k];
    sum += difference * difference * (k < 2 ? scale : 1.0f);
  }
  return sum;
}

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

// The neighbours of a ring that are inside of the picture and known.
struct Voters {
  static constexpr int64_t kMost = 64;  // A multiple of what a vector holds.
  int64_t count = 0;
  int32_t labels[kMost];
  float unlike[kMost], weight[kMost];
};

void vote(const Voters& voters, std::vector<Candidate>& candidates) {
  using at::vec::Vectorized;
  float alike[Voters::kMost];
  for (int64_t k = 0; k < voters.count; k += Vectorized<float>::size())
    (Vectorized<float>::loadu(voters.unlike + k).neg().exp_u20() * Vectorized<float>::loadu(voters.weight + k))
        .store(alike + k);
  for (int64_t k = 0; k < voters.count; ++k) add(candidates, voters.labels[k], alike[k]);
}

int32_t elect_one(const Around& around, const int32_t* labels, int64_t cell, float own, Voters& voters,
                  std::vector<Candidate>& candidates) {
  const float* mine = around.looks + cell * kLook;
  const float allowed = around.motion + around.share * std::hypot(mine[0], mine[1]);
  const float scale = 0.5f / (allowed * allowed);
  const int64_t row = cell / around.width, column = cell % around.width;
  candidates.assign(1, {labels[cell], own});
  float left = around.most;
  for (int64_t k = 0; k < around.count; ++k) {
    const int64_t *offset = around.offsets + 3 * k, x = column + offset[0], y = row + offset[1];
    const int64_t there = y * around.width + x;
    const float weight = 1.0f / static_cast<float>(offset[2]);
    left -= weight;
    if (x >= 0 && x < around.width && y >= 0 && y < around.height && around.known[there] > 0) {
      voters.labels[voters.count] = labels[there];
      voters.unlike[voters.count] = unlike(mine, around.looks + there * kLook, scale);
      voters.weight[voters.count++] = weight * around.known[there];
    }
    const bool last_of_ring = k + 1 == around.count || offset[5] != offset[2];
    if (!last_of_ring && voters.count < Voters::kMost) continue;
    vote(voters, candidates);
    voters.count = 0;
    if (last_of_ring && decided(candidates, left)) break;
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
  const int64_t* step = steps.const_data_ptr<int64_t>();
  float most = 0;
  for (int64_t k = 0; k < steps.size(0); ++k) most += 1.0f / static_cast<float>(step[3 * k + 2]);
  const Around around{seen.const_data_ptr<float>(), sure.const_data_ptr<float>(), step, height, width, steps.size(0),
                      static_cast<float>(motion), static_cast<float>(share), most};
  const int64_t* cell = which.const_data_ptr<int64_t>();
  TORCH_CHECK(std::all_of(cell, cell + count, [=](int64_t each) { return each >= 0 && each < places; }),
              "a cell lies outside of ", height, "x", width);
  const Tensor elected = at::empty({count}, labels.options());
  int32_t* to = elected.mutable_data_ptr<int32_t>();
  parallel_for(0, count, 256, [&](int64_t begin, int64_t end) {
    std::vector<Candidate> candidates;
    Voters voters{};
    for (int64_t k = begin; k < end; ++k)
      to[k] = elect_one(around, whole.const_data_ptr<int32_t>(), cell[k], weights.const_data_ptr<float>()[k], voters,
                        candidates);
  });
  return elected;
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("elect", elect); }
