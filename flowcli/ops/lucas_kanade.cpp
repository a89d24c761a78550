// CPU kernels of lucas_kanade.py's operator; lucas_kanade.h has what calls them, and the arithmetic.
//
// Each thread walks down a band of cells and keeps the rows of the warped picture that it needs: those of the cells at
// hand and one above and below. All inner loops run along rows, without branches, so that they become vectors.

#include "lucas_kanade.h"
#include "parallel.h"

#include <algorithm>
#include <vector>

namespace {

// A row of the second picture brought onto the first, and 1 where it is known.
struct Row {
  std::vector<float> warped, inside;
};

class Band {
 public:
  Band(const Pictures& pictures, int64_t image)
      : pictures_(pictures),
        first_(pictures.first + image * pictures.height * pictures.width),
        second_(pictures.second + image * pictures.height * pictures.width),
        flow_(pictures.flow + 2 * image * pictures.rows() * pictures.columns()),
        widen_(pictures.cell),
        cell_u_(pictures.columns()),
        cell_v_(pictures.columns()),
        u_(pictures.width),
        v_(pictures.width),
        corners_(pictures.width),
        rows_(pictures.cell + 2) {
    for (Row& row : rows_) row.warped.resize(pictures.width), row.inside.resize(pictures.width);
    for (std::vector<float>& sum : sums_) sum.resize(pictures.width);
    for (std::vector<float>& near : near_) near.resize(pictures.width);
  }

  // Writes the means of the products over one row of cells, (6, h, w); rows of cells come in order.
  void cells(int64_t row, float* products) {
    const int64_t cell = pictures_.cell, top = row * cell, last = pictures_.height - 1;
    ready_ = std::max(ready_, std::max<int64_t>(top - 1, 0));
    for (; ready_ <= std::min(top + cell, last); ++ready_) warp(ready_);
    for (std::vector<float>& sum : sums_) std::fill(sum.begin(), sum.end(), 0.0f);
    for (int64_t y = top; y < top + cell; ++y) add(y, std::max<int64_t>(y - 1, 0), std::min(y + 1, last));
    const int64_t columns = pictures_.columns(), plane = pictures_.rows() * columns;
    const float share = 1.0f / static_cast<float>(cell * cell);
    for (int k = 0; k < kProducts; ++k)
      sum_cells(sums_[k].data(), cell, share, columns, products + k * plane + row * columns);
  }

 private:
  Row& row(int64_t y) { return rows_[y % (pictures_.cell + 2)]; }

  void warp(int64_t y) {
    const int width = static_cast<int>(pictures_.width), height = static_cast<int>(pictures_.height);
    const int64_t columns = pictures_.columns(), plane = pictures_.rows() * columns;
    const Between place = between(static_cast<int>(y), pictures_.cell, pictures_.rows());
    const float scale = static_cast<float>(pictures_.cell), last_x = width - 1, last_y = height - 1, row_y = y;
    const float *upper = flow_ + place.low * columns, *lower = flow_ + place.high * columns;
#pragma omp simd
    for (int64_t x = 0; x < columns; ++x) {
      cell_u_[x] = scale * lerp_to(upper[x], lower[x], place.part);
      cell_v_[x] = scale * lerp_to(upper[plane + x], lower[plane + x], place.part);
    }
    widen_(cell_u_, u_.data());
    widen_(cell_v_, v_.data());
    float *u = u_.data(), *v = v_.data(), *warped = row(y).warped.data(), *known = row(y).inside.data();
    int* corners = corners_.data();
#pragma omp simd
    for (int x = 0; x < width; ++x) {
      float inside = 1;
      const float at_x = onto(static_cast<float>(x) + u[x], last_x, &inside);
      const float at_y = onto(row_y + v[x], last_y, &inside);
      const Corner corner = corner_of(at_x, at_y, width, height);
      corners[x] = corner.index, u[x] = corner.part_x, v[x] = corner.part_y, known[x] = inside;
    }
    // Loads one by one: what processors offer to gather them is slower.
    const int right = width > 1 ? 1 : 0, below = height > 1 ? width : 0;
    float *a = near_[0].data(), *b = near_[1].data(), *c = near_[2].data(), *d = near_[3].data();
    for (int x = 0; x < width; ++x) {
      const float* from = second_ + corners[x];
      a[x] = from[0], b[x] = from[right], c[x] = from[below], d[x] = from[below + right];
    }
#pragma omp simd
    for (int x = 0; x < width; ++x) warped[x] = bilinear(a[x], b[x], c[x], d[x], u[x], v[x]);
  }

