// CUDA kernels of pixels.py's operators; pixels.h has what calls them. One thread for each pixel of the planes, and for
// each number of the cells.

#include "pixels.h"
#include "rows.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

namespace {

__global__ void unpack_each(const Placed placed, const uint8_t* pixels, float* planes) {
  const Place at = place_of(placed.height);
  if (at.x >= placed.width) return;
  const int64_t row = min(max(at.y - placed.top, int64_t(0)), placed.rows - 1);
  const int64_t column = min(max(at.x - placed.left, int64_t(0)), placed.columns - 1);
  const uint8_t* from = pixels + ((at.image * placed.rows + row) * placed.columns + column) * kColours;
  const int64_t plane = placed.height * placed.width;
  float* out = planes + at.image * kColours * plane + at.y * placed.width + at.x;
  for (int colour = 0; colour < kColours; ++colour) out[colour * plane] = static_cast<float>(from[colour]) / 255.0f;
}

void unpack(const Placed& placed, const uint8_t* pixels, float* planes) {
  const dim3 grid = blocks(placed.count, placed.height, placed.width);
  unpack_each<<<grid, kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(placed, pixels, planes);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename S>
__global__ void unshuffle_each(const Cells shape, const float* image, S* cells) {
  const Place at = place_of(shape.rows);
  const int factor = static_cast<int>(shape.factor), channels = static_cast<int>(shape.channels) * factor * factor;
  const int column = at.x / channels, k = at.x % channels;
  if (column >= shape.columns) return;
  const int64_t channel = at.image * shape.channels + k / (factor * factor);
  const int64_t x = column * factor + k % factor, y = at.y * factor + k / factor % factor;
  cells[(at.image * shape.rows + at.y) * shape.columns * channels + at.x] =
      static_cast<S>(image[channel * shape.plane() + y * shape.width() + x]);
}

template <typename S>
void unshuffle(const Cells& shape, const float* image, S* cells) {
  const dim3 grid = blocks(shape.count, shape.rows, shape.channels * shape.factor * shape.width());
  unshuffle_each<<<grid, kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(shape, image, cells);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CUDA, library) {
  library.impl("unpack_pixels", unpack_pixels);
  library.impl("unshuffle_pixels", unshuffle_pixels);
}
