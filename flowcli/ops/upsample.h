// What the CPU and the CUDA kernels of upsample.py's operator share. Each source that includes this defines blend(),
// which is only declared here.

#pragma once

#include "native.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>

#include <cmath>

namespace {

constexpr int kNear = 9;

struct Grid {
  int64_t count, height, width, factor;  // Of the coarse flow.
  BOTH int64_t cells() const { return factor * factor; }
};

// upsampled (N, 2, k h, k w) from flow (N, 2, h, w) and mask (N, h, w, 9, k^2).
template <typename T, typename S>
void blend(const Grid& grid, const T* flow, const S* mask, T* upsampled);

Tensor convex_upsample(const Tensor& flow, const Tensor& mask) {
  TORCH_CHECK(flow.dim() == 4 && mask.dim() == 4 && flow.size(1) == 2 && flow.size(0) == mask.size(0) &&
                  flow.size(2) == mask.size(2) && flow.size(3) == mask.size(3) && flow.device() == mask.device(),
              "flow ", flow.sizes(), " and mask ", mask.sizes(), " do not fit");
  const int64_t factor = std::lround(std::sqrt(static_cast<double>(mask.size(1)) / kNear));
  TORCH_CHECK(factor > 0 && mask.size(1) == kNear * factor * factor, "mask has ", mask.size(1), " channels");
  const c10::DeviceGuard guard(flow.device());
  const Tensor coarse = flow.contiguous(), weights = mask.contiguous(kLast);
  const Grid grid{flow.size(0), flow.size(2), flow.size(3), factor};
  const Tensor upsampled = at::empty({grid.count, 2, factor * grid.height, factor * grid.width}, coarse.options());
  if (upsampled.numel())
    AT_DISPATCH_FLOATING_TYPES(flow.scalar_type(), "convex_upsample", [&] {
      using T = scalar_t;
      AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, mask.scalar_type(), "convex_upsample", [&] {
        blend(grid, coarse.const_data_ptr<T>(), weights.const_data_ptr<scalar_t>(), upsampled.mutable_data_ptr<T>());
      });
    });
  return upsampled;
}

}  // namespace
