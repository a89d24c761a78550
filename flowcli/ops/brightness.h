// What the CPU and the CUDA kernels of brightness.py's operator share. Each source that includes this defines level(),
// which is only declared here.

#pragma once

#include "cells.h"

#include <ATen/ops/empty.h>

#include <cmath>

namespace {

struct Picture {
  int64_t count, height, width, cell;
  float least;
  const float* image;  // (N, 3, H, W)
  BOTH int64_t rows() const { return height / cell; }
  BOTH int64_t columns() const { return width / cell; }
  BOTH int64_t plane() const { return height * width; }
};

BOTH inline float grey(float red, float green, float blue) { return (red + green + blue) * (1.0f / 3.0f); }

BOTH inline float deviation(float mean, float square, float least) {
  const float variance = square - mean * mean;
  return std::sqrt((variance > 0 ? variance : 0) + least * least);
}

// levelled (N, H, W). cells: scratch space, (N, 2, h, w), for the means over each cell, of brightness and of its square.
void level(const Picture& picture, const Tensor& cells, float* levelled);

Tensor levelled_brightness(const Tensor& image, int64_t cell, double least) {
  TORCH_CHECK(image.dim() == 4 && image.size(1) == 3 && image.scalar_type() == at::kFloat, "image is ",
              image.scalar_type(), " of ", image.sizes());
  const int64_t count = image.size(0), height = image.size(2), width = image.size(3);
  TORCH_CHECK(cell > 0 && height % cell == 0 && width % cell == 0, "cells of ", cell, " do not fit ", image.sizes());
  const c10::DeviceGuard guard(image.device());
  const Tensor from = image.contiguous();
  const Tensor cells = at::empty({count, 2, height / cell, width / cell}, from.options());
  const Tensor levelled = at::empty({count, 1, height, width}, from.options());
  if (levelled.numel())
    level({count, height, width, cell, static_cast<float>(least), from.const_data_ptr<float>()}, cells,
          levelled.mutable_data_ptr<float>());
  return levelled;
}

}  // namespace
