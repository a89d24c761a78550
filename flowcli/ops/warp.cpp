// CPU kernel of warp.py's operator.

#include "native.h"
#include "parallel.h"
#include "places.h"
#include "widen.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <limits>

namespace {

void sample(const float* from, const Row& row, int64_t count, float* to) {
  const auto *corner = row.corner.data(), *right = row.right.data(), *below = row.below.data();
  const auto *share_x = row.share_x.data(), *share_y = row.share_y.data();
#pragma omp simd
  for (int32_t x = 0; x < static_cast<int32_t>(count); ++x) {
    const int32_t top_left = corner[x], bottom_left = top_left + below[x];
    const float top = from[top_left] + share_x[x] * (from[top_left + right[x]] - from[top_left]);
    const float bottom = from[bottom_left] + share_x[x] * (from[bottom_left + right[x]] - from[bottom_left]);
    to[x] = top + share_y[x] * (bottom - top);
  }
}

// The same for all channels of a pixel at a time, which lie together.
template <typename T>
void sample_pixels(const T* from, const Row& row, int64_t count, int64_t channels, T* to) {
  for (int64_t x = 0; x < count; ++x, to += channels) {
    const T *top_left = from + row.corner[x] * channels, *top_right = top_left + row.right[x] * channels;
    const T *bottom_left = top_left + row.below[x] * channels, *bottom_right = top_right + row.below[x] * channels;
    const float share_x = row.share_x[x], share_y = row.share_y[x];
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const float left = widened<float>(top_left[c]), below = widened<float>(bottom_left[c]);
      const float top = left + share_x * (widened<float>(top_right[c]) - left);
      const float bottom = below + share_x * (widened<float>(bottom_right[c]) - below);
      to[c] = narrowed<T>(top + share_y * (bottom - top));
    }
  }
}

// The places of a row for bicubic samples: the pixel before each, and the way from there to the next one.
struct Cubic {
  explicit Cubic(int64_t count) : left(count), top(count), share_x(count), share_y(count) {}

  int32_t last_x = 0, last_y = 0;
  std::vector<int32_t> left, top;
  std::vector<float> share_x, share_y;
};

// As `_linear` in geometry.py: ramps stay ramps.
inline float straightened(float share) {
  const float u = share - 0.5f, rest = 0.25f - u * u;
  return 0.5f + u * (1 + rest * (0.733f + rest * (10.732f * rest - 0.417f)));
}

void find_places(const float* u, const float* v, int64_t y, int64_t count, int64_t height, int64_t width, Cubic& row) {
  row.last_x = static_cast<int32_t>(width - 1), row.last_y = static_cast<int32_t>(height - 1);
  const auto most_x = static_cast<float>(width - 1), most_y = static_cast<float>(height - 1);
  const auto here = static_cast<float>(y);
  auto *left = row.left.data(), *top = row.top.data();
  auto *share_x = row.share_x.data(), *share_y = row.share_y.data();
#pragma omp simd
  for (int32_t x = 0; x < static_cast<int32_t>(count); ++x) {
    const float place_x = placed(static_cast<float>(x), u[x], most_x), place_y = placed(here, v[x], most_y);
    left[x] = static_cast<int32_t>(place_x), top[x] = static_cast<int32_t>(place_y);
    share_x[x] = straightened(place_x - static_cast<float>(left[x]));
    share_y[x] = straightened(place_y - static_cast<float>(top[x]));
  }
}

// The weights of four pixels in a row, of which the second and the third are around the sample, at a share of the way
// between them: Keys 1981, with the parameter that torch has.
struct Weights {
  explicit Weights(float t) {
    constexpr float A = -0.75f;
    const float o = 1 - t;
    before = A * t * o * o;
    first = ((A + 2) * t - (A + 3)) * t * t + 1;
    second = ((A + 2) * o - (A + 3)) * o * o + 1;
    after = A * o * t * t;
  }

  float before, first, second, after;
};

// The four pixels, of 0 to `last`: those beyond repeat the border.
struct Four {
  Four(int32_t place, int32_t last)
      : before(place > 0 ? place - 1 : 0),
        first(place),
        second(place < last ? place + 1 : last),
        after(place + 1 < last ? place + 2 : last) {}

