// CPU kernel of gate.py's operator; gate.h has what calls it.

#include "gate.h"
#include "parallel.h"

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <tuple>

namespace {

using at::vec::Vectorized;

template <typename T>
Vectorized<T> sigmoid(const Vectorized<T>& x) {
  const Vectorized<T> one(T(1));
  return one / (one + x.neg().exp_u20());
}

template <typename T>
Vectorized<T> mixed(const Vectorized<T>& hidden, const Vectorized<T>& gate, const Vectorized<T>& fresh) {
  const Vectorized<T> one(T(1)), two(T(2));
  const Vectorized<T> tanh = two * sigmoid(two * fresh) - one;
  return hidden + sigmoid(gate) * (tanh - hidden);
}

template <typename S>
void update(const S* hidden, const S* gates, int64_t pixels, int64_t channels, S* updated) {
  using T = at::opmath_type<S>;
  constexpr int64_t lanes = Vectorized<S>::size();
  const int64_t grain = std::max<int64_t>(1, 16384 / channels);
  parallel_for(0, pixels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t pixel = begin; pixel < end; ++pixel) {
      const S *old = hidden + pixel * channels, *gate = gates + 2 * pixel * channels, *fresh = gate + channels;
      for (int64_t c = 0; c < channels; c += lanes) {
        const int64_t count = std::min(lanes, channels - c);
        const auto load = [&](const S* from) {
          return count == lanes ? Vectorized<S>::loadu(from + c) : Vectorized<S>::loadu(from + c, count);
        };
        const auto store = [&](const Vectorized<S>& result) {
          S* to = updated + pixel * channels + c;
          count == lanes ? result.store(to) : result.store(to, static_cast<int>(count));
        };
        if constexpr (std::is_same_v<S, T>) {
          store(mixed(load(old), load(gate), load(fresh)));
        } else {
          const auto [old_low, old_high] = at::vec::convert_to_float<S>(load(old));
          const auto [gate_low, gate_high] = at::vec::convert_to_float<S>(load(gate));
          const auto [fresh_low, fresh_high] = at::vec::convert_to_float<S>(load(fresh));
          store(at::vec::convert_from_float<S>(mixed(old_low, gate_low, fresh_low),
                                               mixed(old_high, gate_high, fresh_high)));
        }
      }
    }
  });
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("gated_update", gated_update); }
