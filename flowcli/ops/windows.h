// Products of one pixel with a window of neighbouring places that may lie anywhere, for correlation.cpp.
//
// Channels are cut into pieces of 32 bytes, and rows laid out as [piece][column][channel]: a vector of 64 bytes is the
// same piece of two neighbouring places, and fewer sums run across lanes than if it were two pieces of one place. There
// are zeros around each image.

#pragma once

#include "dots.h"
#include "native.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

namespace {

// In each lane, sum plus the product of two numbers of the type P, or of so many as have room in it.
template <typename P, typename T>
Vectorized<T> multiply_add(const Vectorized<T>& factor, const P* places, const Vectorized<T>& sum) {
#ifdef __AVX512BF16__
  if constexpr (std::is_same_v<P, at::BFloat16>)
    return _mm512_dpbf16_ps(sum, (__m512bh)(__m512)factor, (__m512bh)_mm512_loadu_ps(places));
#endif
  if constexpr (std::is_same_v<P, T>) return at::vec::fmadd(factor, Vectorized<T>::loadu(places), sum);
}

// A vector full of the same 32 bytes, or of as many as it holds.
template <typename T>
Vectorized<T> repeated(const void* bytes) {
#ifdef CPU_CAPABILITY_AVX512
  const __m512 both = _mm512_broadcast_f32x8(_mm256_loadu_ps(static_cast<const float*>(bytes)));
  if constexpr (std::is_same_v<T, float>) return both;
  else return _mm512_castps_pd(both);
#else
  return Vectorized<T>::loadu(bytes);
#endif
}

// Vector k holds two runs of lanes or, if it is short, one: those of the result are their sums, in order.
template <int count, typename T>
Vectorized<T> add_runs(Vectorized<T> (&vectors)[count]) {
#pragma GCC unroll 3
  for (int width = count / 2; width > 0; width /= 2)
#pragma GCC unroll 4
    for (int i = 0; i < width; ++i) vectors[i] = add_neighbours(vectors[2 * i], vectors[2 * i + 1]);
  return vectors[0];
}

#ifdef CPU_CAPABILITY_AVX512
inline Vectorized<float> add_runs(Vectorized<float> (&vectors)[8]) {
  // Within quarters of vectors first, where the shuffles are cheap.
  const auto add = [](__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
  };
  const auto add_four = [&](int i) {
    return add(add(vectors[i], vectors[i + 1]), add(vectors[i + 2], vectors[i + 3]));
  };
  const __m512 low = add_four(0), high = add_four(4);
  const __m512i one = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 16, 24, 17, 25, 18, 26, 19, 27);
  const __m512i two = _mm512_add_epi32(one, _mm512_set1_epi32(4));
  return _mm512_add_ps(_mm512_permutex2var_ps(low, one, high), _mm512_permutex2var_ps(low, two, high));
}
#endif

// The windows of one thread. It lays out the rows of `second`, (N, C, H, W) in P with channels last, that it needs: what
// another core has written would be slow to come by. Sums are in T.
template <typename P, typename T>
class Windows {
 public:
  Windows(const Tensor& second, int64_t places)
      : second_(second), channels_(second.size(1)), height_(second.size(2)), width_(second.size(3)), places_(places) {
    for (int64_t j = 0; j < places; ++j)
      for (int64_t i = 0; i < places * piece; i += vector) offsets_.push_back(j * row_ + i);
    offsets_.resize(at::divup(offsets_.size(), together) * together);
  }

  // The size of `dots` below.
  int64_t dots() const { return offsets_.size() * lanes / together; }

  // The windows that follow are of this image, and begin in rows from `low` to `high`.
  void enter(int64_t image, int64_t low, int64_t high) {
    top_ = within(low, height_);
    const int64_t count = within(high, height_) - top_ + places_;
    memory_ = at::empty({count * row_ + places_ * piece}, second_.options());
    P* target = memory_.mutable_data_ptr<P>();
    rows_ = target;
    for (int64_t y = top_; y < top_ + count; ++y) target = fill(image, y, target);
    std::fill_n(target, places_ * piece, P(0));
  }

  // dots[j * places + i] for the channels of one pixel and the place in row top + j and column left + i.
  void multiply(const P* pixel, int64_t top, int64_t left, T* dots) {
    const int64_t row = within(top, height_) - top_, column = places_ + within(left, width_);
    const P* const start = rows_ + row * row_ + column * piece;
    if (channels_ % piece != 0) pixel = std::copy_n(pixel, channels_, filled_up_.data()) - channels_;
    // The usual numbers of pieces get copies of the code of their own: their short loops unroll.
    pieces_ == 2   ? multiply(pixel, start, dots, 2)
    : pieces_ == 4 ? multiply(pixel, start, dots, 4)
    : pieces_ == 8 ? multiply(pixel, start, dots, 8)
                   : multiply(pixel, start, dots, pieces_);
  }

 private:
  static constexpr int64_t lanes = Vectorized<T>::size(), bytes = std::min<int64_t>(32, sizeof(Vectorized<T>));
  static constexpr int64_t piece = bytes / sizeof(P), vector = sizeof(Vectorized<T>) / sizeof(P);  // In channels.
  static constexpr int together = bytes / sizeof(T);  // So many vectors of sums become one.

  const Tensor second_;
  const int64_t channels_, height_, width_, places_;
  const int64_t pieces_ = at::divup(channels_, piece), plane_ = (places_ + width_) * piece, row_ = pieces_ * plane_;
  Tensor memory_;
  const P* rows_ = nullptr;
  int64_t top_ = 0;  // Of the rows.
  Buffer<P> filled_up_ = Buffer<P>(pieces_ * piece);  // A pixel, and zeros.
  std::vector<int64_t> offsets_;  // From the start of a window to its vectors.

  // Where a window begins, or a place from which it sees as little of the image.
  int64_t within(int64_t start, int64_t size) const { return std::clamp(start, -places_, size); }

  // There are zeros before each plane, and after the last row.
  P* fill(int64_t image, int64_t y, P* target) const {
    if (y < 0 || y >= height_) return std::fill_n(target, row_, P(0));
    const P* const pixels = second_.const_data_ptr<P>() + (image * height_ + y) * width_ * channels_;
    for (int64_t p = 0; p < pieces_; ++p) {
      target = std::fill_n(target, places_ * piece, P(0));
      for (int64_t x = 0; x < width_; ++x, target += piece) copy_piece(pixels + x * channels_, p, target);
    }
    return target;
  }

  void copy_piece(const P* pixel, int64_t p, P* target) const {
    const int64_t rest = channels_ - p * piece;
    if (rest >= piece) {
      std::copy_n(pixel + p * piece, piece, target);
    } else {
      std::copy_n(pixel + p * piece, rest, target);
      std::fill_n(target + rest, piece - rest, P(0));
    }
  }

  [[gnu::always_inline]] void multiply(const P* pixel, const P* start, T* dots, int64_t pieces) const {
    const int64_t* const offsets = offsets_.data();
    const int64_t count = offsets_.size();
    for (int64_t k = 0; k < count; k += together, dots += lanes) {
      Vectorized<T> sums[together];
#pragma GCC unroll 8
      for (int i = 0; i < together; ++i) {
        sums[i] = Vectorized<T>(0);
        for (int64_t p = 0; p < pieces; ++p)
          sums[i] = multiply_add(repeated<T>(pixel + p * piece), start + offsets[k + i] + p * plane_, sums[i]);
      }
      add_runs(sums).store(dots);
    }
  }
};

}  // namespace
