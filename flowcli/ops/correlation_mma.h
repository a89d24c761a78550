// The forward pass of correlation.cu by matrix units, which GPUs have from compute capability 8.0 on.
//
// A warp works on 4 x 4 pixels. Their windows overlap: it multiplies all of them with each place of the rectangle
// around the windows, 16 pixels by 8 places at a time, and writes the products to shared memory, where every sample
// finds its own. Pixels whose flow leads elsewhere get a rectangle of their own. With a dilation, a warp's pixels are
// as far apart as the places. The warps of a block work on neighbours, whose places overlap in the L1 cache.

#pragma once

#include "correlation_grid.h"

#include <algorithm>
#include <climits>
#include <type_traits>

namespace {

constexpr int kBlock = 4, kPixels = kBlock * kBlock;  // Of a warp: in a row, and in all.
constexpr int kGroupsAcross = 4, kGroups = 8;         // Warps' pixels in a tile, of 16 x 8 pixels.
constexpr int kQuad = 4;                              // Lanes that load a place, or a pixel: 64 bytes of channels.
constexpr int kRows = 4;                              // Places of a quad, each in another matrix.
constexpr int kPlaces = 152;                          // Of a rectangle; such that lanes write to different banks.
constexpr int kReach = 4;                             // By so many places windows of a rectangle differ from the first.
constexpr int kMmaWarps = 4;
constexpr int kWriters = 8;                           // Lanes that write the samples of one pixel.
constexpr int kMostMmaRadius = 15;
static_assert(2 * (2 * kMostMmaRadius + 2 + 2 * kReach) <= kPlaces, "two rows of a rectangle must fit");

// The tiles of all images, for each offset of pixels that are a dilation apart.
struct Tiles {
  int count, offsets_down, offsets_across, down, across;

  Tiles(const Shape& shape, int step)
      : count(shape.count),
        offsets_down(std::min(step, shape.height)),
        offsets_across(std::min(step, shape.width)),
        down(ceil_of(ceil_of(shape.height, step), kBlock * kGroups / kGroupsAcross)),
        across(ceil_of(ceil_of(shape.width, step), kBlock * kGroupsAcross)) {}

  static int ceil_of(int size, int part) { return (size + part - 1) / part; }

  int64_t total() const { return int64_t(count) * offsets_down * offsets_across * down * across; }

  // A pixel of a group; it may lie beyond the image.
  __device__ Pixel pixel(const Shape& shape, int step, unsigned group, int number) const {
    const int part = static_cast<int>(group % kGroups);
    unsigned tile = group / kGroups;
    const auto take = [&tile](int size) {
      const int taken = static_cast<int>(tile % size);
      tile /= size;
      return taken;
    };
    const int x = (take(across) * kGroupsAcross + part % kGroupsAcross) * kBlock + number % kBlock;
    const int y = (take(down) * (kGroups / kGroupsAcross) + part / kGroupsAcross) * kBlock + number / kBlock;
    const int right = take(offsets_across), low = take(offsets_down);
    return pixel_at(shape, static_cast<int>(tile), y * step + low, x * step + right);
  }
};

// number / divisor, for numbers below 2^10 and divisors up to 2^6.
__device__ int inverse_of(int divisor) { return (1 << 16) / divisor + 1; }
__device__ int divided(int number, int inverse) { return number * inverse >> 16; }

// sums (16 x 8) += pixels (16 x K) * places (K x 8) in float16, bfloat16 or tf32. The PTX ISA has the layout, under
// mma.m16n8k16 and mma.m16n8k8: `b` and `d` are of the pixel 8 after that of `a` and `c`.
template <typename S>
__device__ void mma(float (&sums)[4], unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned f) {
#define FLOWCLI_MMA(kind)                                                                                          \
  asm("mma.sync.aligned." kind " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                  \
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])                                                 \
      : "r"(a), "r"(b), "r"(c), "r"(d), "r"(e), "r"(f))
  if constexpr (std::is_same_v<S, at::Half>)
    FLOWCLI_MMA("m16n8k16.row.col.f32.f16.f16.f32");
  else if constexpr (std::is_same_v<S, at::BFloat16>)
    FLOWCLI_MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
  else
    FLOWCLI_MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
#undef FLOWCLI_MMA
}

__device__ unsigned upper_bits(unsigned value) { return value & 0xffffe000; }  // Those that tf32 has of a float.

__device__ unsigned lower_bits(unsigned value) {
  return __float_as_uint(__uint_as_float(value) - __uint_as_float(upper_bits(value)));
}

// As mma, but with all bits of a float.
template <typename S>
__device__ void multiply(float (&sums)[4], unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned f) {
  if constexpr (std::is_same_v<S, float>) {
    // Each number is the sum of two in tf32; the product of the two lower ones is too small to matter.
    mma<S>(sums, upper_bits(a), upper_bits(b), upper_bits(c), upper_bits(d), lower_bits(e), lower_bits(f));
    mma<S>(sums, lower_bits(a), lower_bits(b), lower_bits(c), lower_bits(d), upper_bits(e), upper_bits(f));
    mma<S>(sums, upper_bits(a), upper_bits(b), upper_bits(c), upper_bits(d), upper_bits(e), upper_bits(f));
  } else {
    mma<S>(sums, a, b, c, d, e, f);
  }
}

// The products (16, kPlaces) of the warp's pixels with the first `count` places of a rectangle. The quad's two pixels
// are `one` and `other`, counted in vectors like the places; `inverse` is that of `columns`. All lanes give the same
// channels to the same column of a matrix; which, does not matter.
template <typename S, typename Grid>
__device__ void multiply_places(const Grid& grid, const Shape& shape, const Window<float>& corner, int columns,
                                int inverse, int count, const uint4* __restrict__ pixels, int one, int other,
                                const uint4* __restrict__ image, float* products) {
  const int lane = static_cast<int>(threadIdx.x), row = lane / kQuad, parts = shape.channels / Vector<S>::size;
  for (int start = 0; start < count; start += kWarp) {
    // Every lane works out one place, for itself or another.
    const int own = start + lane, j = divided(own, inverse);
    const int place = own < count ? find_place(grid, corner, shape, j, own - j * columns) : kOutside;
    const unsigned outside = __ballot_sync(kAll, place == kOutside);
    int rows[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) rows[r] = __shfl_sync(kAll, max(place, 0), r * kWarp / kRows + row) * parts;
    float sums[kRows][4] = {};
#pragma unroll 1
    for (int first = 0; first < parts; first += kQuad) {
      // Beyond the last channel the pixels are zeros, and the places what they may be.
      const int wanted = first + lane % kQuad, part = min(wanted, parts - 1);
      uint4 a{}, b{}, places[kRows];
      if (part == wanted) a = __ldg(pixels + (one + part)), b = __ldg(pixels + (other + part));
#pragma unroll
      for (int r = 0; r < kRows; ++r) places[r] = __ldg(image + (rows[r] + part));
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        multiply<S>(sums[r], a.x, b.x, a.y, b.y, places[r].x, places[r].y);
        multiply<S>(sums[r], a.z, b.z, a.w, b.w, places[r].z, places[r].w);
      }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int column = r * kWarp / kRows + lane % kQuad * 2;
      if (outside >> column & 1) sums[r][0] = sums[r][2] = 0;
      if (outside >> column & 2) sums[r][1] = sums[r][3] = 0;
      if (start + column >= kPlaces) continue;
      float* at = products + row * kPlaces + start + column;
      *reinterpret_cast<float2*>(at) = {sums[r][0], sums[r][1]};
      *reinterpret_cast<float2*>(at + kPixels / 2 * kPlaces) = {sums[r][2], sums[r][3]};
    }
  }
}

// The volume (N, H, W, cells). Lane and lane + 16 look after the same pixel.
template <typename S, typename Grid>
__global__ void __launch_bounds__(kWarp * kMmaWarps, 4)
forward_mma(Grid grid, Shape shape, Tiles tiles, int turns, float scale, const S* __restrict__ first,
            const S* __restrict__ second, S* __restrict__ volume) {
#if __CUDA_ARCH__ >= 800
  extern __shared__ double memory[];
  float* products = reinterpret_cast<float*>(memory) + threadIdx.y * kPixels * kPlaces;
  const int lane = static_cast<int>(threadIdx.x), side = grid.side, places = side + Grid::extra;
  const int parts = shape.channels / Vector<S>::size, by_side = inverse_of(side);
  // Distances of windows are whole steps, and few.
  const auto steps = [per_step = 1.0f / static_cast<float>(grid.step)](int distance) {
    return static_cast<int>(static_cast<float>(distance) * per_step + 0.5f);
  };
  for (int turn = 0; turn < turns; ++turn) {
    const unsigned group = (blockIdx.x * turns + turn) * blockDim.y + threadIdx.y;
    const Pixel pixel = tiles.pixel(shape, grid.step, group, lane % kPixels);
    const bool exists = pixel.y < shape.height && pixel.x < shape.width;
    const Window<float> window = exists ? grid.at(shape, pixel) : Window<float>{};
    const int index = exists ? pixel.y * shape.width + pixel.x : 0;
    const int one = __shfl_sync(kAll, index, lane / kQuad) * parts;
    const int other = __shfl_sync(kAll, index, lane / kQuad + kPixels / 2) * parts;
    const uint4* pixels = reinterpret_cast<const uint4*>(first) + pixel.image * parts;
    const uint4* image = reinterpret_cast<const uint4*>(second) + pixel.image * parts;
    for (unsigned rest = __ballot_sync(kAll, exists); rest;) {
      const int leader = __ffs(rest) - 1;
      const int far_down = abs(window.top - __shfl_sync(kAll, window.top, leader));
      const int far_across = abs(window.left - __shfl_sync(kAll, window.left, leader));
      const bool joins = (rest >> lane & 1) && max(far_down, far_across) <= kReach * grid.step;
      const unsigned members = __ballot_sync(kAll, joins);
      rest &= ~members;
      const int top = __reduce_min_sync(kAll, joins ? window.top : INT_MAX);
      const int left = __reduce_min_sync(kAll, joins ? window.left : INT_MAX);
      // Where the pixel's first sample is in the rectangle.
      const int own_row = joins ? steps(window.top - top) : 0, own_column = joins ? steps(window.left - left) : 0;
      const int height = __reduce_max_sync(kAll, own_row) + places;
      const int columns = __reduce_max_sync(kAll, own_column) + places;
      const int by_columns = inverse_of(columns), rows = divided(kPlaces, by_columns);
      for (int start = 0; start + Grid::extra < height; start += rows - Grid::extra) {
        const int taken = min(rows, height - start);
        multiply_places<S>(grid, shape, {top + start * grid.step, left, 0, 0}, columns, by_columns, taken * columns,
                           pixels, one, other, image, products);
        __syncwarp();
        for (int number = lane / kWriters; number < kPixels; number += kWarp / kWriters) {
          const bool has = members >> number & 1;
          const int row = __shfl_sync(kAll, own_row, number) - start;
          const Window<float> at{0, 0, __shfl_sync(kAll, window.right_part, number),
                                 __shfl_sync(kAll, window.low_part, number)};
          const float* dots = products + number * kPlaces + row * columns + __shfl_sync(kAll, own_column, number);
          S* out = volume + (pixel.image + __shfl_sync(kAll, index, number)) * side * side;
          const int end = has ? min(side, taken - Grid::extra - row) * side : 0;
          for (int k = max(0, -row) * side + lane % kWriters; k < end; k += kWriters)
            out[k] = static_cast<S>(scale * grid.blend(at, dots + divided(k, by_side) * (columns - side) + k, columns));
        }
        __syncwarp();
      }
    }
  }
#endif
}

int device_attribute(cudaDeviceAttr attribute) {
  int value = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, c10::cuda::current_device()));
  return value;
}

template <typename Grid>
bool suits_mma(const Grid& grid, const Shape& shape) {
  const int64_t numbers = int64_t(shape.height) * shape.width * shape.channels;  // It counts them in an int.
  return grid.radius <= kMostMmaRadius && numbers <= std::numeric_limits<int>::max() &&
         device_attribute(cudaDevAttrComputeCapabilityMajor) >= 8;
}

template <typename S, typename Grid>
void launch_mma(const Grid& grid, const Shape& shape, float scale, const S* first, const S* second, S* volume) {
  const Tiles tiles(shape, grid.step);
  TORCH_CHECK(tiles.total() <= std::numeric_limits<int>::max() / kGroups, "too many pixels for one launch");
  // The fewer tiles a GPU has for its multiprocessors, the smaller are the parts in which they get them.
  const int64_t multiprocessors = device_attribute(cudaDevAttrMultiProcessorCount);
  const int warps = tiles.total() < multiprocessors ? 1 : kMmaWarps;
  const int turns = tiles.total() < 4 * multiprocessors ? 1 : kGroups / kMmaWarps;
  launch(forward_mma<S, Grid>, tiles.total() * kGroups / (warps * turns), warps,
         warps * kPixels * kPlaces * static_cast<int64_t>(sizeof(float)), grid, shape, tiles, turns, scale, first,
         second, volume);
}

}  // namespace