  // Adds the products of row y, whose neighbours are `above` and `below`, to the sums.
  void add(int64_t y, int64_t above, int64_t below) {
    const int64_t width = pictures_.width;
    const float *one = first_ + y * width, *one_above = first_ + above * width, *one_below = first_ + below * width;
    const float *two = row(y).warped.data(), *two_above = row(above).warped.data(),
                *two_below = row(below).warped.data(), *inside = row(y).inside.data();
    float *xx = sums_[0].data(), *yy = sums_[1].data(), *xy = sums_[2].data(), *xc = sums_[3].data(),
          *yc = sums_[4].data(), *cc = sums_[5].data();
    const auto at = [&](int64_t x, int64_t left, int64_t right) {
      // Half a central difference of the mean of both pictures.
      const float slope_x = 0.25f * inside[x] * ((one[right] + two[right]) - (one[left] + two[left]));
      const float slope_y = 0.25f * inside[x] * ((one_below[x] + two_below[x]) - (one_above[x] + two_above[x]));
      const float change = inside[x] * (two[x] - one[x]);
      xx[x] += slope_x * slope_x, yy[x] += slope_y * slope_y, xy[x] += slope_x * slope_y;
      xc[x] += slope_x * change, yc[x] += slope_y * change, cc[x] += change * change;
    };
    at(0, 0, std::min<int64_t>(1, width - 1));
#pragma omp simd
    for (int64_t x = 1; x < width - 1; ++x) at(x, x - 1, x + 1);
    if (width > 1) at(width - 1, width - 2, width - 1);
  }

  const Pictures& pictures_;
  const float *first_, *second_, *flow_;
  Widening widen_;
  std::vector<float> cell_u_, cell_v_, u_, v_, near_[4];
  std::vector<int> corners_;
  std::vector<Row> rows_;
  std::vector<float> sums_[kProducts];
  int64_t ready_ = 0;  // The next row to warp.
};

void add_row(int64_t columns, const float* from, float* to) {
#pragma omp simd
  for (int64_t x = 0; x < columns; ++x) to[x] += from[x];
}

// Writes the measures of one row of cells from the products (6, h, w) of its image. sums, means: scratch space, for
// sums over columns with zeros at both ends, and for (6, w).
void solve_row(const Pictures& pictures, const float* products, int64_t row, int64_t radius, float damping,
               std::vector<float>& sums, std::vector<float>& means, float* out) {
  const int64_t rows = pictures.rows(), columns = pictures.columns(), plane = rows * columns;
  const int64_t top = std::max<int64_t>(row - radius, 0), end = std::min(row + radius + 1, rows);
  sums.assign(columns + 2 * radius, 0.0f);
  for (int k = 0; k < kProducts; ++k) {
    float *column = sums.data() + radius, *mean = means.data() + k * columns;
    std::fill_n(column, columns, 0.0f);
    for (int64_t y = top; y < end; ++y) add_row(columns, products + k * plane + y * columns, column);
    std::fill_n(mean, columns, 0.0f);
    for (int64_t i = -radius; i <= radius; ++i) add_row(columns, column + i, mean);
  }
  const float* mean = means.data();
#pragma omp simd
  for (int64_t x = 0; x < columns; ++x) {
    const int64_t left = x > radius ? x - radius : 0, right = x + radius + 1 < columns ? x + radius + 1 : columns;
    const float share = 1.0f / static_cast<float>((end - top) * (right - left));
    float own[kProducts];
    for (int k = 0; k < kProducts; ++k) own[k] = share * mean[k * columns + x];
    solve(own, damping, plane, out + row * columns + x);
  }
}

void measure(const Pictures& pictures, at::IntArrayRef windows, float damping, float* products, float* steps) {
  const int64_t rows = pictures.rows(), plane = rows * pictures.columns();
  // Few, long bands: each begins with rows that the one before it has warped, too.
  const int64_t bands = std::min<int64_t>(rows, at::divup(4 * at::get_num_threads(), pictures.count));
  parallel_for(0, pictures.count * bands, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / bands, number = task % bands;
      Band band(pictures, image);
      for (int64_t row = rows * number / bands; row < rows * (number + 1) / bands; ++row)
        band.cells(row, products + image * kProducts * plane);
    }
  });
  const int64_t kinds = static_cast<int64_t>(windows.size());
  parallel_for(0, pictures.count * kinds * rows, rows, [&](int64_t begin, int64_t end) {
    std::vector<float> sums, means(kProducts * pictures.columns());
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / rows / kinds, kind = task / rows % kinds;
      solve_row(pictures, products + image * kProducts * plane, task % rows, windows[kind], damping, sums,
                means, steps + (image * kinds + kind) * kMeasures * plane);
    }
  });
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("lucas_kanade", lucas_kanade); }
