// CUDA kernels of the operators that correlation.py declares and documents; correlation.h has what calls them.
//
// One warp works on one pixel; the warps of a block work on neighbours in a row, whose windows overlap in the L1 cache.
// Places are taken 32 at a time: each lane works out one of them, then each team of 8 lanes visits the places of its
// own lanes one after the other and reads 128 bytes of channels together. Only the lookup's gradient of `second` needs
// atomic additions. The forward pass goes to the kernel of correlation_mma.h if that can do it.

#include "correlation_grid.h"
#include "correlation_mma.h"

#include <ATen/Context.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <type_traits>

namespace {

constexpr int kTeam = 8;
constexpr int64_t kStrip = 6144;         // Bytes of shared memory of one warp: 48 KiB for a block, which every GPU has.
constexpr int64_t kMostRadius = 128;     // Two rows of places fit into a strip, in double too.
constexpr int64_t kMostReach = 1 << 28;  // For radius * dilation, height and width: sums of them stay in range.

// The pixel of this warp; false beyond the end of a row.
__device__ bool find_pixel(const Shape& shape, Pixel* pixel) {
  const unsigned across = (shape.width + kWarps - 1) / kWarps, row = blockIdx.x / across;
  *pixel = pixel_at(shape, static_cast<int>(row / shape.height), static_cast<int>(row % shape.height),
                    static_cast<int>(blockIdx.x % across * kWarps + threadIdx.y));
  return pixel->x < shape.width;
}

// Which of 32 places a lane works out. The teams then stand side by side when each visits those of its own lanes.
__device__ int own_place() { return static_cast<int>(threadIdx.x % kTeam * (kWarp / kTeam) + threadIdx.x / kTeam); }

// Calls body(c, has) for all channels, a team's width at a time: this lane has a vector of those from c on, or none.
template <typename S, typename Body>
__device__ void each_part(const Shape& shape, Body body) {
  for (int start = 0; start < shape.channels; start += kTeam * Vector<S>::size) {
    const int c = start + static_cast<int>(threadIdx.x % kTeam) * Vector<S>::size;
    body(c, c < shape.channels);
  }
}

// The dot product of `one` with the place of `image` that this lane has worked out; all lanes call it together.
template <typename S, typename T>
__device__ T dot(const Shape& shape, const S* __restrict__ one, const S* __restrict__ image, int place) {
  T sums[kTeam] = {};
  each_part<S>(shape, [&](int c, bool has) {
    const Vector<S> factor = has ? load(one + c) : Vector<S>{};
#pragma unroll
    for (int t = 0; t < kTeam; ++t) {
      const int visited = __shfl_sync(kAll, place, t, kTeam);
      if (!has || visited == kOutside) continue;
      const Vector<S> row = load(image + static_cast<int64_t>(visited) * shape.channels + c);
#pragma unroll
      for (int v = 0; v < Vector<S>::size; ++v) sums[t] += static_cast<T>(factor.at[v]) * static_cast<T>(row.at[v]);
    }
  });
  // Each lane of a team keeps the half of the sums that contains its own, and hands the other half over.
#pragma unroll
  for (int width = kTeam / 2; width > 0; width /= 2) {
    const bool upper = threadIdx.x & width;
#pragma unroll
    for (int t = 0; t < width; ++t) {
      const T kept = upper ? sums[t + width] : sums[t], given = upper ? sums[t] : sums[t + width];
      sums[t] = kept + __shfl_xor_sync(kAll, given, width);
    }
  }
  return sums[0];
}

// The volume (N, H, W, cells). Shared memory holds the dot products of some rows of a window for each warp: mostly all.
template <typename S, typename T, typename Grid>
__global__ void __launch_bounds__(kWarp * kWarps)
forward(Grid grid, Shape shape, int rows, T scale, const S* __restrict__ first, const S* __restrict__ second,
        S* __restrict__ volume) {
  Pixel pixel;
  if (!find_pixel(shape, &pixel)) return;
  extern __shared__ double memory[];
  const int side = grid.side, places = side + Grid::extra;
  T* dots = reinterpret_cast<T*>(memory) + threadIdx.y * rows * places;
  const Window<T> window = grid.at(shape, pixel);
  const S* one = first + pixel.index * shape.channels;
  const S* image = second + pixel.image * shape.channels;
  S* out = volume + pixel.index * side * side;
  for (int top = 0; top < side; top += rows - Grid::extra) {
    const int height = min(rows, places - top), count = height * places;
    for (int start = 0; start < count; start += kWarp) {
      const int own = start + own_place();
      const int place = own < count ? find_place(grid, window, shape, top + own / places, own % places) : kOutside;
      const T sum = dot<S, T>(shape, one, image, place);
      if (own < count) dots[own] = sum;
    }
    __syncwarp();
    for (int k = threadIdx.x; k < (height - Grid::extra) * side; k += kWarp)
      out[top * side + k] = static_cast<S>(scale * grid.blend(window, dots + k / side * places + k % side, places));
    __syncwarp();
  }
}

// The gradient of one picture's features by gathering the other's; a moved grid adds that of the flow (N, H, W, 2).
template <typename S, typename T, typename Grid>
__global__ void __launch_bounds__(kWarp * kWarps)
gather(Grid grid, Shape shape, T scale, const T* __restrict__ grad, const S* __restrict__ one,
       const S* __restrict__ other, S* __restrict__ grad_one, T* __restrict__ grad_flow) {
  Pixel pixel;
  if (!find_pixel(shape, &pixel)) return;
  constexpr int size = Vector<S>::size;
  constexpr bool moved = std::is_same_v<Grid, MovedGrid<T>>;
  const int places = grid.side + Grid::extra, count = places * places;
  const Window<T> window = grid.at(shape, pixel);
  const S* image = other + pixel.image * shape.channels;
  T by_u = 0, by_v = 0;
  each_part<S>(shape, [&](int c, bool has) {
    T sums[size] = {}, sums_u[size] = {}, sums_v[size] = {};
    for (int start = 0; start < count; start += kWarp) {
      const int own = start + own_place(), j = own / places, i = own % places;
      const int place = own < count ? find_place(grid, window, shape, j, i) : kOutside;
      const Share<T> share = own < count ? grid.share(window, grad, pixel, place, j, i) : Share<T>{0, 0, 0};
#pragma unroll
      for (int t = 0; t < kTeam; ++t) {
        const int visited = __shfl_sync(kAll, place, t, kTeam);
        const T value = __shfl_sync(kAll, share.value, t, kTeam);
        const T value_u = moved ? __shfl_sync(kAll, share.by_u, t, kTeam) : T(0);
        const T value_v = moved ? __shfl_sync(kAll, share.by_v, t, kTeam) : T(0);
        if (!has || visited == kOutside) continue;
        const Vector<S> row = load(image + static_cast<int64_t>(visited) * shape.channels + c);
#pragma unroll
        for (int v = 0; v < size; ++v) {
          const T feature = static_cast<T>(row.at[v]);
          sums[v] += value * feature;
          if constexpr (moved) sums_u[v] += value_u * feature, sums_v[v] += value_v * feature;
        }
      }
    }
    if constexpr (moved) {
      const Vector<S> own = has ? load(one + pixel.index * shape.channels + c) : Vector<S>{};
      for (int v = 0; v < size; ++v) {
        by_u += static_cast<T>(own.at[v]) * sums_u[v];
        by_v += static_cast<T>(own.at[v]) * sums_v[v];
      }
    }
    Vector<S> result;
#pragma unroll
    for (int v = 0; v < size; ++v) {
      for (int width = kTeam; width < kWarp; width *= 2) sums[v] += __shfl_xor_sync(kAll, sums[v], width);
      result.at[v] = static_cast<S>(scale * sums[v]);
    }
    if (has && threadIdx.x < kTeam)
      *reinterpret_cast<Vector<S>*>(grad_one + pixel.index * shape.channels + c) = result;
  });
  if constexpr (moved) {
    for (int width = 1; width < kWarp; width *= 2) {
      by_u += __shfl_xor_sync(kAll, by_u, width);
      by_v += __shfl_xor_sync(kAll, by_v, width);
    }
    if (threadIdx.x == 0) grad_flow[2 * pixel.index] = scale * by_u, grad_flow[2 * pixel.index + 1] = scale * by_v;
  }
}

// Adds to the gradient of `second` (N, H, W, C), in an order that differs from run to run: nobody knows which windows
// contain a place.
template <typename S, typename T>
__global__ void __launch_bounds__(kWarp * kWarps)
scatter(MovedGrid<T> grid, Shape shape, T scale, const T* __restrict__ grad, const S* __restrict__ first,
        T* __restrict__ grad_second) {
  Pixel pixel;
  if (!find_pixel(shape, &pixel)) return;
  const int places = grid.side + 1, count = places * places;
  const Window<T> window = grid.at(shape, pixel);
  T* image = grad_second + pixel.image * shape.channels;
  for (int c = threadIdx.x; c - static_cast<int>(threadIdx.x) < shape.channels; c += kWarp) {
    const bool has = c < shape.channels;
    const T factor = has ? scale * static_cast<T>(first[pixel.index * shape.channels + c]) : T(0);
    for (int start = 0; start < count; start += kWarp) {
      const int own = start + static_cast<int>(threadIdx.x), j = own / places, i = own % places;
      const int place = own < count ? find_place(grid, window, shape, j, i) : kOutside;
      const T value = own < count ? grid.share(window, grad, pixel, place, j, i).value : T(0);
      for (int t = 0; t < min(kWarp, count - start); ++t) {
        const int visited = __shfl_sync(kAll, place, t);
        const T weight = __shfl_sync(kAll, value, t);
        if (has && visited != kOutside)
          atomicAdd(image + static_cast<int64_t>(visited) * shape.channels + c, weight * factor);
      }
    }
  }
}

template <typename... Parameters, typename... Arguments>
void launch_pixels(void (*kernel)(Parameters...), const Shape& shape, int64_t shared, Arguments... arguments) {
  const int64_t blocks = int64_t(shape.count) * shape.height * ((shape.width + kWarps - 1) / kWarps);
  launch(kernel, blocks, kWarps, shared, arguments...);
}

// Features as the kernels want them.
template <typename S>
Tensor whole_vectors(const Tensor& features) {
  constexpr int64_t size = Vector<S>::size;
  const Tensor result = features.contiguous(kLast);
  const int64_t rest = features.size(1) % size;
  if (rest) return at::constant_pad_nd(result, {0, 0, 0, 0, 0, size - rest}).contiguous(kLast);
  const bool aligned = reinterpret_cast<std::uintptr_t>(result.const_data_ptr()) % sizeof(Vector<S>) == 0;
  return aligned ? result : result.clone(kLast);
}

// A grid, after a check that the kernels can count with it; `flow` is the moved grid's.
template <typename Grid, typename... Flow>
Grid checked(const Tensor& first, int64_t radius, int64_t dilation, Flow... flow) {
  TORCH_CHECK(radius <= kMostRadius && dilation <= kMostReach / kMostRadius, "radius ", radius, " or dilation ",
              dilation, " is more than the CUDA kernels take");
  for (const int64_t size : first.sizes()) TORCH_CHECK(size <= kMostReach, "features are too large: ", first.sizes());
  TORCH_CHECK(first.size(2) * first.size(3) <= std::numeric_limits<int>::max(), "images are too large");
  return {static_cast<int>(2 * radius + 1), static_cast<int>(dilation), static_cast<int>(radius), flow...};
}

template <typename S, typename T, typename Grid>
Tensor volume_of(const Grid& grid, const Tensor& first, const Tensor& second) {
  const Tensor one = whole_vectors<S>(first), two = whole_vectors<S>(second);
  const Shape shape(one);
  const Tensor volume = at::empty({shape.count, grid.side * grid.side, shape.height, shape.width},
                                  first.options().memory_format(kLast));
  const S *from = one.const_data_ptr<S>(), *to = two.const_data_ptr<S>();
  const T scale = T(1) / first.size(1);
  if constexpr (!std::is_same_v<S, double>) {
    if (suits_mma(grid, shape)) {
      launch_mma(grid, shape, scale, from, to, volume.mutable_data_ptr<S>());
      return volume;
    }
  }
  const int64_t places = grid.side + Grid::extra, row = places * static_cast<int64_t>(sizeof(T));
  const int64_t rows = std::min(places, kStrip / row);
  launch_pixels(forward<S, T, Grid>, shape, kWarps * rows * row, grid, shape, static_cast<int>(rows), scale, from, to,
                volume.mutable_data_ptr<S>());
  return volume;
}

// The gradient of `one`, laid out as its features are.
template <typename S, typename T, typename Grid>
Tensor gathered(const Grid& grid, const Tensor& grad, const Tensor& one, const Tensor& other, T scale, T* grad_flow) {
  const Tensor result = at::empty(one.sizes(), one.options().memory_format(kLast));
  launch_pixels(gather<S, T, Grid>, Shape(one), 0, grid, Shape(one), scale, grad.const_data_ptr<T>(),
                one.const_data_ptr<S>(), other.const_data_ptr<S>(), result.mutable_data_ptr<S>(), grad_flow);
  return result;
}

template <typename S, typename T>
Tensor fixed_volume(const Tensor& first, const Tensor& second, int64_t radius, int64_t dilation) {
  return volume_of<S, T>(checked<FixedGrid<T>>(first, radius, dilation), first, second);
}

template <typename S, typename T>
std::tuple<Tensor, Tensor> fixed_gradients(const Tensor& grad, const Tensor& first, const Tensor& second,
                                           int64_t radius, int64_t dilation) {
  const auto grid = checked<FixedGrid<T>>(first, radius, dilation);
  const MirroredGrid<T> mirrored{{grid.side, -grid.step, grid.radius}};
  const Tensor one = whole_vectors<S>(first), two = whole_vectors<S>(second);
  const T scale = T(1) / first.size(1);
  return {gathered<S, T>(grid, grad, one, two, scale, nullptr),
          gathered<S, T>(mirrored, grad, two, one, scale, nullptr)};
}

template <typename S, typename T>
Tensor moved_volume(const Tensor& first, const Tensor& second, const Tensor& flow, int64_t radius) {
  const Tensor map = as_map<T>(flow);
  return volume_of<S, T>(checked<MovedGrid<T>>(first, radius, 1, map.const_data_ptr<T>()), first, second);
}

template <typename S, typename T>
std::tuple<Tensor, Tensor, Tensor> moved_gradients(const Tensor& grad, const Tensor& first, const Tensor& second,
                                                   const Tensor& flow, int64_t radius) {
  at::globalContext().alertNotDeterministic("lookup_correlation_backward on CUDA");
  const auto grid = checked<MovedGrid<T>>(first, radius, 1, flow.const_data_ptr<T>());
  const Tensor one = whole_vectors<S>(first), two = whole_vectors<S>(second);
  const Tensor grad_flow = at::empty(flow.sizes(), flow.options().memory_format(kLast));
  const Tensor grad_two = at::zeros({one.size(0), one.size(2), one.size(3), one.size(1)}, flow.options());
  const T scale = T(1) / first.size(1);
  const Tensor grad_one = gathered<S, T>(grid, grad, one, two, scale, grad_flow.mutable_data_ptr<T>());
  launch_pixels(scatter<S, T>, Shape(one), 0, grid, Shape(one), scale, grad.const_data_ptr<T>(),
                one.const_data_ptr<S>(), grad_two.mutable_data_ptr<T>());
  return {grad_one, grad_two.permute({0, 3, 1, 2}), grad_flow};
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CUDA, library) { implement(library); }
