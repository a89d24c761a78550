// CPU kernels of pixels.py's operators; pixels.h has what calls them.

#include "pixels.h"
#include "parallel.h"

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <type_traits>
#include <vector>

namespace {

using at::vec::Vectorized;

constexpr int64_t kGrain = 32768;  // Numbers that are worth a thread.

void unpack(const Placed& placed, const uint8_t* pixels, float* planes) {
  const int64_t columns = placed.columns, plane = placed.height * placed.width;
  const int64_t grain = std::max<int64_t>(1, kGrain / placed.width);
  parallel_for(0, placed.count * placed.height, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / placed.height, y = task % placed.height;
      const int64_t row = std::clamp<int64_t>(y - placed.top, 0, placed.rows - 1);
      const uint8_t* from = pixels + (image * placed.rows + row) * columns * kColours;
      float* out = planes + image * kColours * plane + y * placed.width;
      float *red = out + placed.left, *green = red + plane, *blue = green + plane;
#pragma omp simd
      for (int64_t x = 0; x < columns; ++x) {
        red[x] = static_cast<float>(from[3 * x]) / 255.0f;
        green[x] = static_cast<float>(from[3 * x + 1]) / 255.0f;
        blue[x] = static_cast<float>(from[3 * x + 2]) / 255.0f;
      }
      for (float* colour : {red, green, blue}) {
        std::fill_n(colour - placed.left, placed.left, colour[0]);
        std::fill_n(colour + columns, placed.width - placed.left - columns, colour[columns - 1]);
      }
    }
  });
}

template <typename S>
void narrow(const float* from, int64_t count, S* to) {
  int64_t i = 0;
  if constexpr (sizeof(S) < sizeof(float)) {
    constexpr int64_t lanes = Vectorized<S>::size(), half = Vectorized<float>::size();
    for (; i + lanes <= count; i += lanes)
      at::vec::convert_from_float<S>(Vectorized<float>::loadu(from + i), Vectorized<float>::loadu(from + i + half))
          .store(to + i);
  }
  for (; i < count; ++i) to[i] = static_cast<S>(from[i]);
}

// A row of cells from the rows of the image over it, which are `stride` apart, those of each channel beside each other.
template <typename S>
[[gnu::always_inline]] inline void interleave(const S* rows, int64_t stride, int64_t count, int64_t columns,
                                              int64_t factor, S* cells) {
  for (int64_t x = 0; x < columns; ++x)
    for (int64_t row = 0; row < count; ++row, cells += factor)
      std::copy_n(rows + row * stride + x * factor, factor, cells);
}

template <typename S>
void unshuffle(const Cells& shape, const float* image, S* cells) {
  const int64_t width = shape.width(), factor = shape.factor, rows = shape.channels * factor;
  // Not a power of two: the rows would take each other's place in the cache.
  const int64_t stride = width + 64;
  const int64_t grain = std::max<int64_t>(1, kGrain / (rows * width));
  parallel_for(0, shape.count * shape.rows, grain, [&](int64_t begin, int64_t end) {
    std::vector<S> narrowed(rows * stride);
    for (int64_t task = begin; task < end; ++task) {
      const float* from = image + task / shape.rows * shape.channels * shape.plane() + task % shape.rows * factor * width;
      for (int64_t row = 0; row < rows; ++row)
        narrow(from + row / factor * shape.plane() + row % factor * width, width, narrowed.data() + row * stride);
      S* out = cells + task * rows * width;
      const auto finish = [&](auto side) { interleave(narrowed.data(), stride, rows, shape.columns, side, out); };
      // The usual factors get copies of the code of their own: its short loops unroll.
      factor == 4   ? finish(std::integral_constant<int64_t, 4>())
      : factor == 2 ? finish(std::integral_constant<int64_t, 2>())
                    : finish(factor);
    }
  });
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) {
  library.impl("unpack_pixels", unpack_pixels);
  library.impl("unshuffle_pixels", unshuffle_pixels);
}
