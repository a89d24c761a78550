// CPU kernels of the operators that correlation.py declares and documents; correlation.h has what calls them.
//
// Both operators are dot products between one pixel of `first` and a set of places in `second`: a fixed grid around the
// pixel, or the window of integer places that its moved samples lie between, followed by one bilinear blend. planes.h
// and windows.h have the forward products, each with a layout of its own.
//
// For the gradients, features are laid out as (N, H, W, C) in float or double, with C filled up with zeros to whole
// vectors, so that every inner loop runs over whole vectors of contiguous channels. A place outside `second` points to
// a row of zeros.

#include "correlation.h"
#include "dots.h"
#include "parallel.h"
#include "planes.h"
#include "windows.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

struct Shape {
  int64_t count, channels, height, width;
  explicit Shape(const Tensor& features)
      : count(features.size(0)), channels(features.size(1)), height(features.size(2)), width(features.size(3)) {}
  int64_t pixels() const { return height * width; }
};

// The places that belong to one pixel: rows top, top + step, ... and columns left, left + step, ...
template <typename T>
struct Window {
  int64_t top, left;
  T right_part, low_part;
};

template <typename T>
struct FixedGrid {
  int64_t side, step, radius;
  int64_t places() const { return side; }

  Window<T> at(int64_t, int64_t y, int64_t x) const { return {y - radius * step, x - radius * step, 0, 0}; }

  void spread(const Window<T>&, const T* grad, T* weights) const { std::copy_n(grad, side * side, weights); }
};

template <typename T>
struct MovedGrid {
  int64_t side, step, radius;
  const T* flow;  // (N, 2, H, W)
  std::array<int64_t, 4> strides;
  int64_t height, width;
  int64_t places() const { return side + 1; }

  // Beyond the limit every place is outside; NaN fails the first comparison. The result converts to integers safely.
  static T clamp(T value, T limit) { return value > -limit ? (value < limit ? value : limit) : -limit; }

  Window<T> at(int64_t image, int64_t y, int64_t x) const {
    const T* pixel = flow + image * strides[0] + y * strides[2] + x * strides[3];
    const T u = clamp(pixel[0], static_cast<T>(width + radius + 2));
    const T v = clamp(pixel[strides[1]], static_cast<T>(height + radius + 2));
    const T column = std::floor(u), row = std::floor(v);
    return {y + static_cast<int64_t>(row) - radius, x + static_cast<int64_t>(column) - radius, u - column, v - row};
  }

  // Calls body(side). The usual sides get a copy of the code of their own: its short loops unroll, twice as fast.
  template <typename Body>
  void each_side(Body body) const {
    side == 9 ? body(9) : side == 7 ? body(7) : body(side);
  }

  // The least and the greatest row in which the windows of a row of pixels begin.
  std::pair<int64_t, int64_t> tops(int64_t image, int64_t y) const {
    const T* v = flow + image * strides[0] + y * strides[2] + strides[1];
    const T limit = static_cast<T>(height + radius + 2);
    T least = limit, most = -limit;
#pragma omp simd reduction(min : least) reduction(max : most)
    for (int64_t x = 0; x < width; ++x) {
      const T own = clamp(v[x * strides[3]], limit);
      least = own < least ? own : least, most = own > most ? own : most;
    }
    return {y + static_cast<int64_t>(std::floor(least)) - radius, y + static_cast<int64_t>(std::floor(most)) - radius};
  }

  // So many elements `blend` writes: whole vectors, each over the end of the one before.
  int64_t written() const {
    constexpr int64_t lanes = Vectorized<T>::size();
    return (side - 1) * side + at::divup(side, lanes) * lanes;
  }

  // out[0 .. side^2) = scale times the samples. Each lies between four places, whose products are in `dots`.
  template <typename S>
  void blend(const Window<T>& window, const T* dots, T scale, S* out) const {
    using Vector = Vectorized<T>;
    const Vector right(window.right_part), above(scale * (1 - window.low_part)), below(scale * window.low_part);
    each_side([&](int64_t n) {
      for (int64_t i = (n - 1) / Vector::size() * Vector::size(); i >= 0; i -= Vector::size()) {
        const auto across = [&](int64_t j) {
          const auto here = Vector::loadu(dots + j * (n + 1) + i);
          return at::vec::fmadd(right, Vector::loadu(dots + j * (n + 1) + i + 1) - here, here);
        };
        auto upper = across(0);
        for (int64_t j = 0; j < n; ++j) {
          const auto lower = across(j + 1);
          store_as(at::vec::fmadd(below, lower, above * upper), out + j * n + i);
          upper = lower;
        }
      }
    });
  }

