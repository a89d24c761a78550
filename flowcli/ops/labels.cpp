// CPU kernel of labels.py's operator.

#include "native.h"
#include "parallel.h"

#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cmath>

namespace {

// Where a place lies between two pixels of a row or a column of `count`.
struct Place {
  int64_t low, high;
  float part;
};

Place place(int64_t pixel, float flow, int64_t count) {
  const float last = static_cast<float>(count - 1);
  const float there = std::clamp(static_cast<float>(pixel) + (std::isnan(flow) ? 0.0f : flow), 0.0f, last);
  const float low = std::floor(there);
  const auto index = static_cast<int64_t>(low);
  return {index, std::min(index + 1, count - 1), there - low};
}

int32_t elect_of_four(const int32_t (&labels)[4], const float (&weights)[4]) {
  int best = 0;
  float most = -1;
  for (int k = 0; k < 4; ++k) {
    float votes = 0;
    for (int other = 0; other < 4; ++other) votes += labels[other] == labels[k] ? weights[other] : 0.0f;
    if (votes > most) most = votes, best = k;
  }
  return labels[best];
}

Tensor sample_labels(const Tensor& labels, const Tensor& flow) {
  TORCH_CHECK(labels.dim() == 2 && labels.numel() && labels.scalar_type() == at::kInt, "labels are ",
              labels.scalar_type(), " of ", labels.sizes());
  const int64_t height = labels.size(0), width = labels.size(1);
  TORCH_CHECK(flow.dim() == 3 && flow.size(0) == 2 && flow.size(1) == height && flow.size(2) == width &&
                  flow.scalar_type() == at::kFloat,
              "flow is ", flow.scalar_type(), " of ", flow.sizes());
  const Tensor whole = labels.contiguous(), motion = flow.contiguous();
  const Tensor sampled = at::empty_like(whole);
  const int32_t* from = whole.const_data_ptr<int32_t>();
  const float *u = motion.const_data_ptr<float>(), *v = u + height * width;
  int32_t* to = sampled.mutable_data_ptr<int32_t>();
  parallel_for(0, height, std::max<int64_t>(1, 16384 / width), [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y)
      for (int64_t x = 0; x < width; ++x) {
        const int64_t pixel = y * width + x;
        const Place across = place(x, u[pixel], width), down = place(y, v[pixel], height);
        const int32_t *top = from + down.low * width, *bottom = from + down.high * width;
        const int32_t four[] = {top[across.low], top[across.high], bottom[across.low], bottom[across.high]};
        if (four[0] == four[1] && four[0] == four[2] && four[0] == four[3]) {
          to[pixel] = four[0];
          continue;
        }
        const float left = 1 - across.part, above = 1 - down.part;
        to[pixel] = elect_of_four(
            four, {left * above, across.part * above, left * down.part, across.part * down.part});
      }
  });
  return sampled;
}

}  // namespace

TORCH_LIBRARY_IMPL(flowcli, CPU, library) { library.impl("sample_labels", sample_labels); }
