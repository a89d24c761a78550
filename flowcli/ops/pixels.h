// What the CPU and the CUDA kernels of pixels.py's operators share. Each source that includes this defines unpack() and
// unshuffle(), which are only declared here.

#pragma once

#include "native.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>

namespace {

constexpr int kColours = 3;

// Pictures of rows x columns, placed in planes of height x width.
struct Placed {
  int64_t count, rows, columns, top, left, height, width;
};

// planes (N, 3, height, width) from pixels (N, rows, columns, 3), whose border is repeated outwards.
void unpack(const Placed& placed, const uint8_t* pixels, float* planes);

Tensor unpack_pixels(const Tensor& pixels, int64_t top, int64_t left, int64_t height, int64_t width) {
  TORCH_CHECK(pixels.dim() == 4 && pixels.size(3) == kColours && pixels.scalar_type() == at::kByte,
              "pixels are ", pixels.scalar_type(), " of ", pixels.sizes());
  const int64_t rows = pixels.size(1), columns = pixels.size(2);
  TORCH_CHECK(rows > 0 && columns > 0 && top >= 0 && left >= 0 && height - top >= rows && width - left >= columns,
              "pixels of ", pixels.sizes(), " at ", top, ", ", left, " do not fit into ", height, "x", width);
  const c10::DeviceGuard guard(pixels.device());
  const Tensor from = pixels.contiguous();
  const Tensor planes = at::empty({pixels.size(0), kColours, height, width}, from.options().dtype(at::kFloat));
  if (planes.numel())
    unpack({pixels.size(0), rows, columns, top, left, height, width}, from.const_data_ptr<uint8_t>(),
           planes.mutable_data_ptr<float>());
  return planes;
}

struct Cells {
  int64_t count, channels, rows, columns, factor;  // Of the image: factor * rows x factor * columns.
  BOTH int64_t width() const { return factor * columns; }
  BOTH int64_t plane() const { return factor * rows * width(); }
};

// cells (N, rows, columns, C, factor, factor) from image (N, C, factor * rows, factor * columns).
template <typename S>
void unshuffle(const Cells& shape, const float* image, S* cells);

Tensor unshuffle_pixels(const Tensor& image, int64_t factor, at::ScalarType dtype) {
  TORCH_CHECK(image.dim() == 4 && image.scalar_type() == at::kFloat, "image is ", image.scalar_type(), " of ",
              image.sizes());
  TORCH_CHECK(factor > 0 && image.size(2) % factor == 0 && image.size(3) % factor == 0, "factor ", factor,
              " does not fit ", image.sizes());
  const c10::DeviceGuard guard(image.device());
  const Tensor from = image.contiguous();
  const Cells shape{image.size(0), image.size(1), image.size(2) / factor, image.size(3) / factor, factor};
  const Tensor cells = at::empty({shape.count, shape.channels * factor * factor, shape.rows, shape.columns},
                                 from.options().dtype(dtype).memory_format(kLast));
  if (cells.numel())
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, dtype, "unshuffle_pixels", [&] {
      unshuffle(shape, from.const_data_ptr<float>(), cells.mutable_data_ptr<scalar_t>());
    });
  return cells;
}

}  // namespace
