// What the CPU and the CUDA kernels share: the operators that correlation.py declares and documents, but for the work
// itself. Each source that includes this defines the four templates which are only declared here.

#pragma once

#include "native.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>

#include <tuple>

namespace {

// The four below: features have the dtype S, sums and the maps `grad` and `flow` T; maps are channels-last, but for
// the flow of moved_volume, which may be laid out in any way. Results may have other dtypes, layouts and more channels
// than they should: the callers see to that.

template <typename S, typename T>
Tensor fixed_volume(const Tensor& first, const Tensor& second, int64_t radius, int64_t dilation);

template <typename S, typename T>
std::tuple<Tensor, Tensor> fixed_gradients(const Tensor& grad, const Tensor& first, const Tensor& second,
                                           int64_t radius, int64_t dilation);

template <typename S, typename T>
Tensor moved_volume(const Tensor& first, const Tensor& second, const Tensor& flow, int64_t radius);

template <typename S, typename T>
std::tuple<Tensor, Tensor, Tensor> moved_gradients(const Tensor& grad, const Tensor& first, const Tensor& second,
                                                   const Tensor& flow, int64_t radius);

// The memory format that a result takes over from `tensor`; correlation.py has the same rule.
at::MemoryFormat format_of(const Tensor& tensor) {
  return tensor.is_contiguous(kLast) && !tensor.is_contiguous() ? kLast : at::MemoryFormat::Contiguous;
}

Tensor laid_out(const Tensor& tensor, at::ScalarType type, at::MemoryFormat format) {
  return tensor.to(type, false, false, format).contiguous(format);
}

// A map as the kernels want it.
template <typename T>
Tensor as_map(const Tensor& tensor) {
  return laid_out(tensor, c10::CppTypeToScalarType<T>::value, kLast);
}

Tensor result_like(const Tensor& result, const Tensor& like) {
  return laid_out(result.narrow(1, 0, like.size(1)), like.scalar_type(), format_of(like));
}

void check(const Tensor& first, const Tensor& second, int64_t radius, int64_t dilation) {
  TORCH_CHECK(first.dim() == 4 && first.sizes() == second.sizes() && first.size(1) > 0, "features must have the same "
              "shape (N, C, H, W), not ", first.sizes(), " and ", second.sizes());
  TORCH_CHECK(first.device() == second.device(), "features must be on the same device");
  TORCH_CHECK(first.scalar_type() == second.scalar_type(), "features must have the same dtype");
  TORCH_CHECK(radius >= 0 && dilation >= 1, "radius ", radius, " or dilation ", dilation, " is out of range");
}

void check_map(const Tensor& map, const Tensor& first, int64_t channels) {
  TORCH_CHECK(map.dim() == 4 && map.size(0) == first.size(0) && map.size(1) == channels &&
              map.size(2) == first.size(2) && map.size(3) == first.size(3) && map.device() == first.device(),
              "expected ", channels, " channels over features ", first.sizes(), ", not ", map.sizes());
}

// Calls body(S(), T()) for the dtype S of the features and the dtype T that their sums have.
template <typename Body>
auto with_types(const Tensor& features, Body body) {
  const c10::DeviceGuard guard(features.device());
  return AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, features.scalar_type(), "correlation", [&] {
    return body(scalar_t(), at::opmath_type<scalar_t>());
  });
}

Tensor correlation(const Tensor& first, const Tensor& second, int64_t radius, int64_t dilation) {
  check(first, second, radius, dilation);
  return with_types(first, [&]<typename S, typename T>(S, T) {
    return fixed_volume<S, T>(first, second, radius, dilation).contiguous(format_of(first));
  });
}

std::tuple<Tensor, Tensor> correlation_backward(const Tensor& grad, const Tensor& first, const Tensor& second,
                                                int64_t radius, int64_t dilation) {
  check(first, second, radius, dilation);
  check_map(grad, first, (2 * radius + 1) * (2 * radius + 1));
  return with_types(first, [&]<typename S, typename T>(S, T) {
    const auto [one, two] = fixed_gradients<S, T>(as_map<T>(grad), first, second, radius, dilation);
    return std::make_tuple(result_like(one, first), result_like(two, second));
  });
}

Tensor lookup_correlation(const Tensor& first, const Tensor& second, const Tensor& flow, int64_t radius) {
  check(first, second, radius, 1);
  check_map(flow, first, 2);
  return with_types(first, [&]<typename S, typename T>(S, T) {
    const Tensor moves = flow.to(c10::CppTypeToScalarType<T>::value);
    return moved_volume<S, T>(first, second, moves, radius).contiguous(format_of(first));
  });
}

std::tuple<Tensor, Tensor, Tensor> lookup_correlation_backward(const Tensor& grad, const Tensor& first,
                                                               const Tensor& second, const Tensor& flow,
                                                               int64_t radius) {
  check(first, second, radius, 1);
  check_map(flow, first, 2);
  check_map(grad, first, (2 * radius + 1) * (2 * radius + 1));
  return with_types(first, [&]<typename S, typename T>(S, T) {
    const auto [one, two, by_flow] = moved_gradients<S, T>(as_map<T>(grad), first, second, as_map<T>(flow), radius);
    return std::make_tuple(result_like(one, first), result_like(two, second), result_like(by_flow, flow));
  });
}

void implement(torch::Library& library) {
  library.impl("correlation", correlation);
  library.impl("correlation_backward", correlation_backward);
  library.impl("lookup_correlation", lookup_correlation);
  library.impl("lookup_correlation_backward", lookup_correlation_backward);
}

}  // namespace
