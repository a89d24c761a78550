// CPU kernel of deform.py's operator; deform.h has what calls it.

#include "deform.h"
#include "parallel.h"

#include <type_traits>
#include <vector>

namespace {

// What one thread works with: for each tap of each group of one pixel, where it looks without its offset, then four
// places and their weights.
template <typename T>
class Corners {
 public:
  explicit Corners(const Samples<T>& samples) : samples_(samples) {
    const int64_t taps = samples.taps();
    for (int64_t entry = 0; entry < samples.entries(); ++entry) {
      down_.push_back(static_cast<T>(entry % taps / samples.columns - samples.rows / 2));
      right_.push_back(static_cast<T>(entry % samples.columns - samples.columns / 2));
    }
    for (int k = 0; k < 4; ++k) places_[k].resize(down_.size()), weights_[k].resize(down_.size());
  }

  // Works out places and weights of a pixel.
  void find(int64_t pixel) {
    const int height = static_cast<int>(samples_.height), width = static_cast<int>(samples_.width);
    const T y = static_cast<T>(pixel / width % height), x = static_cast<T>(pixel % width);
    const T *offsets = samples_.offsets + pixel * samples_.offset_step, *mask = samples_.mask + pixel * samples_.mask_step;
    const T *down = down_.data(), *right = right_.data();
    int* const places[4] = {places_[0].data(), places_[1].data(), places_[2].data(), places_[3].data()};
    T* const weights[4] = {weights_[0].data(), weights_[1].data(), weights_[2].data(), weights_[3].data()};
    const int64_t entries = samples_.entries();
#pragma omp simd
    for (int64_t e = 0; e < entries; ++e) {
      const Side<T> rows = side_of(y + down[e] + offsets[2 * e], height);
      const Side<T> columns = side_of(x + right[e] + offsets[2 * e + 1], width);
      const T low = mask[e] * rows.low_weight, high = mask[e] * rows.high_weight;
      places[0][e] = rows.low * width + columns.low, weights[0][e] = low * columns.low_weight;
      places[1][e] = rows.low * width + columns.high, weights[1][e] = low * columns.high_weight;
      places[2][e] = rows.high * width + columns.low, weights[2][e] = high * columns.low_weight;
      places[3][e] = rows.high * width + columns.high, weights[3][e] = high * columns.high_weight;
    }
  }

  // out[channel] = the sample of a tap of the pixel, in an image of rows of pixels. share: of channels, in a group.
  template <typename Share>
  void sample(int64_t entry, const T* image, Share share, T* out) const {
    const T* const group = image + entry / samples_.taps() * share;
    const auto corner = [&](int k) { return group + places_[k][entry] * samples_.channels; };
    const T *a = corner(0), *b = corner(1), *c = corner(2), *d = corner(3);
    const T wa = weights_[0][entry], wb = weights_[1][entry], wc = weights_[2][entry], wd = weights_[3][entry];
#pragma omp simd
    for (int64_t i = 0; i < share; ++i) out[i] = wa * a[i] + wb * b[i] + (wc * c[i] + wd * d[i]);
  }

 private:
  const Samples<T>& samples_;
  std::vector<T> down_, right_, weights_[4];
  std::vector<int> places_[4];
};

template <typename T>
void gather(const Samples<T>& samples, int64_t begin, int64_t end, T* matrix) {
  const int64_t plane = samples.height * samples.width, entries = samples.entries();
  parallel_for(begin, end, 64, [&](int64_t low, int64_t high) {
    Corners<T> corners(samples);
    const auto fill = [&](auto share) {
      for (int64_t pixel = low; pixel < high; ++pixel) {
        corners.find(pixel);
        const T* const image = samples.features + pixel / plane * plane * samples.channels;
        T* const row = matrix + (pixel - begin) * entries * share;
        for (int64_t e = 0; e < entries; ++e) corners.sample(e, image, share, row + e * share);
      }
    };
    // The usual number gets a copy of the code of its own: its short loop unrolls.
    samples.share() == 8 ? fill(std::integral_constant<int64_t, 8>()) : fill(samples.share());
  });
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("deform_conv", deform_conv); }
