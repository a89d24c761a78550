// CPU kernel of splat.py's operator.

#include "native.h"
#include "parallel.h"

#include <ATen/ops/zeros_like.h>

#include <cmath>

namespace {

// One plane (height, width) of values, added up where the flow leads.
void splat_plane(const float* values, const float* u, const float* v, int64_t height, int64_t width, float* total) {
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) {
      const int64_t pixel = y * width + x;
      const float there_x = static_cast<float>(x) + u[pixel], there_y = static_cast<float>(y) + v[pixel];
      // Comparisons with NaN fail.
      if (!(there_x > -1 && there_x < static_cast<float>(width) && there_y > -1 && there_y < static_cast<float>(height)))
        continue;
      const float left = std::floor(there_x), top = std::floor(there_y);
      const float part_x = there_x - left, part_y = there_y - top, value = values[pixel];
      const auto column = static_cast<int64_t>(left), row = static_cast<int64_t>(top);
      const bool first = column >= 0, second = column + 1 < width;
      if (row >= 0) {
        float* to = total + row * width + column;
        if (first) to[0] += value * ((1 - part_x) * (1 - part_y));
        if (second) to[1] += value * (part_x * (1 - part_y));
      }
      if (row + 1 < height) {
        float* to = total + (row + 1) * width + column;
        if (first) to[0] += value * ((1 - part_x) * part_y);
        if (second) to[1] += value * (part_x * part_y);
      }
    }
}

Tensor splat(const Tensor& values, const Tensor& flow) {
  TORCH_CHECK(values.dim() == 4 && flow.dim() == 4 && flow.size(0) == values.size(0) && flow.size(1) == 2 &&
                  flow.size(2) == values.size(2) && flow.size(3) == values.size(3) &&
                  values.scalar_type() == at::kFloat && flow.scalar_type() == at::kFloat,
              "values ", values.sizes(), " and flow ", flow.sizes(), " do not fit, or are not float32");
  const int64_t channels = values.size(1), height = values.size(2), width = values.size(3), plane = height * width;
  const Tensor whole = values.contiguous(), motion = flow.contiguous(), total = at::zeros_like(whole);
  const float *from = whole.const_data_ptr<float>(), *moves = motion.const_data_ptr<float>();
  float* to = total.mutable_data_ptr<float>();
  // Two pixels may go to one place: a plane belongs to one thread.
  parallel_for(0, values.size(0) * channels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const float* u = moves + 2 * (k / channels) * plane;
      splat_plane(from + k * plane, u, u + plane, height, width, to + k * plane);
    }
  });
  return total;
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("splat", splat); }
