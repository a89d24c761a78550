// CPU kernel of labels.py's operator.

#include "native.h"
#include "parallel.h"
#include "places.h"

#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace {

// Writes the first of the four labels at each place of a row, and whether another one is unlike it.
void take_first(const int32_t* from, const Row& row, int64_t count, int32_t* to, int32_t* unlike) {
  const auto *corner = row.corner.data(), *right = row.right.data(), *below = row.below.data();
#pragma omp simd
  for (int32_t x = 0; x < static_cast<int32_t>(count); ++x) {
    const int32_t top = corner[x], bottom = top + below[x], label = from[top];
    to[x] = label;
    unlike[x] = (from[top + right[x]] ^ label) | (from[bottom] ^ label) | (from[bottom + right[x]] ^ label);
  }
}

// The label with most weight of the four at place x of a row, the first of equals.
int32_t elect(const int32_t* from, const Row& row, int64_t x) {
  const int32_t top = row.corner[x], bottom = top + row.below[x], right = row.right[x];
  const int32_t labels[] = {from[top], from[top + right], from[bottom], from[bottom + right]};
  const float across = row.share_x[x], down = row.share_y[x], left = 1 - across, above = 1 - down;
  const float weights[] = {left * above, across * above, left * down, across * down};
  int best = 0;
  float most = -1;
  for (int k = 0; k < 4; ++k) {
    float votes = 0;
    for (int other = 0; other < 4; ++other) votes += labels[other] == labels[k] ? weights[other] : 0.0f;
    if (votes > most) most = votes, best = k;
  }
  return labels[best];
}

Tensor sample_labels(const Tensor& labels, const Tensor& flow) {
  TORCH_CHECK(labels.dim() == 2 && labels.numel() && labels.numel() < std::numeric_limits<int32_t>::max() &&
                  labels.scalar_type() == at::kInt,
              "labels are ", labels.scalar_type(), " of ", labels.sizes());
  const int64_t height = labels.size(0), width = labels.size(1);
  TORCH_CHECK(flow.dim() == 3 && flow.size(0) == 2 && flow.size(1) == height && flow.size(2) == width &&
                  flow.scalar_type() == at::kFloat,
              "flow is ", flow.scalar_type(), " of ", flow.sizes());
  const Tensor whole = labels.contiguous(), motion = flow.contiguous();
  const Tensor sampled = at::empty_like(whole);
  const int32_t* from = whole.const_data_ptr<int32_t>();
  const float *u = motion.const_data_ptr<float>(), *v = u + height * width;
  int32_t* to = sampled.mutable_data_ptr<int32_t>();
  parallel_for(0, height, std::max<int64_t>(1, 16384 / width), [&](int64_t begin, int64_t end) {
    Row row(width);
    std::vector<int32_t> unlike(width);
    for (int64_t y = begin; y < end; ++y) {
      find_places(u + y * width, v + y * width, y, width, height, width, row);
      take_first(from, row, width, to + y * width, unlike.data());
      for (int64_t x = 0; x < width; ++x)
        if (unlike[x]) to[y * width + x] = elect(from, row, x);
    }
  });
  return sampled;
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("sample_labels", sample_labels); }
