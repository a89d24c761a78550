// Products of one pixel with a window of neighbouring places that may lie anywhere, for correlation.cpp.
//
// Channels are cut into pieces of 32 bytes, and rows laid out as [piece][column][channel]: a vector of 64 bytes is the
// same piece of two neighbouring places, and fewer sums run across lanes than if it were two pieces of one place. There
// are zeros around each image.

#pragma once

#include "dots.h"
#include "native.h"
#include "parallel.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

namespace {

#ifdef __AVX512BF16__
// In each lane, sum plus the products of two channels.
inline Vectorized<float> multiply_add(const at::BFloat16* a, const at::BFloat16* b, const Vectorized<float>& sum) {
  using Loose [[gnu::aligned(1), gnu::may_alias]] = __m512bh;
  return _mm512_dpbf16_ps(sum, *reinterpret_cast<const Loose*>(a), *reinterpret_cast<const Loose*>(b));
}
#endif

template <typename T>
Vectorized<T> multiply_add(const T* a, const T* b, const Vectorized<T>& sum) {
  return at::vec::fmadd(Vectorized<T>::loadu(a), Vectorized<T>::loadu(b), sum);
}

// `second` in P, (N, C, H, W) with channels last, as its windows are read; sums are in T.
template <typename P, typename T>
class Windows {
 public:
  Windows(const Tensor& second, int64_t places)
      : channels_(second.size(1)), height_(second.size(2)), width_(second.size(3)), places_(places),
        rows_(at::empty({(second.size(0) * below_ + places) * row_}, second.options())) {
    for (int64_t j = 0; j < places; ++j)
      for (int64_t i = 0; i < places * piece; i += vector) offsets_.push_back(j * row_ + i);
    offsets_.resize(at::divup(offsets_.size(), together) * together);
    parallel_for(0, second.size(0) * below_ + places, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) fill(second, row);
    });
  }

  // The sizes of `factors` and `dots` below.
  int64_t factors() const { return pieces_ * vector; }
  int64_t dots() const { return offsets_.size() * lanes / together; }

  // A pixel's channels as they are multiplied: each piece once for each place in a vector.
  void repeat(const P* pixel, P* factors) const {
    for (int64_t p = 0; p < pieces_; ++p)
      for (int64_t i = 0; i < vector; i += piece) copy_piece(pixel, p, factors + p * vector + i);
  }

  // dots[j * places + i] for the place in row top + j and column left + i of an image.
  void multiply(const P* factors, int64_t image, int64_t top, int64_t left, T* dots) const {
    const int64_t row = image * below_ + places_ + std::clamp(top, -places_, height_);
    const int64_t column = places_ + std::clamp(left, -places_, width_);
    const P* const start = rows_.const_data_ptr<P>() + row * row_ + column * piece;
    // The usual numbers of pieces get copies of the code of their own: their short loops unroll.
    pieces_ == 2   ? multiply(factors, start, dots, 2)
    : pieces_ == 4 ? multiply(factors, start, dots, 4)
    : pieces_ == 8 ? multiply(factors, start, dots, 8)
                   : multiply(factors, start, dots, pieces_);
  }

 private:
  static constexpr int64_t lanes = Vectorized<T>::size(), bytes = std::min<int64_t>(32, sizeof(Vectorized<T>));
  static constexpr int64_t piece = bytes / sizeof(P), vector = sizeof(Vectorized<T>) / sizeof(P);  // In channels.
  static constexpr int together = bytes / sizeof(T);  // So many vectors of sums become one.

  const int64_t channels_, height_, width_, places_;
  const int64_t pieces_ = at::divup(channels_, piece), below_ = height_ + places_;
  const int64_t plane_ = (width_ + 2 * places_) * piece, row_ = pieces_ * plane_;
  const Tensor rows_;
  std::vector<int64_t> offsets_;  // From the start of a window to its vectors.

  // Each image has rows of zeros before it, and so has what comes after the last.
  void fill(const Tensor& second, int64_t row) {
    P* target = rows_.mutable_data_ptr<P>() + row * row_;
    const int64_t image = row / below_, y = row % below_ - places_;
    if (y < 0) {
      std::fill_n(target, row_, P(0));
      return;
    }
    const P* const pixels = second.const_data_ptr<P>() + (image * height_ + y) * width_ * channels_;
    for (int64_t p = 0; p < pieces_; ++p) {
      target = std::fill_n(target, places_ * piece, P(0));
      for (int64_t x = 0; x < width_; ++x, target += piece) copy_piece(pixels + x * channels_, p, target);
      target = std::fill_n(target, places_ * piece, P(0));
    }
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

  [[gnu::always_inline]] void multiply(const P* factors, const P* start, T* dots, int64_t pieces) const {
    const int64_t* const offsets = offsets_.data();
    const int64_t count = offsets_.size();
    for (int64_t k = 0; k < count; k += together, dots += lanes) {
      Vectorized<T> sums[together];
#pragma GCC unroll 8
      for (int i = 0; i < together; ++i) {
        sums[i] = Vectorized<T>(0);
        for (int64_t p = 0; p < pieces; ++p)
          sums[i] = multiply_add(factors + p * vector, start + offsets[k + i] + p * plane_, sums[i]);
      }
#pragma GCC unroll 3
      for (int width = together / 2; width > 0; width /= 2)
#pragma GCC unroll 4
        for (int i = 0; i < width; ++i) sums[i] = add_neighbours(sums[2 * i], sums[2 * i + 1]);
      sums[0].store(dots);
    }
  }
};

}  // namespace
