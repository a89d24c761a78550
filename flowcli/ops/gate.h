// What the CPU and the CUDA kernels of gate.py's operator share. Each source that includes this defines update(), which
// is only declared here.

#pragma once

#include "native.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/ops/empty.h>

namespace {

// updated (P, C) from hidden (P, C) and gates (P, 2 C), for P pixels.
template <typename S>
void update(const S* hidden, const S* gates, int64_t pixels, int64_t channels, S* updated);

Tensor gated_update(const Tensor& hidden, const Tensor& gates) {
  TORCH_CHECK(hidden.dim() == 4 && gates.dim() == 4 && gates.size(0) == hidden.size(0) &&
                  gates.size(1) == 2 * hidden.size(1) && gates.size(2) == hidden.size(2) &&
                  gates.size(3) == hidden.size(3) && gates.scalar_type() == hidden.scalar_type() &&
                  gates.device() == hidden.device(),
              "state ", hidden.sizes(), " and gates ", gates.sizes(), " do not fit");
  const c10::DeviceGuard guard(hidden.device());
  const Tensor old = hidden.contiguous(kLast), rows = gates.contiguous(kLast);
  const Tensor updated = at::empty(hidden.sizes(), hidden.options().memory_format(kLast));
  if (updated.numel())
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, hidden.scalar_type(), "gated_update", [&] {
      update(old.const_data_ptr<scalar_t>(), rows.const_data_ptr<scalar_t>(), updated.numel() / hidden.size(1),
             hidden.size(1), updated.mutable_data_ptr<scalar_t>());
    });
  return updated;
}

}  // namespace
