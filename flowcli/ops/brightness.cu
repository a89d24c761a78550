// CUDA kernels of brightness.py's operator; brightness.h has what calls them, and the arithmetic. One thread for each
// cell, to average over it and then around it, and one for each pixel.

#include "brightness.h"
#include "rows.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

namespace {

__device__ float grey_at(const float* image, int64_t plane) { return grey(image[0], image[plane], image[2 * plane]); }

__global__ void average_cells(const Picture picture, float* cells) {
  const Place at = place_of(picture.rows());
  const int64_t columns = picture.columns(), cell = picture.cell;
  if (at.x >= columns) return;
  const float* from = picture.image + 3 * at.image * picture.plane() + at.y * cell * picture.width + at.x * cell;
  float sum = 0, square = 0;
  for (int64_t y = 0; y < cell; ++y)
    for (int64_t x = 0; x < cell; ++x) {
      const float value = grey_at(from + y * picture.width + x, picture.plane());
      sum += value, square += value * value;
    }
  float* out = cells + (2 * at.image * picture.rows() + at.y) * columns + at.x;
  out[0] = sum / static_cast<float>(cell * cell);
  out[picture.rows() * columns] = square / static_cast<float>(cell * cell);
}

__global__ void look_around(const Picture picture, const float* cells, float* around) {
  const Place at = place_of(picture.rows());
  const int rows = static_cast<int>(picture.rows()), columns = static_cast<int>(picture.columns());
  if (at.x >= columns) return;
  const int64_t first = 2 * at.image * rows * columns, all = static_cast<int64_t>(rows) * columns;
  const int left = max(at.x - 1, 0), right = min(at.x + 2, columns), top = max(at.y - 1, 0), end = min(at.y + 2, rows);
  float sum = 0, square = 0;
  for (int y = top; y < end; ++y)
    for (int x = left; x < right; ++x) {
      const float* from = cells + first + static_cast<int64_t>(y) * columns + x;
      sum += from[0], square += from[all];
    }
  const float count = static_cast<float>((end - top) * (right - left)), mean = sum / count;
  float* out = around + first + static_cast<int64_t>(at.y) * columns + at.x;
  out[0] = mean;
  out[all] = deviation(mean, square / count, picture.least);
}

__device__ float resized(const float* cells, int64_t columns, const Between& across, const Between& down) {
  const float *low = cells + down.low * columns, *high = cells + down.high * columns;
  return lerp_to(lerp_to(low[across.low], low[across.high], across.part),
                 lerp_to(high[across.low], high[across.high], across.part), down.part);
}

__global__ void level_pixels(const Picture picture, const float* around, float* levelled) {
  const Place at = place_of(picture.height);
  if (at.x >= picture.width) return;
  const int64_t columns = picture.columns(), all = picture.rows() * columns, pixel = at.y * picture.width + at.x;
  const Between across = between(at.x, picture.cell, columns), down = between(at.y, picture.cell, picture.rows());
  const float* from = around + 2 * at.image * all;
  const float value = grey_at(picture.image + 3 * at.image * picture.plane() + pixel, picture.plane());
  levelled[at.image * picture.plane() + pixel] =
      (value - resized(from, columns, across, down)) / resized(from + all, columns, across, down);
}

void level(const Picture& picture, const Tensor& scratch, float* levelled) {
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const Tensor second = at::empty(scratch.sizes(), scratch.options());
  float *cells = scratch.mutable_data_ptr<float>(), *around = second.mutable_data_ptr<float>();
  const dim3 of_cells = blocks(picture.count, picture.rows(), picture.columns());
  average_cells<<<of_cells, kThreads, 0, stream>>>(picture, cells);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  look_around<<<of_cells, kThreads, 0, stream>>>(picture, cells, around);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  const dim3 of_pixels = blocks(picture.count, picture.height, picture.width);
  level_pixels<<<of_pixels, kThreads, 0, stream>>>(picture, around, levelled);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CUDA, library) { library.impl("levelled_brightness", levelled_brightness); }
