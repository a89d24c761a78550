// CPU kernel of means.py's operator.

#include "native.h"
#include "parallel.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <type_traits>
#include <vector>

namespace {

// 0 for what is not finite, whose difference to itself is NaN.
inline float known(float value) { return value - value == 0.0f ? value : 0.0f; }
inline float known(uint8_t value) { return static_cast<float>(value); }

// Adds `count` numbers to the sums.
template <typename T>
void add(const T* numbers, int64_t count, float* sums) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) sums[i] += known(numbers[i]);
}

// A row of pixels: `step` numbers from one to the next.
struct Line {
  int64_t width, step, cell;

  int64_t cells() const { return (width + cell - 1) / cell; }
};

// Adds up the columns of the cells that are whole, and scales the sums. cell, step: as those of the line.
template <typename Cell, typename Step>
void add_columns(const float* sums, int64_t whole, Cell cell, Step step, float pixels, float* means) {
#pragma omp simd
  for (int64_t x = 0; x < whole; ++x) {
    float sum = sums[x * cell * step];
    for (int64_t i = 1; i < cell; ++i) sum += sums[(x * cell + i) * step];
    means[x] = sum / pixels;
  }
}

// The means of a row of cells, each `rows` pixels high, of the sums over its columns.
void divide(const float* sums, const Line& line, int64_t rows, float* means) {
  const int64_t whole = line.width / line.cell;
  const auto pixels = static_cast<float>(rows * line.cell);
  // The usual ones have code of their own: short loops unroll.
  if (line.cell == 2 && line.step == 1)
    add_columns(sums, whole, std::integral_constant<int64_t, 2>(), std::integral_constant<int64_t, 1>(), pixels, means);
  else
    add_columns(sums, whole, line.cell, line.step, pixels, means);
  if (whole == line.cells()) return;
  float sum = 0;
  for (int64_t x = whole * line.cell; x < line.width; ++x) sum += sums[x * line.step];
  means[whole] = sum / static_cast<float>(rows * (line.width - whole * line.cell));
}

// image: (C, H, W); together: all channels of a pixel lie together, else each channel is a plane.
template <typename T>
void average(const Tensor& image, bool together, int64_t cell, Tensor& means) {
  const int64_t channels = image.size(0), height = image.size(1), width = image.size(2);
  const int64_t rows = means.size(1), columns = means.size(2);
  const Line line{width, together ? channels : 1, cell};
  const int64_t planes = together ? 1 : channels, length = width * line.step;
  const T* from = image.const_data_ptr<T>();
  float* to = means.mutable_data_ptr<float>();
  parallel_for(0, rows, std::max<int64_t>(1, 32768 / (cell * width * channels)), [&](int64_t begin, int64_t end) {
    std::vector<float> sums(length);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t top = row * cell, bottom = std::min(top + cell, height);
      for (int64_t plane = 0; plane < planes; ++plane) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (int64_t y = top; y < bottom; ++y) add(from + (plane * height + y) * length, length, sums.data());
        for (int64_t part = 0; part < line.step; ++part)
          divide(sums.data() + part, line, bottom - top, to + ((plane + part) * rows + row) * columns);
      }
    }
  });
}

Tensor cell_means(const Tensor& image, int64_t cell) {
  TORCH_CHECK(image.dim() == 3 && image.size(1) * image.size(2) > 0 && cell > 0 &&
                  (image.scalar_type() == at::kFloat || image.scalar_type() == at::kByte),
              "image is ", image.scalar_type(), " of ", image.sizes(), ", cells are of ", cell, " pixels");
  const int64_t rows = (image.size(1) + cell - 1) / cell, columns = (image.size(2) + cell - 1) / cell;
  Tensor means = at::empty({image.size(0), rows, columns}, image.options().dtype(at::kFloat));
  const bool together = image.permute({1, 2, 0}).is_contiguous();
  const Tensor whole = together ? image : image.contiguous();
  if (image.scalar_type() == at::kByte)
    average<uint8_t>(whole, together, cell, means);
  else
    average<float>(whole, together, cell, means);
  return means;
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("cell_means", cell_means); }
