// The forward kernel of fixed grids, for correlation.cpp. The lanes of a vector are neighbouring pixels of one row, so
// that no sum runs across lanes; several rows and displacements share in registers what is loaded.
//
// For that, rows are laid out in planes, [channel][pixel]. A dilated grid connects only pixels whose columns are equal
// modulo the dilation: each such part of a row has planes of its own, in which they are neighbours.

#pragma once

#include "dots.h"
#include "layout.h"
#include "native.h"
#include "parallel.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <type_traits>

namespace {

// Rows and displacements that are multiplied at once: as many as there are registers for.
constexpr int kRows = 3, kColumns = sizeof(Vectorized<float>) == 64 ? 9 : 3;

// The same vector, in a register: g++ would load it anew for each of its multiplications, across cache lines.
template <typename T>
[[gnu::always_inline]] inline Vectorized<T> held(const Vectorized<T>& vector) {
#ifdef CPU_CAPABILITY_AVX512
  std::conditional_t<std::is_same_v<T, float>, __m512, __m512d> raw = vector;
  asm("" : "+v"(raw));
  return raw;
#else
  return vector;
#endif
}

// In vectors: sums[r * next + i] = sum over c of first[c * kRows + r] times the vector that begins at second[c * plane
// + i], for r < rows and i < columns.
template <int rows, int columns, typename T>
void multiply(const T* first, const T* second, int64_t plane, int64_t channels, T* sums, int64_t next) {
  constexpr int64_t lanes = Vectorized<T>::size();
  Vectorized<T> sum[rows][columns];
  for (auto& row : sum) std::fill_n(row, columns, Vectorized<T>(0));
  for (int64_t c = 0; c < channels; ++c, first += kRows * lanes, second += plane) {
    Vectorized<T> factor[rows];
#pragma GCC unroll 3
    for (int r = 0; r < rows; ++r) factor[r] = Vectorized<T>::loadu(first + r * lanes);
#pragma GCC unroll 9
    for (int i = 0; i < columns; ++i) {
      const auto shifted = held(Vectorized<T>::loadu(second + i));
#pragma GCC unroll 3
      for (int r = 0; r < rows; ++r) sum[r][i] = at::vec::fmadd(factor[r], shifted, sum[r][i]);
    }
  }
#pragma GCC unroll 3
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 9
    for (int i = 0; i < columns; ++i) sum[r][i].store(sums + (r * next + i) * lanes);
}

// The same for any number of rows up to kRows and any number of columns.
template <typename T>
void multiply_all(int64_t rows, int64_t columns, const T* first, const T* second, int64_t plane, int64_t channels,
                  T* sums, int64_t next) {
  int64_t i = 0;
  const auto blocks_of = [&](auto size) {
    constexpr int some = decltype(size)::value;
    const auto go = rows == 1 ? multiply<1, some, T> : rows == 2 ? multiply<2, some, T> : multiply<3, some, T>;
    for (; i + some <= columns; i += some)
      go(first, second + i, plane, channels, sums + i * Vectorized<T>::size(), next);
  };
  blocks_of(std::integral_constant<int, kColumns>());
  blocks_of(std::integral_constant<int, 3>());
  blocks_of(std::integral_constant<int, 1>());
}

// Pixels of row `y` of an image whose columns are `part` modulo the dilation. Of the rows that are equal modulo the
// dilation, `size` in all, it is number `at`.
struct Line {
  int64_t image, part, y, at, size;
};

// One thread's share of the volume. It lays out rows of `second` as it comes to them and keeps them while they are
// needed: what another core has written would be slow to come by.
template <typename S, typename T>
class GridWorker {
 public:
  GridWorker(const Tensor& first, const Tensor& second, int64_t radius, int64_t step, S* volume)
      : first_(first), second_(second), channels_(first.size(1)), height_(first.size(2)), width_(first.size(3)),
        radius_(radius), step_(step), volume_(volume) {}

  void run(int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end;) {
      const Line line = line_at(i);
      if (i == begin || line.at == 0) filled_ = std::max<int64_t>(0, line.at - radius_);
      // Runs of about the same length.
      const int64_t most = std::min(end - i, line.size - line.at), rows = at::divup(most, at::divup(most, kRows));
      for (; filled_ < std::min(line.size, line.at + rows + radius_); ++filled_) fill(line);
      for (int64_t k = 0; k < pixels(line); k += lanes) {
        multiply_tile(line, rows, k);
        for (int64_t r = 0; r < rows; ++r) write_out(line, r, k);
      }
      i += rows;
    }
  }

 private:
  static constexpr int64_t lanes = Vectorized<T>::size();

  const Tensor &first_, &second_;
  const int64_t channels_, height_, width_, radius_, step_;
  S* const volume_;
  const int64_t side_ = 2 * radius_ + 1, cells_ = side_ * side_;
  const int64_t padded_ = at::divup(cells_, 2 * lanes) * 2 * lanes;
  const int64_t plane_ = 2 * radius_ + at::divup(at::divup(width_, step_), lanes) * lanes;
  const int64_t kept_ = std::min(2 * radius_ + kRows, at::divup(height_, step_));
  int64_t filled_ = 0;
  Buffer<T> factors_ = Buffer<T>(channels_ * kRows * lanes);  // [channel][row][lane]
  Buffer<T> planes_ = Buffer<T>(kept_ * channels_ * plane_);  // [row][channel][pixel], zeros on both sides
  Buffer<T> sums_ = Buffer<T>(kRows * cells_ * lanes);        // [row][cell][lane]
  Buffer<T> converted_ = Buffer<T>(lanes * padded_);          // [lane][cell]