  // The transpose of blend.
  void spread(const Window<T>& window, const T* grad, T* weights) const {
    const T p = window.right_part, q = window.low_part;
    each_side([&](int64_t n) {
      std::fill_n(weights, (n + 1) * (n + 1), T(0));
      for (int64_t j = 0; j < n; ++j, weights += n + 1, grad += n) {
        add(n, (1 - p) * (1 - q), grad, weights);
        add(n, p * (1 - q), grad, weights + 1);
        add(n, (1 - p) * q, grad, weights + n + 1);
        add(n, p * q, grad, weights + n + 2);
      }
    });
  }

  static void add(int64_t n, T share, const T* grad, T* weights) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) weights[i] += share * grad[i];
  }

  // The gradient of one pixel's samples with respect to its flow.
  std::pair<T, T> slope(const Window<T>& window, const T* grad, const T* dots) const {
    const T p = window.right_part, q = window.low_part;
    T by_u = 0, by_v = 0;
    each_side([&](int64_t n) {
      for (int64_t j = 0; j < n; ++j, dots += n + 1, grad += n)
#pragma omp simd reduction(+ : by_u, by_v)
        for (int64_t i = 0; i < n; ++i) {
          const T a = dots[i], b = dots[i + 1], c = dots[i + n + 1], d = dots[i + n + 2];
          by_u += grad[i] * ((b - a) + q * ((d - c) - (b - a)));
          by_v += grad[i] * ((c - a) + p * ((d - b) - (c - a)));
        }
    });
    return {by_u, by_v};
  }
};

// Fills rows[0 .. places^2) with the channels of each place of an image, or `outside`. Rows of places outside
// [low, high) count as outside too.
template <typename T, typename P, typename Grid>
void find_places(const Grid& grid, const Window<T>& window, const Shape& shape, int64_t low, int64_t high, P* image,
                 P* outside, P** rows) {
  const int64_t places = grid.places();
  for (int64_t j = 0; j < places; ++j, rows += places) {
    const int64_t y = window.top + j * grid.step;
    if (y < low || y >= high) {
      std::fill_n(rows, places, outside);
      continue;
    }
    P* const first = image + (y * shape.width + window.left) * shape.channels;
    const int64_t step = grid.step * shape.channels;
    if (window.left >= 0 && window.left + (places - 1) * grid.step < shape.width) {
      for (int64_t i = 0; i < places; ++i) rows[i] = first + i * step;
      continue;
    }
    for (int64_t i = 0; i < places; ++i) {
      const int64_t x = window.left + i * grid.step;
      rows[i] = x >= 0 && x < shape.width ? first + i * step : outside;
    }
  }
}

// One thread's scratch space. What is beyond the places stays as it is here: rows outside, of weight 0.
template <typename T>
struct Scratch {
  std::vector<T> outside, weights, dots;
  std::vector<const T*> rows;
  std::vector<T*> targets;
  template <typename Grid>
  Scratch(const Grid& grid, const Shape& shape) : outside(shape.channels) {
    constexpr int64_t two = 2 * Vectorized<T>::size();
    const int64_t count = at::divup(grid.places() * grid.places(), two) * two;
    weights.resize(count), dots.resize(count);
    rows.resize(count, outside.data()), targets.resize(count);
  }
};

// Calls body(pixel, window, scratch) for each pixel, in parallel, with the places of its window in scratch.rows.
template <typename T, typename Grid, typename Body>
void each_pixel(const Grid& grid, const Shape& shape, const T* second, Body body) {
  parallel_for(0, shape.count * shape.height, 1, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch(grid, shape);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t image = row / shape.height;
      for (int64_t x = 0; x < shape.width; ++x) {
        const auto window = grid.at(image, row % shape.height, x);
        find_places<T, const T>(grid, window, shape, 0, shape.height, second + image * shape.pixels() * shape.channels,
                                scratch.outside.data(), scratch.rows.data());
        body(row * shape.width + x, window, scratch);
      }
    }
  });
}

