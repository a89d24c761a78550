// Numbers of half precision in single precision and back, in the sources for the CPU.

#pragma once

#include <c10/util/BFloat16.h>

#include <bit>
#include <cstdint>
#include <type_traits>

namespace {

// By its bits: loops over what BFloat16 does by itself are not vectorised.
template <typename T>
T widened(c10::BFloat16 value) {
  return static_cast<T>(std::bit_cast<float>(static_cast<std::uint32_t>(value.x) << 16));
}

template <typename T, typename S>
T widened(S value) {
  return static_cast<T>(value);
}

// The nearest number of that type to a finite one, of two the even one.
template <typename S>
S narrowed(float value) {
  if constexpr (std::is_same_v<S, c10::BFloat16>) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return {static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16), c10::BFloat16::from_bits()};
  } else {
    return static_cast<S>(value);
  }
}

}  // namespace
