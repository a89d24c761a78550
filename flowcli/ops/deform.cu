// CUDA kernel of deform.py's operator; deform.h has what calls it. One thread for each number of the matrix: those of a
// pixel's group read its channels together.

#include "deform.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

namespace {

constexpr int kThreads = 256;

template <typename T>
__global__ void gather_numbers(const Samples<T> samples, int64_t begin, int64_t numbers, T* matrix) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= numbers) return;
  const int share = static_cast<int>(samples.share()), entries = static_cast<int>(samples.entries());
  const int taps = static_cast<int>(samples.taps()), across = static_cast<int>(samples.columns);
  const int height = static_cast<int>(samples.height), width = static_cast<int>(samples.width);
  const int64_t row = index / (static_cast<int64_t>(entries) * share), pixel = begin + row;
  const int number = static_cast<int>(index - row * entries * share), entry = number / share, tap = entry % taps;
  const int64_t plane = static_cast<int64_t>(height) * width, image = pixel / plane;
  const int inside = static_cast<int>(pixel - image * plane), y = inside / width, x = inside % width;
  const T* offset = samples.offsets + pixel * samples.offset_step + 2 * entry;
  const Side<T> rows = side_of(static_cast<T>(y + tap / across - static_cast<int>(samples.rows) / 2) + offset[0], height);
  const Side<T> columns = side_of(static_cast<T>(x + tap % across - across / 2) + offset[1], width);
  const T* channel = samples.features + image * plane * samples.channels + entry / taps * share + number % share;
  const auto at = [&](int down, int right) {
    return channel[(static_cast<int64_t>(down) * width + right) * samples.channels];
  };
  const T low = columns.low_weight * at(rows.low, columns.low) + columns.high_weight * at(rows.low, columns.high);
  const T high = columns.low_weight * at(rows.high, columns.low) + columns.high_weight * at(rows.high, columns.high);
  matrix[index] = samples.mask[pixel * samples.mask_step + entry] * (rows.low_weight * low + rows.high_weight * high);
}

template <typename T>
void gather(const Samples<T>& samples, int64_t begin, int64_t end, T* matrix) {
  const int64_t numbers = (end - begin) * samples.entries() * samples.share();
  const unsigned blocks = static_cast<unsigned>((numbers + kThreads - 1) / kThreads);
  gather_numbers<<<blocks, kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(samples, begin, numbers, matrix);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CUDA, library) { library.impl("deform_conv", deform_conv); }
