// What the CPU and the CUDA kernels of deform.py's operator share. Each source that includes this defines gather(), which
// is only declared here: it fills the rows of a matrix with the samples that each pixel needs, and the convolution is
// the product of that matrix with the weights.

#pragma once

#include "native.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

namespace {

constexpr int64_t kAtOnce = 2048;  // Pixels in the matrix on a CPU: it stays in the cache.
constexpr int64_t kAtOnceCuda = 65536;

// Rows have the channels of a pixel; offsets and mask may be slices of wider rows.
template <typename T>
struct Samples {
  int64_t height, width, channels, groups, rows, columns;  // rows, columns: of the kernel.
  const T *features, *offsets, *mask;
  int64_t offset_step, mask_step;
  BOTH int64_t taps() const { return rows * columns; }
  BOTH int64_t entries() const { return groups * taps(); }
  BOTH int64_t share() const { return channels / groups; }
};

// One side of a bilinear sample: two places that lie inside, and their weights, which are zero if they were not.
template <typename T>
struct Side {
  int low, high;
  T low_weight, high_weight;
};

template <typename T>
BOTH inline Side<T> side_of(T position, int size) {
  // NaN is not above -1 either. At -1 no place is inside.
  const T limited = position > T(-1) ? (position < T(size) ? position : T(size)) : T(-1);
  const T floor = std::floor(limited), part = limited - floor;
  const int low = static_cast<int>(floor);
  const bool has_low = low >= 0 && low < size, has_high = low + 1 < size;
  return {has_low ? low : 0, has_high ? low + 1 : 0, has_low ? 1 - part : T(0), has_high ? part : T(0)};
}

// Fills rows begin to end of the matrix, [pixel][group][tap][channel of the group].
template <typename T>
void gather(const Samples<T>& samples, int64_t begin, int64_t end, T* matrix);

// (N H W, C), of which the channels of a pixel lie beside each other.
Tensor rows_of(const Tensor& tensor, at::ScalarType type) {
  const Tensor rows = tensor.permute({0, 2, 3, 1}).reshape({-1, tensor.size(1)}).to(type);
  return rows.stride(1) == 1 ? rows : rows.contiguous();
}

template <typename T>
void convolve(Samples<T> samples, const Tensor& kernel, const Tensor& bias, const Tensor& convolved) {
  const int64_t pixels = convolved.size(0), most = convolved.is_cuda() ? kAtOnceCuda : kAtOnce;
  const Tensor matrix = at::empty({std::min(pixels, most), kernel.size(0)}, kernel.options());
  for (int64_t begin = 0; begin < pixels; begin += most) {
    const int64_t count = std::min(most, pixels - begin);
    gather(samples, begin, begin + count, matrix.mutable_data_ptr<T>());
    Tensor part = convolved.narrow(0, begin, count);
    at::addmm_out(part, bias, matrix.narrow(0, 0, count), kernel);
  }
}

Tensor deform_conv(const Tensor& features, const Tensor& offsets, const Tensor& mask, const Tensor& weight,
                   const Tensor& bias) {
  TORCH_CHECK(features.dim() == 4 && weight.dim() == 4 && bias.dim() == 1 && weight.size(1) == features.size(1) &&
                  weight.size(2) % 2 == 1 && weight.size(3) % 2 == 1 && weight.size(0) == bias.size(0),
              "features ", features.sizes(), ", weight ", weight.sizes(), " and bias ", bias.sizes(), " do not fit");
  const int64_t count = features.size(0), channels = features.size(1), height = features.size(2);
  const int64_t width = features.size(3), outputs = weight.size(0), taps = weight.size(2) * weight.size(3);
  const int64_t groups = mask.dim() == 4 ? mask.size(1) / taps : 0;
  TORCH_CHECK(groups > 0 && channels % groups == 0 &&
                  mask.sizes() == at::IntArrayRef({count, groups * taps, height, width}) &&
                  offsets.sizes() == at::IntArrayRef({count, 2 * groups * taps, height, width}),
              "offsets ", offsets.sizes(), " and mask ", mask.sizes(), " do not fit features ", features.sizes(),
              " and weight ", weight.sizes());
  for (const Tensor& tensor : {offsets, mask, weight, bias})
    TORCH_CHECK(tensor.scalar_type() == features.scalar_type() && tensor.device() == features.device(), "must be ",
                features.scalar_type(), ", on ", features.device());
  TORCH_CHECK(height * width <= INT32_MAX, "features are too large: ", features.sizes());
  const c10::DeviceGuard guard(features.device());
  if (features.numel() == 0 || outputs == 0)
    return at::empty({count, outputs, height, width}, features.options().memory_format(kLast));
  const at::ScalarType type = features.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const Tensor from = rows_of(features, type).contiguous(), moves = rows_of(offsets, type), scales = rows_of(mask, type);
  const Tensor kernel = weight.to(type)
                            .reshape({outputs, groups, channels / groups, taps})
                            .permute({1, 3, 2, 0})
                            .reshape({taps * channels, outputs});
  const Tensor convolved = at::empty({from.size(0), outputs}, from.options());
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    convolve<T>({height, width, channels, groups, weight.size(2), weight.size(3), from.const_data_ptr<T>(),
                 moves.const_data_ptr<T>(), scales.const_data_ptr<T>(), moves.stride(0), scales.stride(0)},
                kernel, bias.to(type), convolved);
  };
  type == at::kDouble ? run(0.0) : run(0.0f);
  return convolved.view({count, height, width, outputs}).permute({0, 3, 1, 2}).to(features.scalar_type());
}

}  // namespace
