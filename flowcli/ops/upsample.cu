// CUDA kernel of upsample.py's operator; upsample.h has what calls it. One thread for each fine pixel: the threads of a
// cell read its weights together.

#include "upsample.h"

#include <ATen/OpMathType.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

namespace {

constexpr int kThreads = 128;

template <typename T, typename S>
__global__ void blend_pixels(const Grid grid, const T* flow, const S* mask, T* upsampled) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t cells = grid.cells(), plane = grid.height * grid.width, pixel = index / cells, cell = index % cells;
  if (pixel >= grid.count * plane) return;
  const int64_t image = pixel / plane, y = pixel % plane / grid.width, x = pixel % grid.width;
  const S* from = mask + pixel * kNear * cells + cell;
  const T* near = flow + 2 * image * plane;
  T weights[kNear], most = static_cast<T>(from[0]), sum = 0, u = 0, v = 0;
  for (int k = 0; k < kNear; ++k) {
    weights[k] = static_cast<T>(from[k * cells]);
    most = weights[k] > most ? weights[k] : most;
  }
  for (int k = 0; k < kNear; ++k) {
    const int64_t row = min(max(y + k / 3 - 1, int64_t(0)), grid.height - 1);
    const int64_t column = min(max(x + k % 3 - 1, int64_t(0)), grid.width - 1);
    const T weight = exp(weights[k] - most);
    sum += weight;
    u += weight * near[row * grid.width + column];
    v += weight * near[plane + row * grid.width + column];
  }
  const int64_t fine_y = y * grid.factor + cell / grid.factor, fine_x = x * grid.factor + cell % grid.factor;
  T* out = upsampled + 2 * image * plane * cells + fine_y * grid.factor * grid.width + fine_x;
  const T scale = static_cast<T>(grid.factor) / sum;
  out[0] = scale * u;
  out[plane * cells] = scale * v;
}

template <typename T, typename S>
void blend(const Grid& grid, const T* flow, const S* mask, T* upsampled) {
  const int64_t pixels = grid.count * grid.height * grid.width * grid.cells();
  const unsigned blocks = static_cast<unsigned>((pixels + kThreads - 1) / kThreads);
  blend_pixels<<<blocks, kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(grid, flow, mask, upsampled);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CUDA, library) { library.impl("convex_upsample", convex_upsample); }
