// CPU kernel of warp.py's operator.

#include "native.h"
#include "parallel.h"
#include "places.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <limits>

namespace {

void sample(const float* from, const Row& row, int64_t count, float* to) {
  const auto *corner = row.corner.data(), *right = row.right.data(), *below = row.below.data();
  const auto *share_x = row.share_x.data(), *share_y = row.share_y.data();
#pragma omp simd
  for (int32_t x = 0; x < static_cast<int32_t>(count); ++x) {
    const int32_t top_left = corner[x], bottom_left = top_left + below[x];
    const float top = from[top_left] + share_x[x] * (from[top_left + right[x]] - from[top_left]);
    const float bottom = from[bottom_left] + share_x[x] * (from[bottom_left + right[x]] - from[bottom_left]);
    to[x] = top + share_y[x] * (bottom - top);
  }
}

Tensor warp(const Tensor& image, const Tensor& flow) {
  TORCH_CHECK(image.dim() == 3 && flow.dim() == 3 && flow.size(0) == 2 && image.size(1) * image.size(2) > 0 &&
                  image.size(1) * image.size(2) < std::numeric_limits<int32_t>::max() &&
                  image.scalar_type() == at::kFloat && flow.scalar_type() == at::kFloat,
              "image ", image.sizes(), " and flow ", flow.sizes(), " do not fit, or are not float32");
  const int64_t channels = image.size(0), height = image.size(1), width = image.size(2);
  const int64_t rows = flow.size(1), columns = flow.size(2);
  const Tensor whole = image.contiguous(), motion = flow.contiguous();
  const Tensor warped = at::empty({channels, rows, columns}, whole.options());
  const float *from = whole.const_data_ptr<float>(), *u = motion.const_data_ptr<float>(), *v = u + rows * columns;
  float* to = warped.mutable_data_ptr<float>();
  parallel_for(0, rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(columns, 1)), [&](int64_t begin, int64_t end) {
    Row row(columns);
    for (int64_t y = begin; y < end; ++y) {
      find_places(u + y * columns, v + y * columns, y, columns, height, width, row);
      for (int64_t c = 0; c < channels; ++c)
        sample(from + c * height * width, row, columns, to + (c * rows + y) * columns);
    }
  });
  return warped;
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("warp", warp); }
