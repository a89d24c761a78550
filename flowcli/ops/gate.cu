// CUDA kernel of gate.py's operator; gate.h has what calls it. One thread for each number of the state.

#include "gate.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

namespace {

constexpr int kThreads = 256;

template <typename T>
__device__ T sigmoid(T x) {
  return 1 / (1 + exp(-x));
}

template <typename S>
__global__ void update_numbers(const S* hidden, const S* gates, int64_t numbers, int64_t channels, S* updated) {
  using T = at::opmath_type<S>;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= numbers) return;
  const S* gate = gates + index / channels * 2 * channels + index % channels;
  const T old = static_cast<T>(hidden[index]);
  updated[index] = static_cast<S>(old + sigmoid(static_cast<T>(gate[0])) * (tanh(static_cast<T>(gate[channels])) - old));
}

template <typename S>
void update(const S* hidden, const S* gates, int64_t pixels, int64_t channels, S* updated) {
  const int64_t numbers = pixels * channels;
  const unsigned blocks = static_cast<unsigned>((numbers + kThreads - 1) / kThreads);
  update_numbers<<<blocks, kThreads, 0, c10::cuda::getCurrentCUDAStream()>>>(hidden, gates, numbers, channels, updated);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CUDA, library) { library.impl("gated_update", gated_update); }
