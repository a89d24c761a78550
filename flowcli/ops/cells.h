// Cells and the pixels under them: bilinear resizing, with the corners of both at the same place, and means.

#pragma once

#include "native.h"

#include <algorithm>
#include <type_traits>
#include <vector>

namespace {

// Where on a grid of `size` cells the pixel lies: between `low` and `high`, by the share `part`.
struct Between {
  int low, high;
  float part;
};

BOTH inline Between between(int pixel, int64_t cell, int64_t size) {
  const float place = (static_cast<float>(pixel) + 0.5f) / static_cast<float>(cell) - 0.5f;
  const float inside = place > 0 ? place : 0;
  const int low = static_cast<int>(inside);
  return {low, low + 1 < size ? low + 1 : low, inside - static_cast<float>(low)};
}

BOTH inline float lerp_to(float a, float b, float part) { return a + part * (b - a); }

// Calls body(side of a cell). The usual one gets a copy of the code of its own: its short loops unroll.
template <typename Body>
void with_side(int64_t cell, const Body& body) {
  cell == 4 ? body(std::integral_constant<int64_t, 4>()) : body(cell);
}

// Adds up the pixels under each cell of a row, and scales the sums.
inline void sum_cells(const float* pixels, int64_t cell, float scale, int64_t columns, float* cells) {
  with_side(cell, [=](auto side) {
#pragma omp simd
    for (int64_t x = 0; x < columns; ++x) {
      float sum = 0;
      for (int64_t i = 0; i < side; ++i) sum += pixels[x * side + i];
      cells[x] = scale * sum;
    }
  });
}

// Brings rows of cells to rows of pixels.
class Widening {
 public:
  explicit Widening(int64_t cell) : to_left_(cell), to_right_(cell) {
    for (int64_t i = 0; i < cell; ++i) {
      const float offset = (static_cast<float>(i) + 0.5f) / static_cast<float>(cell) - 0.5f;
      to_left_[i] = std::max(-offset, 0.0f), to_right_[i] = std::max(offset, 0.0f);
    }
  }

  void operator()(const std::vector<float>& cells, float* pixels) const {
    const int64_t last = static_cast<int64_t>(cells.size()) - 1;
    with_side(static_cast<int64_t>(to_left_.size()), [&](auto side) {
      for (int64_t column = 0; column <= last; ++column) {
        const float here = cells[column], left = cells[std::max<int64_t>(column - 1, 0)],
                    right = cells[std::min(column + 1, last)];
        for (int64_t i = 0; i < side; ++i)
          pixels[column * side + i] = here + to_left_[i] * (left - here) + to_right_[i] * (right - here);
      }
    });
  }

 private:
  std::vector<float> to_left_, to_right_;  // How far each pixel of a cell is on the way to the next cell.
};

}  // namespace
