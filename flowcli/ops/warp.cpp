// CPU kernel of warp.py's operator.

#include "native.h"
#include "parallel.h"
#include "places.h"
#include "widen.h"

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

// The same for all channels of a pixel at a time, which lie together.
template <typename T>
void sample_pixels(const T* from, const Row& row, int64_t count, int64_t channels, T* to) {
  for (int64_t x = 0; x < count; ++x, to += channels) {
    const T *top_left = from + row.corner[x] * channels, *top_right = top_left + row.right[x] * channels;
    const T *bottom_left = top_left + row.below[x] * channels, *bottom_right = top_right + row.below[x] * channels;
    const float share_x = row.share_x[x], share_y = row.share_y[x];
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const float left = widened<float>(top_left[c]), below = widened<float>(bottom_left[c]);
      const float top = left + share_x * (widened<float>(top_right[c]) - left);
      const float bottom = below + share_x * (widened<float>(bottom_right[c]) - below);
      to[c] = narrowed<T>(top + share_y * (bottom - top));
    }
  }
}

// Calls body(places of a row, its number) for all rows of the flow.
template <typename Body>
void for_rows(const Tensor& flow, int64_t height, int64_t width, int64_t channels, const Body& body) {
  const int64_t rows = flow.size(1), columns = flow.size(2);
  const float *u = flow.const_data_ptr<float>(), *v = u + rows * columns;
  const int64_t grain = std::max<int64_t>(1, 49152 / std::max<int64_t>(columns * channels, 1));
  parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    Row row(columns);
    for (int64_t y = begin; y < end; ++y) {
      find_places(u + y * columns, v + y * columns, y, columns, height, width, row);
      body(row, y);
    }
  });
}

Tensor warp_planes(const Tensor& image, const Tensor& flow) {
  const int64_t channels = image.size(0), height = image.size(1), width = image.size(2);
  const int64_t rows = flow.size(1), columns = flow.size(2);
  const Tensor warped = at::empty({channels, rows, columns}, image.options());
  const float* from = image.const_data_ptr<float>();
  float* to = warped.mutable_data_ptr<float>();
  for_rows(flow, height, width, channels, [&](const Row& row, int64_t y) {
    for (int64_t c = 0; c < channels; ++c)
      sample(from + c * height * width, row, columns, to + (c * rows + y) * columns);
  });
  return warped;
}

template <typename T>
Tensor warp_pixels(const Tensor& image, const Tensor& flow) {
  const int64_t channels = image.size(0), columns = flow.size(2);
  const Tensor warped = at::empty({flow.size(1), columns, channels}, image.options());
  const T* from = image.const_data_ptr<T>();
  T* to = warped.mutable_data_ptr<T>();
  for_rows(flow, image.size(1), image.size(2), channels, [&](const Row& row, int64_t y) {
    sample_pixels(from, row, columns, channels, to + y * columns * channels);
  });
  return warped.permute({2, 0, 1});
}

Tensor warp(const Tensor& image, const Tensor& flow) {
  const bool half = image.scalar_type() == at::kBFloat16;
  TORCH_CHECK(image.dim() == 3 && flow.dim() == 3 && flow.size(0) == 2 && image.size(1) * image.size(2) > 0 &&
                  image.size(1) * image.size(2) < std::numeric_limits<int32_t>::max() &&
                  (half || image.scalar_type() == at::kFloat) && flow.scalar_type() == at::kFloat,
              "image ", image.sizes(), " and flow ", flow.sizes(), " do not fit, or are not float32 or bfloat16");
  const Tensor motion = flow.contiguous();
  if (!image.is_contiguous() && image.permute({1, 2, 0}).is_contiguous())
    return half ? warp_pixels<c10::BFloat16>(image, motion) : warp_pixels<float>(image, motion);
  const Tensor warped = warp_planes(image.to(at::kFloat).contiguous(), motion);
  return warped.to(image.scalar_type());
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("warp", warp); }
