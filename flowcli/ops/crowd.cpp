// CPU kernel of crowd.py's operator.

#include "native.h"
#include "parallel.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace {

// A picture of `width` x `height`, and where pixels come from on it.
struct Field {
  const float *u, *v;
  int64_t height, width;

  float x(int64_t row, int64_t column) const { return static_cast<float>(column) + u[row * width + column]; }
  float y(int64_t row, int64_t column) const { return static_cast<float>(row) + v[row * width + column]; }
  // Index of the pixel of the frame that is nearest to the place.
  int64_t nearest(float x, float y) const {
    return inside(std::nearbyint(y), height) * width + inside(std::nearbyint(x), width);
  }
  static int64_t inside(float place, int64_t count) {
    return static_cast<int64_t>(std::min(std::max(place, 0.0f), static_cast<float>(count - 1)));
  }
};

// How many pixels come from each pixel, and the least error of those that are nearest to it.
struct Places {
  explicit Places(int64_t count) : cover(count, 0), least(count, std::numeric_limits<float>::infinity()) {}

  void add(const Field& field, int64_t row, int64_t column, float error) {
    const float x = field.x(row, column), y = field.y(row, column);
    float& best = least[field.nearest(x, y)];
    best = std::min(best, error);
    // Comparisons with NaN fail.
    if (!(x > -1 && x < static_cast<float>(field.width) && y > -1 && y < static_cast<float>(field.height))) return;
    const float left = std::floor(x), top = std::floor(y), part_x = x - left, part_y = y - top;
    const auto low_x = static_cast<int64_t>(left), low_y = static_cast<int64_t>(top);
    for (int64_t down = 0; down < 2; ++down)
      for (int64_t right = 0; right < 2; ++right) {
        const int64_t to_x = low_x + right, to_y = low_y + down;
        if (to_x >= 0 && to_x < field.width && to_y >= 0 && to_y < field.height)
          cover[to_y * field.width + to_x] += (right ? part_x : 1 - part_x) * (down ? part_y : 1 - part_y);
      }
  }

  float cover_at(float x, float y, const Field& field) const {
    const float place_x = std::min(std::max(x, 0.0f), static_cast<float>(field.width - 1));
    const float place_y = std::min(std::max(y, 0.0f), static_cast<float>(field.height - 1));
    const auto left = static_cast<int64_t>(place_x), top = static_cast<int64_t>(place_y);
    const int64_t right = std::min(left + 1, field.width - 1);
    const float *upper = &cover[top * field.width], *lower = &cover[std::min(top + 1, field.height - 1) * field.width];
    const float part_x = place_x - static_cast<float>(left), part_y = place_y - static_cast<float>(top);
    const float above = upper[left] + part_x * (upper[right] - upper[left]);
    const float below = lower[left] + part_x * (lower[right] - lower[left]);
    return above + part_y * (below - above);
  }

  // Of a pixel and the eight around it.
  float least_around(int64_t pixel, const Field& field) const {
    const int64_t row = pixel / field.width, column = pixel % field.width;
    float found = std::numeric_limits<float>::infinity();
    for (int64_t y = std::max<int64_t>(row - 1, 0); y <= std::min(row + 1, field.height - 1); ++y)
      for (int64_t x = std::max<int64_t>(column - 1, 0); x <= std::min(column + 1, field.width - 1); ++x)
        found = std::min(found, least[y * field.width + x]);
    return found;
  }

  std::vector<float> cover, least;
};

Tensor crowded_out(const Tensor& flow, const Tensor& error, double most, double margin) {
  TORCH_CHECK(error.dim() == 2 && flow.dim() == 3 && flow.size(0) == 2 && flow.size(1) == error.size(0) &&
                  flow.size(2) == error.size(1) && flow.scalar_type() == at::kFloat && error.scalar_type() == at::kFloat,
              "flow ", flow.sizes(), " and error ", error.sizes(), " do not fit, or are not float32");
  const int64_t height = error.size(0), width = error.size(1);
  const Tensor motion = flow.contiguous(), errors = error.contiguous();
  const Tensor crowded = at::empty({height, width}, error.options().dtype(at::kBool));
  const float *u = motion.const_data_ptr<float>(), *wrong = errors.const_data_ptr<float>();
  const Field field{u, u + height * width, height, width};
  Places places(height * width);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) places.add(field, y, x, wrong[y * width + x]);
  bool* to = crowded.mutable_data_ptr<bool>();
  parallel_for(0, height, std::max<int64_t>(1, 16384 / std::max<int64_t>(width, 1)), [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y)
      for (int64_t x = 0; x < width; ++x) {
        const float from_x = field.x(y, x), from_y = field.y(y, x);
        to[y * width + x] =
            places.cover_at(from_x, from_y, field) > static_cast<float>(most) &&
            wrong[y * width + x] - places.least_around(field.nearest(from_x, from_y), field) > static_cast<float>(margin);
      }
  });
  return crowded;
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("crowded_out", crowded_out); }