  int32_t before, first, second, after;
};

template <typename T>
void sample_pixels(const T* from, const Cubic& row, int64_t count, int64_t channels, T* to) {
  const int64_t stride = (row.last_x + 1) * channels;
  for (int64_t x = 0; x < count; ++x, to += channels) {
    const Weights across(row.share_x[x]), down(row.share_y[x]);
    const Four columns(row.left[x], row.last_x), lines(row.top[x], row.last_y);
    const T *before = from + lines.before * stride, *first = from + lines.first * stride;
    const T *second = from + lines.second * stride, *after = from + lines.after * stride;
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const auto mixed = [&](int64_t column) {
        const int64_t place = column * channels + c;
        return down.before * widened<float>(before[place]) + down.first * widened<float>(first[place]) +
               down.second * widened<float>(second[place]) + down.after * widened<float>(after[place]);
      };
      to[c] = narrowed<T>(across.before * mixed(columns.before) + across.first * mixed(columns.first) +
                          across.second * mixed(columns.second) + across.after * mixed(columns.after));
    }
  }
}

constexpr int64_t TOGETHER = 4;

// The same for planes of up to four channels, which lie together in `from`: sixteen numbers are four pixels of a line.
void sample_together(const float* from, const Cubic& row, int64_t count, float (*to)[TOGETHER]) {
  const int64_t stride = (row.last_x + 1) * TOGETHER;
  for (int64_t x = 0; x < count; ++x) {
    const Weights across(row.share_x[x]), down(row.share_y[x]);
    const Four columns(row.left[x], row.last_x), lines(row.top[x], row.last_y);
    const float *before = from + lines.before * stride, *first = from + lines.first * stride;
    const float *second = from + lines.second * stride, *after = from + lines.after * stride;
    float mixed[4 * TOGETHER];
    const auto mix = [&](int64_t column, float* mixed, int64_t numbers) {
      const int64_t place = column * TOGETHER;
#pragma omp simd
      for (int64_t k = 0; k < numbers; ++k)
        mixed[k] = down.before * before[place + k] + down.first * first[place + k] + down.second * second[place + k] +
                   down.after * after[place + k];
    };
    if (columns.after - columns.before == 3) {
      mix(columns.before, mixed, 4 * TOGETHER);
    } else {
      mix(columns.before, mixed, TOGETHER);
      mix(columns.first, mixed + TOGETHER, TOGETHER);
      mix(columns.second, mixed + 2 * TOGETHER, TOGETHER);
      mix(columns.after, mixed + 3 * TOGETHER, TOGETHER);
    }
#pragma omp simd
    for (int64_t c = 0; c < TOGETHER; ++c)
      to[x][c] = across.before * mixed[c] + across.first * mixed[TOGETHER + c] +
                 across.second * mixed[2 * TOGETHER + c] + across.after * mixed[3 * TOGETHER + c];
  }
}

// Calls body(places of a row, its number) for all rows of the flow. Places: a Row, or Cubic.
template <typename Places, typename Body>
void for_rows(const Tensor& flow, int64_t height, int64_t width, int64_t channels, const Body& body) {
  const int64_t rows = flow.size(1), columns = flow.size(2);
  const float *u = flow.const_data_ptr<float>(), *v = u + rows * columns;
  const int64_t grain = std::max<int64_t>(1, 49152 / std::max<int64_t>(columns * channels, 1));
  parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    Places places(columns);
    for (int64_t y = begin; y < end; ++y) {
      find_places(u + y * columns, v + y * columns, y, columns, height, width, places);
      body(places, y);
    }
  });
}

template <typename Places>
Tensor warp_planes(const Tensor& image, const Tensor& flow) {
  const int64_t channels = image.size(0), height = image.size(1), width = image.size(2);
  const int64_t rows = flow.size(1), columns = flow.size(2);
  const Tensor warped = at::empty({channels, rows, columns}, image.options());
  const float* from = image.const_data_ptr<float>();
  float* to = warped.mutable_data_ptr<float>();
  for_rows<Places>(flow, height, width, channels, [&](const Places& places, int64_t y) {
    for (int64_t c = 0; c < channels; ++c)
      sample(from + c * height * width, places, columns, to + (c * rows + y) * columns);
  });
  return warped;
}