  // Lines that are neighbours in the grid follow each other.
  Line line_at(int64_t i) const {
    const int64_t parts = std::min(step_, width_);
    Line line{i / height_ / parts, i / height_ % parts, 0, i % height_, 0};
    for (;; ++line.y) {
      line.size = at::divup(height_ - line.y, step_);
      if (line.at < line.size) break;
      line.at -= line.size;
    }
    line.y += line.at * step_;
    return line;
  }

  int64_t pixels(const Line& line) const { return at::divup(width_ - line.part, step_); }

  // Pixel k in row `at` of the rows that `line` belongs to.
  const T* pixel(const Tensor& features, const Line& line, int64_t at, int64_t k) const {
    return features.const_data_ptr<T>() + line.image * features.stride(0) +
           (line.y + (at - line.at) * step_) * features.stride(2) + (line.part + k * step_) * features.stride(3);
  }

  T* planes(int64_t at) { return planes_.data() + at % kept_ * channels_ * plane_; }

  void fill(const Line& line) {
    T* const target = planes(filled_) + radius_;
    const int64_t count = pixels(line);
    for (int64_t c = 0; c < channels_; ++c)
      std::fill(target + c * plane_ + count, target + (c + 1) * plane_ - radius_, T(0));
    lay_out(pixel(second_, line, filled_, 0), count, channels_, step_ * second_.stride(3), second_.stride(1), target,
            plane_);
  }

  // Products of one vector of pixels, in each of `rows` rows, with all places.
  void multiply_tile(const Line& line, int64_t rows, int64_t k) {
    for (int64_t r = 0; r < rows; ++r)
      lay_out(pixel(first_, line, line.at + r, k), std::min(lanes, pixels(line) - k), channels_,
              step_ * first_.stride(3), first_.stride(1), factors_.data() + r * lanes, kRows * lanes);
    for (int64_t j = -radius_; j < rows + radius_; ++j) {
      for (int64_t r = 0; r < rows; ++r) claim(line, r, k, j + radius_, rows + 2 * radius_);
      const int64_t low = std::max<int64_t>(0, j - radius_), high = std::min(rows, j + radius_ + 1);
      const int64_t next = cells_ - side_;
      T* const sums = sums_.data() + (low * next + (j + radius_) * side_) * lanes;
      if (line.at + j >= 0 && line.at + j < line.size)
        multiply_all(high - low, side_, factors_.data() + low * lanes, planes(line.at + j) + k, plane_, channels_, sums,
                     next);
      else
        for (int64_t r = 0; r < high - low; ++r) std::fill_n(sums + r * next * lanes, side_ * lanes, T(0));
    }
  }

  // The results of pixel k in row `row` of those at hand.
  S* results(const Line& line, int64_t row, int64_t k) const {
    return volume_ + ((line.image * height_ + line.y + row * step_) * width_ + line.part + k * step_) * cells_;
  }

  // Has one of `parts` parts of where a vector of pixels goes fetched, while there is work to do: else each of its
  // cache lines is waited for when it is written. Inline, or g++ sees no effect and leaves the call out.
  [[gnu::always_inline]] void claim(const Line& line, int64_t row, int64_t k, int64_t part, int64_t parts) const {
    if (step_ != 1) return;
    const int64_t bytes = std::min(lanes, pixels(line) - k) * cells_ * sizeof(S);
    const auto* out = reinterpret_cast<const char*>(results(line, row, k));
    for (int64_t i = bytes * part / parts; i < bytes * (part + 1) / parts; i += 64) __builtin_prefetch(out + i, 1);
  }

  void write_out(const Line& line, int64_t row, int64_t k) {
    const int64_t count = std::min(lanes, pixels(line) - k);
    S* const out = results(line, row, k);
    if constexpr (std::is_same_v<S, T>) {
      transpose_cells(row, count, out, step_ * cells_);
    } else {
      transpose_cells(row, count, converted_.data(), padded_);
      for (int64_t i = 0; i < count; ++i)
        store_all(converted_.data() + i * padded_, T(1), cells_, out + i * step_ * cells_);
    }
  }

  // out[i * next + cell] = the mean product of pixel i of the tile, for i < count.
  void transpose_cells(int64_t row, int64_t count, T* out, int64_t next) const {
    const T* sums = sums_.data() + row * cells_ * lanes;
    const T scale = T(1) / channels_;
    const Vectorized<T> factor(scale);
    int64_t cell = 0;
    for (; cell + lanes <= cells_; cell += lanes) {
      Vectorized<T> block[lanes];
#pragma GCC unroll 16
      for (int64_t i = 0; i < lanes; ++i) block[i] = factor * Vectorized<T>::loadu(sums + (cell + i) * lanes);
      transpose(block);
#pragma GCC unroll 16
      for (int64_t i = 0; i < lanes; ++i)
        if (i < count) block[i].store(out + i * next + cell);
    }
    for (; cell < cells_; ++cell)
      for (int64_t i = 0; i < count; ++i) out[i * next + cell] = scale * sums[cell * lanes + i];
  }
};

template <typename S, typename T>
Tensor grid_volume(const Tensor& first, const Tensor& second, int64_t radius, int64_t step) {
  constexpr auto type = c10::CppTypeToScalarType<T>::value;
  const Tensor one = first.to(type), two = second.to(type);
  const int64_t count = first.size(0), height = first.size(2), width = first.size(3), side = 2 * radius + 1;
  const Tensor volume = at::empty({count, side * side, height, width}, first.options().memory_format(kLast));
  S* const out = volume.mutable_data_ptr<S>();
  parallel_for(0, count * std::min(step, width) * height, 1, [&](int64_t begin, int64_t end) {
    GridWorker<S, T>(one, two, radius, step, out).run(begin, end);
  });
  return volume;
}

}  // namespace
