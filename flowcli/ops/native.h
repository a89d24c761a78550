// What the sources of the kernels share.
//
// All is in an unnamed namespace: the libraries for CPU and CUDA may both be loaded, and would take each other's
// functions otherwise.

#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <cstdint>

#ifdef __CUDACC__
#define BOTH __host__ __device__
#else
#define BOTH
#endif

namespace {

using at::Tensor;
using std::int64_t;

constexpr auto kLast = at::MemoryFormat::ChannelsLast;

}  // namespace
