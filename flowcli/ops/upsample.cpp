// CPU kernel of upsample.py's operator; upsample.h has what calls it.

#include "upsample.h"
#include "parallel.h"

#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <vector>

namespace {

using at::vec::Vectorized;

// What one thread works with: for each cell of one coarse pixel its nine weights, the most and the sum of them, and the
// blend.
template <typename T>
struct Scratch {
  std::vector<T> weights, most, sum, u, v;
  explicit Scratch(int64_t cells) : weights(kNear * cells), most(cells), sum(cells), u(cells), v(cells) {}
};

// The softmax but for the division, over the nine weights of each cell.
template <typename T, typename S>
[[gnu::always_inline]] inline void exponentiate(const S* mask, int64_t cells, T* weights, T* most) {
  const int64_t all = kNear * cells;
#pragma omp simd
  for (int64_t i = 0; i < all; ++i) weights[i] = static_cast<T>(mask[i]);
#pragma omp simd
  for (int64_t s = 0; s < cells; ++s) most[s] = weights[s];
  for (int64_t k = 1; k < kNear; ++k)
#pragma omp simd
    for (int64_t s = 0; s < cells; ++s) most[s] = std::max(most[s], weights[k * cells + s]);
  for (int64_t k = 0; k < kNear; ++k)
#pragma omp simd
    for (int64_t s = 0; s < cells; ++s) weights[k * cells + s] -= most[s];
  constexpr int64_t lanes = Vectorized<T>::size();
  int64_t i = 0;
  for (; i + lanes <= all; i += lanes) Vectorized<T>::loadu(weights + i).exp_u20().store(weights + i);
  if (i < all) Vectorized<T>::loadu(weights + i, all - i).exp_u20().store(weights + i, all - i);
}

// Writes the fine vectors of one coarse pixel, whose planes have rows of `width` and are `plane` apart.
template <typename T>
[[gnu::always_inline]] inline void blend_pixel(const T* flow, const Grid& grid, int64_t y, int64_t x, int64_t factor,
                                               Scratch<T>& scratch, T* out) {
  const int64_t cells = factor * factor, plane = grid.height * grid.width, width = factor * grid.width;
  T *sum = scratch.sum.data(), *u = scratch.u.data(), *v = scratch.v.data();
#pragma omp simd
  for (int64_t s = 0; s < cells; ++s) sum[s] = u[s] = v[s] = 0;
  for (int64_t k = 0; k < kNear; ++k) {
    const int64_t row = std::clamp<int64_t>(y + k / 3 - 1, 0, grid.height - 1);
    const int64_t column = std::clamp<int64_t>(x + k % 3 - 1, 0, grid.width - 1);
    const T near_u = flow[row * grid.width + column], near_v = flow[plane + row * grid.width + column];
    const T* weights = scratch.weights.data() + k * cells;
#pragma omp simd
    for (int64_t s = 0; s < cells; ++s) {
      sum[s] += weights[s];
      u[s] += weights[s] * near_u;
      v[s] += weights[s] * near_v;
    }
  }
  for (int64_t j = 0; j < factor; ++j)
#pragma omp simd
    for (int64_t i = 0; i < factor; ++i) {
      const T scale = static_cast<T>(factor) / sum[j * factor + i];
      out[j * width + i] = scale * u[j * factor + i];
      out[plane * cells + j * width + i] = scale * v[j * factor + i];
    }
}

template <typename T, typename S>
void blend(const Grid& grid, const T* flow, const S* mask, T* upsampled) {
  const int64_t cells = grid.cells(), plane = grid.height * grid.width;
  parallel_for(0, grid.count * grid.height, 1, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch(cells);
    const auto rows = [&](int64_t factor) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t image = task / grid.height, y = task % grid.height;
        T* out = upsampled + 2 * image * plane * cells + y * cells * grid.width;
        for (int64_t x = 0; x < grid.width; ++x) {
          exponentiate(mask + (task * grid.width + x) * kNear * cells, factor * factor, scratch.weights.data(),
                       scratch.most.data());
          blend_pixel(flow + 2 * image * plane, grid, y, x, factor, scratch, out + x * factor);
        }
      }
    };
    // The usual factor gets a copy of the code of its own: its short loops unroll.
    grid.factor == 4 ? rows(4) : rows(grid.factor);
  });
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("convex_upsample", convex_upsample); }
