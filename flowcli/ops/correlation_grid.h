// What the CUDA kernels of correlation.cu share: features, and the places of `second` that belong to a pixel.
//
// Features are laid out as (N, H, W, C), with C filled up with zeros to whole vectors of 16 bytes.

#pragma once

#include "correlation.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include <limits>

namespace {

constexpr int kWarp = 32, kWarps = 8;  // Lanes of a warp; warps of a block, for most kernels.
constexpr unsigned kAll = 0xffffffff;
constexpr int kOutside = -1;

template <typename S>
struct alignas(16) Vector {
  static constexpr int size = 16 / sizeof(S);
  S at[size];
};

template <typename S>
__device__ Vector<S> load(const S* at) {
  return *reinterpret_cast<const Vector<S>*>(at);
}

struct Shape {
  int count, channels, height, width;
  explicit Shape(const Tensor& features)
      : count(static_cast<int>(features.size(0))),
        channels(static_cast<int>(features.size(1))),
        height(static_cast<int>(features.size(2))),
        width(static_cast<int>(features.size(3))) {}
};

struct Pixel {
  int y, x;
  int64_t image;  // The image's first pixel, counted over all images; `index` is counted the same way.
  int64_t index;
};

__device__ Pixel pixel_at(const Shape& shape, int image, int y, int x) {
  const int64_t start = static_cast<int64_t>(image) * shape.height * shape.width;
  return {y, x, start, start + static_cast<int64_t>(y) * shape.width + x};
}

// The places that belong to one pixel: rows top, top + step, ... and columns left, left + step, ...
template <typename T>
struct Window {
  int top, left;
  T right_part, low_part;
};

// The share that a place has in the gradient of its pixel, and the derivatives of the share by the pixel's flow.
template <typename T>
struct Share {
  T value, by_u, by_v;
};

template <typename T>
struct FixedGrid {
  static constexpr int extra = 0;  // Places per side beyond the samples per side.
  int side, step, radius;

  __device__ Window<T> at(const Shape&, const Pixel& pixel) const {
    return {pixel.y - radius * step, pixel.x - radius * step, 0, 0};
  }

  __device__ T blend(const Window<T>&, const T* dots, int) const { return dots[0]; }

  __device__ Share<T> share(const Window<T>&, const T* grad, const Pixel& pixel, int, int j, int i) const {
    return {grad[pixel.index * side * side + j * side + i], 0, 0};
  }
};

// The places whose fixed grids contain the pixel, for the gradient of `second`. Its step is negative: the place on the
// lower right has the pixel on its upper left.
template <typename T>
struct MirroredGrid : FixedGrid<T> {
  __device__ Share<T> share(const Window<T>&, const T* grad, const Pixel& pixel, int place, int j, int i) const {
    const int side = this->side;
    return {place == kOutside ? T(0) : grad[(pixel.image + place) * side * side + j * side + i], 0, 0};
  }
};

template <typename T>
struct MovedGrid {
  static constexpr int extra = 1;
  int side, step, radius;
  const T* flow;  // (N, H, W, 2)

  // Beyond the limit every place is outside; NaN fails the first comparison. The result converts to integers safely.
  static __device__ T clamp(T value, T limit) { return value > -limit ? (value < limit ? value : limit) : -limit; }

  __device__ Window<T> at(const Shape& shape, const Pixel& pixel) const {
    const T u = clamp(flow[2 * pixel.index], static_cast<T>(shape.width + radius + 2));
    const T v = clamp(flow[2 * pixel.index + 1], static_cast<T>(shape.height + radius + 2));
    const T column = floor(u), row = floor(v);
    const int top = pixel.y + static_cast<int>(row) - radius, left = pixel.x + static_cast<int>(column) - radius;
    return {top, left, u - column, v - row};
  }

  // A sample from the dot products of the four places around it: the first is at `dots`, rows are `pitch` apart.
  __device__ T blend(const Window<T>& window, const T* dots, int pitch) const {
    const T p = window.right_part, q = window.low_part;
    const T upper = (1 - p) * dots[0] + p * dots[1], lower = (1 - p) * dots[pitch] + p * dots[pitch + 1];
    return (1 - q) * upper + q * lower;
  }

  // The four samples next to a place: a on its upper left, b on its upper right, c and d below.
  __device__ Share<T> share(const Window<T>& window, const T* grad, const Pixel& pixel, int, int j, int i) const {
    const T p = window.right_part, q = window.low_part;
    const T* cell = grad + pixel.index * side * side + j * side + i;
    const bool left = i > 0, right = i < side, above = j > 0, below = j < side;
    const T a = left && above ? cell[-side - 1] : T(0), b = right && above ? cell[-side] : T(0),
            c = left && below ? cell[-1] : T(0), d = right && below ? cell[0] : T(0);
    return {q * (p * a + (1 - p) * b) + (1 - q) * (p * c + (1 - p) * d), q * (a - b) + (1 - q) * (c - d),
            p * (a - c) + (1 - p) * (b - d)};
  }
};

// The place (j, i) of a window as the number of its pixel in the image, or kOutside.
template <typename T, typename Grid>
__device__ int find_place(const Grid& grid, const Window<T>& window, const Shape& shape, int j, int i) {
  const int y = window.top + j * grid.step, x = window.left + i * grid.step;
  return y >= 0 && y < shape.height && x >= 0 && x < shape.width ? y * shape.width + x : kOutside;
}

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, int warps, int64_t shared, Arguments... arguments) {
  if (blocks == 0) return;
  TORCH_CHECK(blocks <= std::numeric_limits<int>::max(), "too many pixels for one launch");
  const auto stream = c10::cuda::getCurrentCUDAStream();
  kernel<<<static_cast<unsigned>(blocks), dim3(kWarp, warps), shared, stream>>>(arguments...);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace
