// Blocks of threads along the rows of images, in the sources for CUDA: whatever a thread divides then fits into 32 bits.

#pragma once

#include "native.h"

namespace {

constexpr int kThreads = 256;

// What a thread works on: the rows of all images go on below each other.
struct Place {
  int64_t image;
  int x, y;
};

__device__ Place place_of(int64_t height) {
  const unsigned rows = static_cast<unsigned>(height);
  return {blockIdx.x / rows, static_cast<int>(blockIdx.y * kThreads + threadIdx.x), static_cast<int>(blockIdx.x % rows)};
}

// For place_of, of `count` images; x may be more than the width.
dim3 blocks(int64_t count, int64_t height, int64_t width) {
  return {static_cast<unsigned>(count * height), static_cast<unsigned>((width + kThreads - 1) / kThreads)};
}

}  // namespace
