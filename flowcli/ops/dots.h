// Products of one pixel's channels with those of many places, for correlation.cpp. Channels fill whole vectors.

#pragma once

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>
#include <vector>

namespace {

using at::vec::Vectorized;
using std::int64_t;

// Begins at a cache line, so that no vector in it lies across two.
template <typename T>
struct LineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};
  T* allocate(std::size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kLine)); }
  void deallocate(T* from, std::size_t) { ::operator delete(from, kLine); }
  bool operator==(const LineAllocator&) const = default;
};
template <typename T>
using Buffer = std::vector<T, LineAllocator<T>>;

// Sums of neighbours: (a0 + a1, a2 + a3, ..., b0 + b1, b2 + b3, ...).
template <typename T>
Vectorized<T> add_neighbours(const Vectorized<T>& a, const Vectorized<T>& b) {
  const auto [even, odd] = at::vec::deinterleave2(a, b);
  return even + odd;
}

// out[p] = dot(one, rows[p]) for p < count; rows and out have room for whole vectors. One vector of dot products at a
// time: its sums run across the lanes together, in a tree. Four rows at a time share what is loaded of `one`.
template <typename T>
[[gnu::always_inline]] inline void dot_rows(const T* one, const T* const* rows, int64_t channels, int64_t count,
                                            T* out) {
  constexpr int lanes = Vectorized<T>::size(), group = lanes < 4 ? lanes : 4;
  for (int64_t p = 0; p < count; p += lanes, rows += lanes) {
    Vectorized<T> sums[lanes];
#pragma GCC unroll 4
    for (int i = 0; i < lanes; i += group) {
      const T* row[group];
      Vectorized<T> sum[group];
      for (int r = 0; r < group; ++r) row[r] = rows[i + r], sum[r] = Vectorized<T>(0);
      for (int64_t c = 0; c < channels; c += lanes) {
        const auto factor = Vectorized<T>::loadu(one + c);
#pragma GCC unroll 4
        for (int r = 0; r < group; ++r) sum[r] = at::vec::fmadd(factor, Vectorized<T>::loadu(row[r] + c), sum[r]);
      }
      for (int r = 0; r < group; ++r) sums[i + r] = sum[r];
    }
#pragma GCC unroll 4
    for (int width = lanes / 2; width > 0; width /= 2)
#pragma GCC unroll 8
      for (int i = 0; i < width; ++i) sums[i] = add_neighbours(sums[2 * i], sums[2 * i + 1]);
    sums[0].store(out + p);
  }
}

// The same. The usual numbers of channels get copies of the code of their own: their short loops unroll.
template <typename T>
void dot_all(const T* one, const T* const* rows, int64_t channels, int64_t count, T* out) {
  channels == 32   ? dot_rows(one, rows, 32, count, out)
  : channels == 64 ? dot_rows(one, rows, 64, count, out)
                   : dot_rows(one, rows, channels, count, out);
}

// Calls body(c, blocks) for all channels c in steps of `blocks` vectors: four where possible, which fit in registers.
template <typename T, typename Body>
void each_block(int64_t channels, Body body) {
  constexpr int lanes = Vectorized<T>::size();
  int64_t c = 0;
  for (; c + 4 * lanes <= channels; c += 4 * lanes) body(c, std::integral_constant<int, 4>());
  for (; c < channels; c += lanes) body(c, std::integral_constant<int, 1>());
}

// target = sum of weights[p] * rows[p] for p < count. Even and odd places are summed apart, which hides latency; after
// an odd count there is one more place, of weight 0.
template <typename T>
void gather_all(const T* weights, const T* const* rows, int64_t channels, int64_t count, T* target) {
  constexpr int lanes = Vectorized<T>::size();
  each_block<T>(channels, [&](int64_t c, auto size) {
    constexpr int blocks = decltype(size)::value;
    Vectorized<T> even[blocks], odd[blocks];
    for (int b = 0; b < blocks; ++b) even[b] = odd[b] = Vectorized<T>(0);
    for (int64_t p = 0; p < count; p += 2) {
      const Vectorized<T> one(weights[p]), two(weights[p + 1]);
#pragma GCC unroll 4
      for (int b = 0; b < blocks; ++b) {
        even[b] = at::vec::fmadd(one, Vectorized<T>::loadu(rows[p] + c + b * lanes), even[b]);
        odd[b] = at::vec::fmadd(two, Vectorized<T>::loadu(rows[p + 1] + c + b * lanes), odd[b]);
      }
    }
    for (int b = 0; b < blocks; ++b) (even[b] + odd[b]).store(target + c + b * lanes);
  });
}

// rows[p] += weights[p] * one for p < count, but null rows.
template <typename T>
void scatter_all(const T* weights, const T* one, int64_t channels, int64_t count, T* const* rows) {
  constexpr int lanes = Vectorized<T>::size();
  each_block<T>(channels, [&](int64_t c, auto size) {
    constexpr int blocks = decltype(size)::value;
    Vectorized<T> factor[blocks];
    for (int b = 0; b < blocks; ++b) factor[b] = Vectorized<T>::loadu(one + c + b * lanes);
    for (int64_t p = 0; p < count; ++p) {
      if (!rows[p]) continue;
      const Vectorized<T> weight(weights[p]);
      T* row = rows[p] + c;
#pragma GCC unroll 4
      for (int b = 0; b < blocks; ++b)
        at::vec::fmadd(weight, factor[b], Vectorized<T>::loadu(row + b * lanes)).store(row + b * lanes);
    }
  });
}

// Writes a vector as numbers of the type S.
template <typename S, typename T>
void store_as(const Vectorized<T>& vector, S* out) {
  if constexpr (std::is_same_v<S, T>) {
    vector.store(out);
  } else {
#ifdef __AVX512BF16__
    if constexpr (std::is_same_v<S, at::BFloat16>) {
      const __m256bh narrow = _mm512_cvtneps_pbh(vector);
      std::memcpy(out, &narrow, sizeof(narrow));
      return;
    }
#endif
    at::vec::convert_from_float<S>(vector, vector).store(out, Vectorized<T>::size());
  }
}

// out[k] = scale * from[k] for k < count; `from` has room for whole vectors of S.
template <typename S, typename T>
void store_all(const T* from, T scale, int64_t count, S* out) {
  if constexpr (std::is_same_v<S, T>) {
    for (int64_t k = 0; k < count; ++k) out[k] = scale * from[k];
  } else {
    constexpr int64_t lanes = Vectorized<T>::size();
    const Vectorized<T> factor(scale);
    for (int64_t k = 0; k < count; k += 2 * lanes) {
      const auto both = at::vec::convert_from_float<S>(factor * Vectorized<T>::loadu(from + k),
                                                       factor * Vectorized<T>::loadu(from + k + lanes));
      if (k + 2 * lanes <= count)
        both.store(out + k);
      else
        both.store(out + k, static_cast<int>(count - k));
    }
  }
}

}  // namespace
