// CUDA kernel of paint.py's operator; paint.h has what calls it. One thread for each four pixels, whose twelve bytes are
// three words.

#include "paint.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

namespace {

constexpr int kThreads = 256, kPixels = 4;

__device__ void paint_pixel(const Flow& flow, int64_t pixel, const uint8_t* __restrict__ wheel, int64_t steps,
                            uint8_t* rgb) {
  const float u = flow.u[pixel], v = flow.v[pixel], speed = hypotf(u, v) / flow.scale;
  const bool known = speed < INFINITY && (!flow.valid || flow.valid[pixel]);  // Not so where it is NaN.
  const bool over = flow.darken && speed > 1;
  const float peak = over ? kDark * kFull : kFull, depth = over ? kDark : fminf(speed, 1);
  const float last = static_cast<float>(steps - 1), turned = (atan2f(-v, -u) + kPi) * (last / (2 * kPi));
  const float position = fminf(fmaxf(turned, 0), last);  // 0 where it is NaN.
  const int64_t here = static_cast<int64_t>(position), next = here + 1 < steps ? here + 1 : 0;
  const float part = position - static_cast<float>(here);
  for (int c = 0; c < kChannels; ++c) {
    const float start = wheel[here * kChannels + c], end = wheel[next * kChannels + c];
    const float lack = kFull - start + part * (start - end);
    rgb[c] = known ? static_cast<uint8_t>(peak - depth * lack) : 0;
  }
}

__global__ void paint_pixels(const Flow flow, const uint8_t* __restrict__ wheel, int64_t steps, uint8_t* rgb) {
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kPixels;
  const int64_t left = flow.height * flow.width - first;
  if (left <= 0) return;
  uint8_t* out = rgb + first * kChannels;
  if (left < kPixels) {
    for (int i = 0; i < left; ++i) paint_pixel(flow, first + i, wheel, steps, out + i * kChannels);
    return;
  }
  alignas(uint32_t) uint8_t bytes[kPixels * kChannels];
  for (int i = 0; i < kPixels; ++i) paint_pixel(flow, first + i, wheel, steps, bytes + i * kChannels);
  for (int i = 0; i < kChannels; ++i)
    reinterpret_cast<uint32_t*>(out)[i] = reinterpret_cast<const uint32_t*>(bytes)[i];
}

void paint(const Flow& flow, const uint8_t* wheel, int64_t steps, uint8_t* rgb) {
  const int64_t threads = (flow.height * flow.width + kPixels - 1) / kPixels;
  const unsigned blocks = static_cast<unsigned>((threads + kThreads - 1) / kThreads);
  paint_pixels<<<blocks, kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(flow, wheel, steps, rgb);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CUDA, library) { library.impl("paint_flow", paint_flow); }