// (H, W, TOGETHER) of (C, H, W); what is left of the last dimension is zero.
Tensor laid_together(const Tensor& image) {
  const int64_t channels = image.size(0), height = image.size(1), width = image.size(2);
  const Tensor laid = at::empty({height, width, TOGETHER}, image.options());
  const float* from = image.const_data_ptr<float>();
  float* to = laid.mutable_data_ptr<float>();
  parallel_for(0, height, std::max<int64_t>(1, 49152 / width), [&](int64_t begin, int64_t end) {
    for (int64_t pixel = begin * width; pixel < end * width; ++pixel)
      for (int64_t c = 0; c < TOGETHER; ++c)
        to[pixel * TOGETHER + c] = c < channels ? from[c * height * width + pixel] : 0.0f;
  });
  return laid;
}

// Where few channels lie apart, laying them together first is worth while.
template <>
Tensor warp_planes<Cubic>(const Tensor& image, const Tensor& flow) {
  const int64_t channels = image.size(0), height = image.size(1), width = image.size(2);
  const int64_t rows = flow.size(1), columns = flow.size(2);
  const Tensor warped = at::empty({channels, rows, columns}, image.options());
  float* to = warped.mutable_data_ptr<float>();
  for (int64_t start = 0; start < channels; start += TOGETHER) {
    const int64_t count = std::min(TOGETHER, channels - start);
    const Tensor laid = laid_together(image.narrow(0, start, count));
    for_rows<Cubic>(flow, height, width, count, [&](const Cubic& places, int64_t y) {
      std::vector<float> pixels(columns * TOGETHER);
      auto* together = reinterpret_cast<float(*)[TOGETHER]>(pixels.data());
      sample_together(laid.const_data_ptr<float>(), places, columns, together);
      for (int64_t c = 0; c < count; ++c)
        for (int64_t x = 0; x < columns; ++x) to[((start + c) * rows + y) * columns + x] = together[x][c];
    });
  }
  return warped;
}

template <typename Places, typename T>
Tensor warp_pixels(const Tensor& image, const Tensor& flow) {
  const int64_t channels = image.size(0), columns = flow.size(2);
  const Tensor warped = at::empty({flow.size(1), columns, channels}, image.options());
  const T* from = image.const_data_ptr<T>();
  T* to = warped.mutable_data_ptr<T>();
  for_rows<Places>(flow, image.size(1), image.size(2), channels, [&](const Places& places, int64_t y) {
    sample_pixels(from, places, columns, channels, to + y * columns * channels);
  });
  return warped.permute({2, 0, 1});
}

template <typename Places>
Tensor warp_as(const Tensor& image, const Tensor& flow) {
  const bool half = image.scalar_type() == at::kBFloat16;
  if (!image.is_contiguous() && image.permute({1, 2, 0}).is_contiguous())
    return half ? warp_pixels<Places, c10::BFloat16>(image, flow) : warp_pixels<Places, float>(image, flow);
  const Tensor warped = warp_planes<Places>(image.to(at::kFloat).contiguous(), flow);
  return warped.to(image.scalar_type());
}

Tensor warp(const Tensor& image, const Tensor& flow, bool bicubic) {
  const bool half = image.scalar_type() == at::kBFloat16;
  TORCH_CHECK(image.dim() == 3 && flow.dim() == 3 && flow.size(0) == 2 && image.size(1) * image.size(2) > 0 &&
                  image.size(1) * image.size(2) < std::numeric_limits<int32_t>::max() &&
                  (half || image.scalar_type() == at::kFloat) && flow.scalar_type() == at::kFloat,
              "image ", image.sizes(), " and flow ", flow.sizes(), " do not fit, or are not float32 or bfloat16");
  const Tensor motion = flow.contiguous();
  return bicubic ? warp_as<Cubic>(image, motion) : warp_as<Row>(image, motion);
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("warp", warp); }
