// Features in planes, [channel][pixel], for planes.h.

#pragma once

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <cstdint>
#include <tuple>

namespace {

using at::vec::Vectorized;
using std::int64_t;

// Lane i of rows[j] becomes lane j of rows[i].
template <typename T>
[[gnu::always_inline]] inline void transpose(Vectorized<T> (&rows)[Vectorized<T>::size()]) {
  constexpr int lanes = Vectorized<T>::size();
#pragma GCC unroll 4
  for (int step = 1; step < lanes; step *= 2) {
    Vectorized<T> shuffled[lanes];
#pragma GCC unroll 8
    for (int i = 0; i < lanes / 2; ++i)
      std::tie(shuffled[2 * i], shuffled[2 * i + 1]) = at::vec::interleave2(rows[i], rows[i + lanes / 2]);
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) rows[i] = shuffled[i];
  }
}

#ifdef CPU_CAPABILITY_AVX512
// The same, by shuffles that need no indices in registers and are faster within quarters of vectors.
[[gnu::always_inline]] inline void transpose(Vectorized<float> (&rows)[16]) {
  __m512 pairs[16], fours[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      const __m512d upper = _mm512_castps_pd(pairs[i + k]), lower = _mm512_castps_pd(pairs[i + 2 + k]);
      fours[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(upper, lower));
      fours[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(upper, lower));
    }
  }
  // Quarter q of fours[i + k] is column 4 q + k of rows i to i + 3.
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const __m512 even_low = _mm512_shuffle_f32x4(fours[k], fours[4 + k], 0x88);
    const __m512 odd_low = _mm512_shuffle_f32x4(fours[k], fours[4 + k], 0xdd);
    const __m512 even_high = _mm512_shuffle_f32x4(fours[8 + k], fours[12 + k], 0x88);
    const __m512 odd_high = _mm512_shuffle_f32x4(fours[8 + k], fours[12 + k], 0xdd);
    rows[k] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
    rows[4 + k] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
    rows[8 + k] = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
    rows[12 + k] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
  }
}
#endif

// planes[c * plane + k] = from[k * pixel + c * channel] for k < count and c < channels. A plane has room for whole
// vectors.
template <typename T>
void lay_out(const T* from, int64_t count, int64_t channels, int64_t pixel, int64_t channel, T* planes, int64_t plane) {
  constexpr int64_t lanes = Vectorized<T>::size();
  if (pixel == 1) {
    for (int64_t c = 0; c < channels; ++c) std::copy_n(from + c * channel, count, planes + c * plane);
    return;
  }
  if (channel != 1) {
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t k = 0; k < count; ++k) planes[c * plane + k] = from[k * pixel + c * channel];
    return;
  }
  for (int64_t k = 0; k < count; k += lanes)
    for (int64_t c = 0; c < channels; c += lanes) {
      const int64_t pixels = std::min(lanes, count - k), rest = std::min(lanes, channels - c);
      Vectorized<T> block[lanes];
#pragma GCC unroll 16
      for (int64_t i = 0; i < lanes; ++i) {
        const T* row = from + (k + i) * pixel + c;
        block[i] = i >= pixels     ? Vectorized<T>(0)
                   : rest == lanes ? Vectorized<T>::loadu(row)
                                   : Vectorized<T>::loadu(row, rest);
      }
      transpose(block);
#pragma GCC unroll 16
      for (int64_t i = 0; i < lanes; ++i)
        if (i < rest) block[i].store(planes + (c + i) * plane + k);
    }
}

}  // namespace
