// CPU kernels of brightness.py's operator; brightness.h has what calls them, and the arithmetic.

#include "brightness.h"
#include "parallel.h"

#include <algorithm>
#include <vector>

namespace {

// Writes brightness itself, (H, W), and the means over a row of cells, (2, h, w). sum, square: scratch space.
void average(const Picture& picture, const float* image, int64_t row, std::vector<float>& sum,
             std::vector<float>& square, float* brightness, float* cells) {
  const int64_t width = picture.width, columns = picture.columns(), plane = picture.plane(), cell = picture.cell;
  sum.assign(width, 0.0f), square.assign(width, 0.0f);
  float *sums = sum.data(), *squares = square.data();
  for (int64_t y = row * cell; y < (row + 1) * cell; ++y) {
    const float *red = image + y * width, *green = red + plane, *blue = green + plane;
    float* out = brightness + y * width;
#pragma omp simd
    for (int64_t x = 0; x < width; ++x) {
      const float value = grey(red[x], green[x], blue[x]);
      out[x] = value, sums[x] += value, squares[x] += value * value;
    }
  }
  const float share = 1.0f / static_cast<float>(cell * cell);
  sum_cells(sums, cell, share, columns, cells + row * columns);
  sum_cells(squares, cell, share, columns, cells + (picture.rows() + row) * columns);
}

// Mean and deviation around the last rows of cells that were asked for, as wide as the picture.
class Around {
 public:
  explicit Around(const Picture& picture)
      : picture_(picture), widen_(picture.cell), mean_(picture.columns()), deviation_(picture.columns()) {
    // A cell more at both ends, which stays zero.
    for (std::vector<float>& column : columns_) column.resize(picture.columns() + 2);
    for (std::vector<float>& row : wide_) row.resize(2 * picture.width);
  }

  // The means, then the deviations, of a row of the cells (N, 2, h, w).
  const float* row(const float* cells, int64_t image, int64_t row) {
    const int64_t number = image * picture_.rows() + row, place = row % kKept;
    if (number_[place] != number) {
      number_[place] = number;
      blur(cells + 2 * image * picture_.rows() * picture_.columns(), row);
      widen_(mean_, wide_[place].data());
      widen_(deviation_, wide_[place].data() + picture_.width);
    }
    return wide_[place].data();
  }

 private:
  static constexpr int kKept = 3;

  void blur(const float* cells, int64_t row) {
    const int64_t rows = picture_.rows(), columns = picture_.columns();
    const int64_t top = std::max<int64_t>(row - 1, 0), end = std::min(row + 2, rows);
    for (int k = 0; k < 2; ++k) {
      float* column = columns_[k].data() + 1;
      std::fill_n(column, columns, 0.0f);
      for (int64_t y = top; y < end; ++y) {
        const float* from = cells + (k * rows + y) * columns;
#pragma omp simd
        for (int64_t x = 0; x < columns; ++x) column[x] += from[x];
      }
    }
    const float *sums = columns_[0].data() + 1, *squares = columns_[1].data() + 1;
    float *mean = mean_.data(), *spread = deviation_.data();
#pragma omp simd
    for (int64_t x = 0; x < columns; ++x) {
      const int64_t across = 1 + (x > 0) + (x + 1 < columns);
      const float share = 1.0f / static_cast<float>((end - top) * across);
      mean[x] = share * (sums[x - 1] + sums[x] + sums[x + 1]);
      spread[x] = deviation(mean[x], share * (squares[x - 1] + squares[x] + squares[x + 1]), picture_.least);
    }
  }

  const Picture& picture_;
  Widening widen_;
  std::vector<float> columns_[2], mean_, deviation_, wide_[kKept];
  int64_t number_[kKept] = {-1, -1, -1};  // Of the rows that `wide_` has, counted over all images.
};

void level_row(const Picture& picture, const float* low, const float* high, float part, float* brightness) {
  const int64_t width = picture.width;
#pragma omp simd
  for (int64_t x = 0; x < width; ++x)
    brightness[x] = (brightness[x] - lerp_to(low[x], high[x], part)) / lerp_to(low[width + x], high[width + x], part);
}

void level(const Picture& picture, const Tensor& scratch, float* levelled) {
  const int64_t rows = picture.rows(), plane = picture.plane(), tasks = picture.count * rows;
  const int64_t grain = std::max<int64_t>(1, 16384 / (picture.cell * picture.width));
  float* cells = scratch.mutable_data_ptr<float>();
  parallel_for(0, tasks, grain, [&](int64_t begin, int64_t end) {
    std::vector<float> sum, square;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / rows;
      average(picture, picture.image + 3 * image * plane, task % rows, sum, square, levelled + image * plane,
              cells + 2 * image * rows * picture.columns());
    }
  });
  parallel_for(0, tasks, grain, [&](int64_t begin, int64_t end) {
    Around around(picture);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / rows, top = task % rows * picture.cell;
      for (int64_t y = top; y < top + picture.cell; ++y) {
        const Between place = between(static_cast<int>(y), picture.cell, rows);
        level_row(picture, around.row(cells, image, place.low), around.row(cells, image, place.high), place.part,
                  levelled + image * plane + y * picture.width);
      }
    }
  });
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("levelled_brightness", levelled_brightness); }
