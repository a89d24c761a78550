// Where a flow leads the pixels of a row, in the sources for the CPU.

#pragma once

#include <cstdint>
#include <vector>

namespace {

// Where the pixels of a row lie on an image: between four of its pixels, from `corner` on, by the shares.
struct Row {
  explicit Row(std::int64_t width) : corner(width), right(width), below(width), share_x(width), share_y(width) {}

  std::vector<std::int32_t> corner, right, below;  // Index of one pixel, and how far the next ones are: 0 at the border.
  std::vector<float> share_x, share_y;
};

// Where a pixel lies that moves from `here`, between the pixels 0 and `most`; NaN leaves it where it is.
inline float placed(float here, float move, float most) {
  const float there = here + (move == move ? move : 0.0f);
  const float high = there > 0 ? there : 0;
  return high < most ? high : most;
}

// The places of row y of a flow (u, v), `count` pixels wide, on an image of height x width.
inline void find_places(const float* u, const float* v, std::int64_t y, std::int64_t count, std::int64_t height,
                        std::int64_t width, Row& row) {
  const auto last_x = static_cast<std::int32_t>(width - 1), last_y = static_cast<std::int32_t>(height - 1);
  const auto most_x = static_cast<float>(last_x), most_y = static_cast<float>(last_y), here = static_cast<float>(y);
  const auto stride = static_cast<std::int32_t>(width);
  auto *corner = row.corner.data(), *right = row.right.data(), *below = row.below.data();
  auto *share_x = row.share_x.data(), *share_y = row.share_y.data();
#pragma omp simd
  for (std::int32_t x = 0; x < static_cast<std::int32_t>(count); ++x) {
    const float place_x = placed(static_cast<float>(x), u[x], most_x), place_y = placed(here, v[x], most_y);
    const auto left = static_cast<std::int32_t>(place_x), top = static_cast<std::int32_t>(place_y);
    corner[x] = top * stride + left;
    right[x] = left < last_x ? 1 : 0, below[x] = top < last_y ? stride : 0;
    share_x[x] = place_x - static_cast<float>(left), share_y[x] = place_y - static_cast<float>(top);
  }
}

}  // namespace