// Makes the windows of pixels in rows from `y` to `end` of an image ready.
template <typename P, typename T>
void enter(Windows<P, T>& windows, const MovedGrid<T>& grid, int64_t image, int64_t y, int64_t end) {
  auto [low, high] = grid.tops(image, y);
  for (++y; y < end; ++y) {
    const auto [least, most] = grid.tops(image, y);
    low = std::min(low, least), high = std::max(high, most);
  }
  windows.enter(image, low, high);
}

// A few pixels at a time go through each of the steps: what was just stored is slow to load in other pieces.
template <typename S, typename P, typename T>
void moved_forward(const MovedGrid<T>& grid, const Tensor& first, const Tensor& second, S* volume) {
  constexpr int64_t few = 4;
  const Shape shape(first);
  const int64_t cells = grid.side * grid.side;
  const P* const pixels = first.const_data_ptr<P>();
  const T scale = T(1) / shape.channels;
  parallel_for(0, shape.count * shape.height, 1, [&](int64_t begin, int64_t end) {
    Windows<P, T> windows(second, grid.places());
    const int64_t room = windows.dots() + 2 * Vectorized<T>::size();
    Buffer<T> dots(few * room);
    Buffer<S> samples(grid.written());
    std::array<Window<T>, few> places;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t image = row / shape.height, y = row % shape.height;
      if (row == begin || y == 0) enter(windows, grid, image, y, std::min(shape.height, y + end - row));
      for (int64_t x = 0; x < shape.width; x += few) {
        const int64_t pixel = row * shape.width + x, some = std::min(few, shape.width - x);
        for (int64_t i = 0; i < some; ++i) {
          places[i] = grid.at(image, y, x + i);
          windows.multiply(pixels + (pixel + i) * shape.channels, places[i].top, places[i].left, dots.data() + i * room);
        }
        for (int64_t i = 0; i < some; ++i) {
          S* const out = volume + (pixel + i) * cells;
          // What follows the row may be another thread's.
          const bool fits = (shape.width - x - i) * cells >= grid.written();
          grid.blend(places[i], dots.data() + i * room, scale, fits ? out : samples.data());
          if (!fits) std::copy_n(samples.data(), cells, out);
        }
      }
    }
  });
}

// `grad` is already scaled, here and below. grad_flow (N, H, W, 2) is written where the grid moves with a flow.
template <typename T, typename Grid>
void backward_first(const Grid& grid, const Shape& shape, const T* grad, const T* first, const T* second,
                    T* grad_first, T* grad_flow) {
  const int64_t channels = shape.channels, count = grid.places() * grid.places(), cells = grid.side * grid.side;
  each_pixel(grid, shape, second, [&](int64_t pixel, const Window<T>& window, Scratch<T>& scratch) {
    grid.spread(window, grad + pixel * cells, scratch.weights.data());
    gather_all(scratch.weights.data(), scratch.rows.data(), channels, count, grad_first + pixel * channels);
    if constexpr (std::is_same_v<Grid, MovedGrid<T>>) {
      dot_all(first + pixel * channels, scratch.rows.data(), channels, count, scratch.dots.data());
      const auto [by_u, by_v] = grid.slope(window, grad + pixel * cells, scratch.dots.data());
      grad_flow[2 * pixel] = by_u, grad_flow[2 * pixel + 1] = by_v;
    }
  });
}

