// What the CPU and the CUDA kernels of lucas_kanade.py's operator share. Each source that includes this defines
// measure(), which is only declared here.

#pragma once

#include "cells.h"

#include <ATen/ops/empty.h>

#include <cmath>

namespace {

constexpr int kProducts = 6;  // Of slopes x, y and change c: xx, yy, xy, xc, yc, cc.
constexpr int kMeasures = 4;
constexpr float kMostMisfit = 2;

struct Pictures {
  int64_t count, height, width, cell;  // Of the pictures; the flow has height / cell rows.
  const float *first, *second, *flow;  // (N, H, W), (N, H, W), (N, 2, H / cell, W / cell)
  BOTH int64_t rows() const { return height / cell; }
  BOTH int64_t columns() const { return width / cell; }
};

// A position on the picture, which NaN is not; and 1 where it was there before, else 0.
BOTH inline float onto(float position, float last, float* inside) {
  *inside *= position >= 0 && position <= last ? 1.0f : 0.0f;
  return position > 0 ? (position < last ? position : last) : 0.0f;
}

// Where the first of the four pixels around a position is, and how far the position is on the way to the others.
struct Corner {
  int index;
  float part_x, part_y;
};

BOTH inline Corner corner_of(float x, float y, int width, int height) {
  const int column = static_cast<int>(x), row = static_cast<int>(y);
  const int left = column < width - 1 || column == 0 ? column : column - 1;
  const int top = row < height - 1 || row == 0 ? row : row - 1;
  return {top * width + left, x - static_cast<float>(left), y - static_cast<float>(top)};
}

BOTH inline float bilinear(float a, float b, float c, float d, float part_x, float part_y) {
  return lerp_to(lerp_to(a, b, part_x), lerp_to(c, d, part_x), part_y);
}

// Writes the measures of one window, `stride` apart, from the means of the products in it.
BOTH inline void solve(const float* means, float damping, int64_t stride, float* out) {
  const float xx = means[0] + damping, yy = means[1] + damping, xy = means[2], xc = means[3], yc = means[4];
  const float area = xx * yy - xy * xy, u = (xy * yc - yy * xc) / area, v = (xy * xc - xx * yc) / area;
  const float misfit = std::sqrt(means[5]);
  out[0] = u < -1 ? -1 : u > 1 ? 1 : u;
  out[stride] = v < -1 ? -1 : v > 1 ? 1 : v;
  out[2 * stride] = area / (area + xx + yy);
  out[3 * stride] = misfit > kMostMisfit ? kMostMisfit : misfit;
}

// Fills products (N, 6, h, w) with the means over each cell, then steps (N, 4 K, h, w).
void measure(const Pictures& pictures, at::IntArrayRef windows, float damping, float* products, float* steps);

Tensor lucas_kanade(const Tensor& first, const Tensor& second, const Tensor& flow, at::IntArrayRef windows,
                    double damping) {
  TORCH_CHECK(first.dim() == 4 && first.sizes() == second.sizes() && first.size(1) == 1 && flow.dim() == 4 &&
                  flow.size(0) == first.size(0) && flow.size(1) == 2,
              "pictures ", first.sizes(), " and ", second.sizes(), " do not fit the flow ", flow.sizes());
  for (const Tensor& tensor : {first, second, flow})
    TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.device() == first.device(), "must be float32, on ",
                first.device());
  const int64_t rows = flow.size(2), columns = flow.size(3), cell = rows ? first.size(2) / rows : 0;
  TORCH_CHECK(cell > 0 && columns > 0 && first.size(2) == cell * rows && first.size(3) == cell * columns,
              "a flow of ", flow.sizes(), " does not fit pictures of ", first.sizes());
  TORCH_CHECK(first.size(2) * first.size(3) <= INT32_MAX, "pictures are too large: ", first.sizes());
  for (const int64_t window : windows) TORCH_CHECK(window >= 0, "a window is negative: ", windows);
  const c10::DeviceGuard guard(first.device());
  const Tensor one = first.contiguous(), two = second.contiguous(), moved = flow.contiguous();
  const int64_t count = first.size(0), channels = kMeasures * static_cast<int64_t>(windows.size());
  const Tensor products = at::empty({count, kProducts, rows, columns}, one.options());
  const Tensor steps = at::empty({count, channels, rows, columns}, one.options());
  if (steps.numel())
    measure({count, first.size(2), first.size(3), cell, one.const_data_ptr<float>(), two.const_data_ptr<float>(),
             moved.const_data_ptr<float>()},
            windows, static_cast<float>(damping), products.mutable_data_ptr<float>(),
            steps.mutable_data_ptr<float>());
  return steps;
}

}  // namespace
