// What the CPU and the CUDA kernels of paint.py's operator share. Each source that includes this defines paint(), which
// is only declared here.

#pragma once

#include "native.h"

#include <ATen/ops/empty.h>

#include <optional>

namespace {

constexpr int kChannels = 3;
constexpr float kFull = 255, kDark = 0.75f;  // Of a colour beyond the scale so much is left.
constexpr float kPi = 3.14159265358979f;

struct Flow {
  int64_t height, width;
  const float *u, *v;  // (H, W) each.
  const bool* valid;   // (H, W), or null where all is.
  float scale;
  bool darken;
};

// rgb (H, W, 3) of the flow; wheel: `steps` colours, (K, 3).
void paint(const Flow& flow, const uint8_t* wheel, int64_t steps, uint8_t* rgb);

Tensor paint_flow(const Tensor& uv, const std::optional<Tensor>& valid, const Tensor& wheel, double scale,
                  bool darken) {
  TORCH_CHECK(uv.dim() == 3 && uv.size(0) == 2 && uv.scalar_type() == at::kFloat, "must be float32 of (2, H, W), not ",
              uv.scalar_type(), " of ", uv.sizes());
  TORCH_CHECK(wheel.dim() == 2 && wheel.size(0) > 0 && wheel.size(1) == kChannels &&
                  wheel.scalar_type() == at::kByte && wheel.device() == uv.device(),
              "the wheel is ", wheel.scalar_type(), " of ", wheel.sizes());
  TORCH_CHECK(!valid || (valid->scalar_type() == at::kBool && valid->sizes() == uv.sizes().slice(1) &&
                         valid->device() == uv.device()),
              "the mask does not fit ", uv.sizes());
  const c10::DeviceGuard guard(uv.device());
  const Tensor planes = uv.contiguous(), colours = wheel.contiguous();
  const Tensor mask = valid ? valid->contiguous() : Tensor();
  const int64_t height = uv.size(1), width = uv.size(2);
  const Tensor rgb = at::empty({height, width, kChannels}, colours.options());
  if (rgb.numel()) {
    const float* u = planes.const_data_ptr<float>();
    paint({height, width, u, u + height * width, valid ? mask.const_data_ptr<bool>() : nullptr,
           static_cast<float>(scale), darken},
          colours.const_data_ptr<uint8_t>(), wheel.size(0), rgb.mutable_data_ptr<uint8_t>());
  }
  return rgb;
}

}  // namespace