// Each task owns a band of rows of one image and visits every pixel whose window meets it. No two tasks write to one
// place, and each place sums its pixels in the same order, whatever the number of threads.
template <typename T, typename Grid>
void backward_second(const Grid& grid, const Shape& shape, const T* grad, const T* first, T* grad_second) {
  const int64_t channels = shape.channels, places = grid.places(), cells = grid.side * grid.side;
  const int64_t threads = at::get_num_threads();
  const int64_t bands = shape.count % threads ? std::min(threads, shape.height) : 1;
  parallel_for(0, shape.count * bands, 1, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch(grid, shape);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / bands, band = task % bands;
      const int64_t low = shape.height * band / bands, high = shape.height * (band + 1) / bands;
      for (int64_t place = 0; place < shape.pixels(); ++place) {
        const auto window = grid.at(image, place / shape.width, place % shape.width);
        if (window.top >= high || window.top + (places - 1) * grid.step < low) continue;
        const int64_t pixel = image * shape.pixels() + place;
        find_places(grid, window, shape, low, high, grad_second + image * shape.pixels() * channels,
                    static_cast<T*>(nullptr), scratch.targets.data());
        grid.spread(window, grad + pixel * cells, scratch.weights.data());
        scatter_all(scratch.weights.data(), first + pixel * channels, channels, places * places,
                    scratch.targets.data());
      }
    }
  });
}

// Features as the kernels want them.
template <typename T>
Tensor whole_vectors(const Tensor& features) {
  const Tensor result = as_map<T>(features);
  const int64_t rest = features.size(1) % Vectorized<T>::size();
  if (rest == 0) return result;
  return at::constant_pad_nd(result, {0, 0, 0, 0, 0, Vectorized<T>::size() - rest}).contiguous(kLast);
}

template <typename T>
FixedGrid<T> fixed_grid(int64_t radius, int64_t dilation) {
  return {2 * radius + 1, dilation, radius};
}

template <typename T>
MovedGrid<T> moved_grid(const Tensor& flow, int64_t radius) {
  return {2 * radius + 1, 1, radius, flow.const_data_ptr<T>(),
          {flow.stride(0), flow.stride(1), flow.stride(2), flow.stride(3)}, flow.size(2), flow.size(3)};
}

template <typename T, typename Grid>
std::tuple<Tensor, Tensor> gradients(const Grid& grid, const Tensor& grad, const Tensor& first, const Tensor& second,
                                     T* grad_flow) {
  const Tensor one = whole_vectors<T>(first), two = whole_vectors<T>(second);
  const Tensor scaled = grad.div(static_cast<double>(first.size(1)));
  const Shape shape(one);
  const Tensor grad_one = at::empty_like(one), grad_two = at::zeros_like(one);
  backward_first(grid, shape, scaled.const_data_ptr<T>(), one.const_data_ptr<T>(), two.const_data_ptr<T>(),
                 grad_one.mutable_data_ptr<T>(), grad_flow);
  backward_second(grid, shape, scaled.const_data_ptr<T>(), one.const_data_ptr<T>(), grad_two.mutable_data_ptr<T>());
  return {grad_one, grad_two};
}

template <typename S, typename T>
Tensor fixed_volume(const Tensor& first, const Tensor& second, int64_t radius, int64_t dilation) {
  return grid_volume<S, T>(first, second, radius, dilation);
}

template <typename S, typename T>
std::tuple<Tensor, Tensor> fixed_gradients(const Tensor& grad, const Tensor& first, const Tensor& second,
                                           int64_t radius, int64_t dilation) {
  return gradients<T>(fixed_grid<T>(radius, dilation), grad, first, second, nullptr);
}

template <typename S, typename T>
Tensor moved_volume(const Tensor& first, const Tensor& second, const Tensor& flow, int64_t radius) {
#ifdef __AVX512BF16__  // Products of bfloat16 are added up in float.
  using P = std::conditional_t<std::is_same_v<S, at::BFloat16>, S, T>;
#else
  using P = T;
#endif
  const auto grid = moved_grid<T>(flow, radius);
  const Tensor one = as_map<P>(first), two = as_map<P>(second);
  const Tensor volume = at::empty({first.size(0), grid.side * grid.side, first.size(2), first.size(3)},
                                  first.options().memory_format(kLast));
  moved_forward<S, P>(grid, one, two, volume.mutable_data_ptr<S>());
  return volume;
}

template <typename S, typename T>
std::tuple<Tensor, Tensor, Tensor> moved_gradients(const Tensor& grad, const Tensor& first, const Tensor& second,
                                                   const Tensor& flow, int64_t radius) {
  const Tensor grad_flow = at::empty_like(flow);
  const auto [one, two] =
      gradients<T>(moved_grid<T>(flow, radius), grad, first, second, grad_flow.mutable_data_ptr<T>());
  return {one, two, grad_flow};
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { implement(library); }
