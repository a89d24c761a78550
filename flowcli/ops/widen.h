// Numbers of half precision in single precision, in the sources for the CPU.

#pragma once

#include <c10/util/BFloat16.h>

#include <bit>
#include <cstdint>

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

}  // namespace
