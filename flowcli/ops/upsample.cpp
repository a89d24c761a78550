// CPU kernel of upsample.py's operator; upsample.h has what calls it.

#include "upsample.h"
#include "parallel.h"
#include "widen.h"

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <vector>

namespace {

using at::vec::Vectorized;

template <typename T>
int64_t whole_vectors(int64_t count) {
  return at::divup(count, Vectorized<T>::size()) * Vectorized<T>::size();
}

// What one thread works with: the nine weights of each cell of one coarse pixel, in rows of whole vectors, and its fine
// vectors.
template <typename T>
struct Scratch {
  std::vector<T> weights, u, v;
  explicit Scratch(int64_t cells)
      : weights(kNear * whole_vectors<T>(cells)), u(whole_vectors<T>(cells)), v(whole_vectors<T>(cells)) {}
};

// The coarse vectors around one pixel.
template <typename T>
struct Near {
  T u[kNear], v[kNear];

  Near(const T* flow, const Grid& grid, int64_t y, int64_t x) {
    const int64_t plane = grid.height * grid.width;
    for (int64_t k = 0; k < kNear; ++k) {
      const int64_t row = std::clamp<int64_t>(y + k / 3 - 1, 0, grid.height - 1);
      const int64_t column = std::clamp<int64_t>(x + k % 3 - 1, 0, grid.width - 1);
      u[k] = flow[row * grid.width + column], v[k] = flow[plane + row * grid.width + column];
    }
  }
};

// The fine vectors of one coarse pixel: a softmax over its nine weights blends what is near.
template <typename T, typename S>
[[gnu::always_inline]] inline void blend_pixel(const Near<T>& near, const S* mask, int64_t factor, Scratch<T>& scratch) {
  using Vector = Vectorized<T>;
  const int64_t cells = factor * factor, stride = whole_vectors<T>(cells);
  T* weights = scratch.weights.data();
  for (int64_t k = 0; k < kNear; ++k)
#pragma omp simd
    for (int64_t s = 0; s < cells; ++s) weights[k * stride + s] = widened<T>(mask[k * cells + s]);
  for (int64_t s = 0; s < stride; s += Vector::size()) {
    Vector weight[kNear], most = Vector::loadu(weights + s);
    for (int k = 0; k < kNear; ++k) {
      weight[k] = Vector::loadu(weights + k * stride + s);
      most = at::vec::maximum(most, weight[k]);
    }
    Vector sum(0), u(0), v(0);
    for (int k = 0; k < kNear; ++k) {
      const Vector part = (weight[k] - most).exp_u20();
      sum = sum + part;
      u = at::vec::fmadd(part, Vector(near.u[k]), u), v = at::vec::fmadd(part, Vector(near.v[k]), v);
    }
    const Vector scale = Vector(static_cast<T>(factor)) / sum;
    (scale * u).store(scratch.u.data() + s), (scale * v).store(scratch.v.data() + s);
  }
}

template <typename T, typename S>
void blend(const Grid& grid, const T* flow, const S* mask, T* upsampled) {
  const int64_t cells = grid.cells(), plane = grid.height * grid.width;
  parallel_for(0, grid.count * grid.height, 1, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch(cells);
    const auto rows = [&](int64_t factor) {
      const int64_t width = factor * grid.width;
      for (int64_t task = begin; task < end; ++task) {
        const int64_t image = task / grid.height, y = task % grid.height;
        T* out = upsampled + 2 * image * plane * cells + y * cells * grid.width;
        for (int64_t x = 0; x < grid.width; ++x, out += factor) {
          const Near<T> near(flow + 2 * image * plane, grid, y, x);
          blend_pixel(near, mask + (task * grid.width + x) * kNear * cells, factor, scratch);
          for (int64_t j = 0; j < factor; ++j) {
            std::copy_n(scratch.u.data() + j * factor, factor, out + j * width);
            std::copy_n(scratch.v.data() + j * factor, factor, out + plane * cells + j * width);
          }
        }
      }
    };
    // The usual factor gets a copy of the code of its own: its short loops unroll.
    grid.factor == 4 ? rows(4) : rows(grid.factor);
  });
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("convex_upsample", convex_upsample); }
