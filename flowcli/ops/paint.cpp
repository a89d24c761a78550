// CPU kernel of paint.py's operator; paint.h has what calls it.

#include "paint.h"
#include "parallel.h"

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace {

using Floats = at::vec::Vectorized<float>;

constexpr int kLanes = Floats::size(), kBlock = 256;  // Pixels at a time, whose numbers stay in the nearest cache.
constexpr int kSlots = 4;                             // A colour and one number more, which make a vector.
static_assert(kBlock % kLanes == 0);

typedef float Colour __attribute__((vector_size(4 * kSlots)));
typedef int Levels __attribute__((vector_size(4 * kSlots)));
typedef uint8_t Bytes __attribute__((vector_size(kSlots)));

// What a colour of the wheel lacks of white, and how that changes on the way to the next one.
struct Entry {
  Colour start, step;
};

std::vector<Entry> entries(const uint8_t* wheel, int64_t steps) {
  std::vector<Entry> table(steps);
  for (int64_t k = 0; k < steps; ++k)
    for (int c = 0; c < kChannels; ++c) {
      const float here = wheel[k * kChannels + c], next = wheel[(k + 1) % steps * kChannels + c];
      table[k].start[c] = kFull - here;
      table[k].step[c] = here - next;
    }
  return table;
}

// Of each pixel of a block: its colour is peak - depth * (what its place on the wheel lacks).
struct Shades {
  alignas(64) float peak[kBlock], depth[kBlock], part[kBlock];
  alignas(64) int32_t index[kBlock];
};

void find_depth(const Flow& flow, int64_t pixel, int count, Shades* shades) {
  const float *u = flow.u + pixel, *v = flow.v + pixel, scale = flow.scale;
  const float most = flow.darken ? 1 : std::numeric_limits<float>::infinity();
  float *peak = shades->peak, *depth = shades->depth;
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    const double x = u[i], y = v[i];
    const float speed = static_cast<float>(std::sqrt(x * x + y * y)) / scale;
    const bool known = speed < std::numeric_limits<float>::infinity(), over = speed > most;
    peak[i] = !known ? 0 : over ? kDark * kFull : kFull;
    depth[i] = !known ? 0 : over ? kDark : speed > 1 ? 1 : speed;
  }
  if (!flow.valid) return;
  const bool* valid = flow.valid + pixel;
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    peak[i] = valid[i] ? peak[i] : 0;
    depth[i] = valid[i] ? depth[i] : 0;
  }
}

void find_place(const Flow& flow, int64_t pixel, int count, float last, Shades* shades) {
  const Floats zero(0);
  for (int i = 0; i < count; i += kLanes) {
    const int some = std::min(kLanes, count - i);
    const auto load = [&](const float* from) {
      return some == kLanes ? Floats::loadu(from + pixel + i) : Floats::loadu(from + pixel + i, some);
    };
    const Floats turned = (load(flow.v).neg().atan2(load(flow.u).neg()) + Floats(kPi)) * Floats(last / (2 * kPi));
    // NaN, where the flow is, has no place.
    const Floats position = Floats::blendv(zero, at::vec::clamp(turned, zero, Floats(last)), turned == turned);
    const Floats whole = position.trunc();
    at::vec::convert_to_int_of_same_size(whole).store(shades->index + i);
    (position - whole).store(shades->part + i);
  }
}

// Writes one byte beyond the last pixel.
void mix(const Shades& shades, const Entry* table, int count, uint8_t* rgb) {
  for (int i = 0; i < count; ++i) {
    const Entry& entry = table[shades.index[i]];
    const Colour colour = shades.peak[i] - shades.depth[i] * (entry.start + shades.part[i] * entry.step);
    const Bytes levels = __builtin_convertvector(__builtin_convertvector(colour, Levels), Bytes);
    std::memcpy(rgb + i * kChannels, &levels, kSlots);
  }
}

void paint(const Flow& flow, const uint8_t* wheel, int64_t steps, uint8_t* rgb) {
  const std::vector<Entry> table = entries(wheel, steps);
  parallel_for(0, flow.height * flow.width, 16384, [&](int64_t begin, int64_t end) {
    Shades shades;
    uint8_t bytes[kBlock * kChannels + 1];
    for (int64_t pixel = begin; pixel < end; pixel += kBlock) {
      const int count = static_cast<int>(std::min<int64_t>(kBlock, end - pixel));
      find_depth(flow, pixel, count, &shades);
      find_place(flow, pixel, count, static_cast<float>(steps - 1), &shades);
      mix(shades, table.data(), count, bytes);
      std::memcpy(rgb + pixel * kChannels, bytes, static_cast<size_t>(count * kChannels));
    }
  });
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("paint_flow", paint_flow); }
