// CUDA kernels of lucas_kanade.py's operator; lucas_kanade.h has what calls them, and the arithmetic.
//
// One thread for each cell, first to sum the products over its pixels, then to solve for its steps. What neighbours
// share of the warped picture, each works out for itself: its sources are in the cache.

#include "lucas_kanade.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

namespace {

constexpr int kThreads = 128;

// The second picture brought onto the first at one pixel, and 1 where it is known, else 0.
__device__ float warp(const Pictures& pictures, int64_t image, int x, int y, float* inside) {
  const int width = static_cast<int>(pictures.width), height = static_cast<int>(pictures.height);
  const int columns = static_cast<int>(pictures.columns()), plane = static_cast<int>(pictures.rows()) * columns;
  const Between across = between(x, pictures.cell, columns), down = between(y, pictures.cell, pictures.rows());
  const float *u = pictures.flow + 2 * image * plane, *v = u + plane, scale = static_cast<float>(pictures.cell);
  const int low = down.low * columns, high = down.high * columns;
  const float move_x = lerp_to(lerp_to(u[low + across.low], u[high + across.low], down.part),
                               lerp_to(u[low + across.high], u[high + across.high], down.part), across.part);
  const float move_y = lerp_to(lerp_to(v[low + across.low], v[high + across.low], down.part),
                               lerp_to(v[low + across.high], v[high + across.high], down.part), across.part);
  *inside = 1;
  const float at_x = onto(static_cast<float>(x) + scale * move_x, static_cast<float>(width - 1), inside);
  const float at_y = onto(static_cast<float>(y) + scale * move_y, static_cast<float>(height - 1), inside);
  const Corner corner = corner_of(at_x, at_y, width, height);
  const float* from = pictures.second + image * pictures.height * pictures.width + corner.index;
  const int right = width > 1 ? 1 : 0, below = height > 1 ? width : 0;
  return bilinear(from[0], from[right], from[below], from[below + right], corner.part_x, corner.part_y);
}

// The sum of both pictures at one pixel, brought inside.
__device__ float both(const Pictures& pictures, int64_t image, int x, int y) {
  const int width = static_cast<int>(pictures.width), height = static_cast<int>(pictures.height);
  x = min(max(x, 0), width - 1), y = min(max(y, 0), height - 1);
  float inside;
  return pictures.first[(image * height + y) * width + x] + warp(pictures, image, x, y, &inside);
}

__global__ void sum_products(const Pictures pictures, float* products) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t columns = pictures.columns(), plane = pictures.rows() * columns, image = index / plane;
  if (image >= pictures.count) return;
  const int cell = static_cast<int>(pictures.cell), height = static_cast<int>(pictures.height),
            width = static_cast<int>(pictures.width);
  const int left = static_cast<int>(index % columns) * cell, top = static_cast<int>(index % plane / columns) * cell;
  float sums[kProducts] = {};
  for (int y = top; y < top + cell; ++y)
    for (int x = left; x < left + cell; ++x) {
      float inside;
      const float two = warp(pictures, image, x, y, &inside);
      const float change = inside * (two - pictures.first[(image * height + y) * width + x]);
      const float slope_x = 0.25f * inside * (both(pictures, image, x + 1, y) - both(pictures, image, x - 1, y));
      const float slope_y = 0.25f * inside * (both(pictures, image, x, y + 1) - both(pictures, image, x, y - 1));
      const float terms[kProducts] = {slope_x * slope_x, slope_y * slope_y, slope_x * slope_y,
                                      slope_x * change,  slope_y * change,  change * change};
      for (int k = 0; k < kProducts; ++k) sums[k] += terms[k];
    }
  for (int k = 0; k < kProducts; ++k)
    products[(image * kProducts + k) * plane + index % plane] = sums[k] / static_cast<float>(cell * cell);
}

// The measures of one window: number `kind` of `kinds`.
__global__ void solve_cells(const Pictures pictures, const float* products, int radius, float damping, int kind,
                            int kinds, float* steps) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t columns = pictures.columns(), plane = pictures.rows() * columns, image = index / plane;
  if (image >= pictures.count) return;
  const int x = static_cast<int>(index % columns), y = static_cast<int>(index % plane / columns);
  const int left = max(x - radius, 0), right = min(x + radius + 1, static_cast<int>(columns));
  const int top = max(y - radius, 0), end = min(y + radius + 1, static_cast<int>(pictures.rows()));
  float means[kProducts] = {};
  for (int k = 0; k < kProducts; ++k) {
    const float* from = products + (image * kProducts + k) * plane;
    for (int j = top; j < end; ++j)
      for (int i = left; i < right; ++i) means[k] += from[j * columns + i];
    means[k] /= static_cast<float>((end - top) * (right - left));
  }
  solve(means, damping, plane, steps + (image * kinds + kind) * kMeasures * plane + index % plane);
}

void measure(const Pictures& pictures, at::IntArrayRef windows, float damping, float* products, float* steps) {
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const int64_t cells = pictures.count * pictures.rows() * pictures.columns();
  const unsigned blocks = static_cast<unsigned>((cells + kThreads - 1) / kThreads);
  sum_products<<<blocks, kThreads, 0, stream>>>(pictures, products);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  for (std::size_t kind = 0; kind < windows.size(); ++kind) {
    solve_cells<<<blocks, kThreads, 0, stream>>>(pictures, products, static_cast<int>(windows[kind]), damping,
                                                 static_cast<int>(kind), static_cast<int>(windows.size()), steps);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CUDA, library) { library.impl("lucas_kanade", lucas_kanade); }
