// CPU kernel of quantise.py's operator.

#include "native.h"
#include "parallel.h"
#include "widen.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>

#include <algorithm>

namespace {

// to[i] = from[i] * factor + offset for i < count; comparisons with NaN fail. Narrowed by way of int, as vectors can.
template <typename S>
[[gnu::always_inline]] inline void narrow(const S* from, float factor, float offset, int64_t count, uint8_t* to) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const float value = widened<float>(from[i]) * factor + offset;
    const float low = value > 0.0f ? value : 0.0f;
    to[i] = static_cast<uint8_t>(static_cast<int>(low < 255.0f ? low : 255.0f));
  }
}

// One map of `channels`, written into pixels of `stride` numbers.
template <typename S>
void narrow_map(const S* from, int64_t pixels, int64_t channels, int64_t stride, float factor, float offset,
                uint8_t* to) {
  const int64_t grain = std::max<int64_t>(1, 32768 / channels);
  parallel_for(0, pixels, grain, [&](int64_t begin, int64_t end) {
    if (channels == stride)
      return narrow(from + begin * stride, factor, offset, (end - begin) * stride, to + begin * stride);
    for (int64_t pixel = begin; pixel < end; ++pixel)
      narrow(from + pixel * channels, factor, offset, channels, to + pixel * stride);
  });
}

Tensor quantise(at::TensorList maps, double scale, int64_t zero) {
  TORCH_CHECK(!maps.empty(), "no maps");
  const auto& size = maps[0].sizes();
  int64_t channels = 0;
  for (const Tensor& map : maps) {
    TORCH_CHECK(map.dim() == 4 && map.size(0) == size[0] && map.size(2) == size[2] && map.size(3) == size[3],
                "maps of ", map.sizes(), " and ", size, " do not lie side by side");
    channels += map.size(1);
  }
  const Tensor numbers = at::empty({size[0], channels, size[2], size[3]},
                                   maps[0].options().dtype(at::kByte).memory_format(kLast));
  const float factor = static_cast<float>(1 / scale), offset = static_cast<float>(zero) + 0.5f;
  uint8_t* to = numbers.mutable_data_ptr<uint8_t>();
  for (const Tensor& map : maps) {
    if (map.numel())
      AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, map.scalar_type(), "quantise", [&] {
        narrow_map(map.contiguous(kLast).const_data_ptr<scalar_t>(), size[0] * size[2] * size[3], map.size(1), channels,
                   factor, offset, to);
      });
    to += map.size(1);
  }
  return numbers;
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("quantise", quantise); }
