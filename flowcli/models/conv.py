"""Convolutions with the operations that follow them, in floating point or quantised to 8 bits.

Quantised maps and weights are whole numbers of 8 bits, times a step. Products and sums of whole numbers are exact, and
twice as fast as bfloat16 on a CPU with instructions for them (VNNI). The results are in floating point again.
Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", arXiv:1712.05877; the weights of each output channel have a step of their own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from flowcli.ops import quantise

Result = TypeVar("Result")
Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest input of a convolution, by the name of its module."""

_OPERATORS: Any = torch.ops.onednn
_LEAST = 1e-12
"""Smallest range, so that maps and weights that are all zero have a step."""
_SHAPES = 16
"""How many shapes of maps packed weights are kept for: levels of a pyramid, and tiles."""
_KEPT = 0.9999
"""Quantile of the inputs at which their range ends, and 1 - it begins: a few outliers would make the steps coarse."""
_SAMPLES = 50_000
"""How many numbers of each map are looked at."""


class Conv(nn.Conv2d):
    """A convolution that keeps height and width, or divides them by `stride`, and the operations that follow it.

    residual: the input is added to the output, and may be overwritten by it. relu: negative outputs then become zero.
    precise: this convolution stays in floating point where others are quantised.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        *,
        residual: bool = False,
        relu: bool = False,
        precise: bool = False,
    ) -> None:
        super().__init__(inputs, outputs, size, stride, dilation * (size // 2), dilation)
        self.residual, self.relu, self.precise = residual, relu, precise

    def kernel(self) -> Tensor:
        """The weights that the maps are convolved with, (outputs, inputs, size, size)."""
        return self.weight

    def forward(self, *maps: Tensor, plus: Tensor | None = None) -> Tensor:
        """(N, outputs, h, w), from maps (N, C_i, H, W), concatenated; plus: of that shape, is added before ReLU."""
        inputs = maps[0] if len(maps) == 1 else torch.cat(maps, 1)
        out: Tensor = self._conv_forward(inputs, self.kernel(), self.bias)
        if self.residual:
            out = out.add_(inputs)
        if plus is not None:
            out = out.add_(plus)
        return out.relu_() if self.relu else out


def start_for_relu(network: nn.Module) -> None:
    """Draw the weights of its convolutions so that signals stay as strong from layer to layer.

    Source: He et al. 2015, arXiv:1502.01852.
    """
    for module in network.modules():
        if isinstance(module, Conv) and module.bias is not None:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)


class Int8Conv(nn.Module):
    """A Conv with inputs and weights quantised to 8 bits.

    conv: the convolution, in float32; low, high: the range of its inputs; dtype: the type of inputs and outputs.
    """

    def __init__(self, conv: Conv, low: float, high: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.residual, self.relu = dtype, conv.residual, conv.relu
        self.scale = max(high - low, _LEAST) / 255
        self.zero = round(-low / self.scale)
        self._geometry = list(conv.stride), list(conv.padding), list(conv.dilation), conv.groups
        weight = conv.kernel().detach()
        steps = weight.abs().amax((1, 2, 3)).clamp_min(_LEAST) / 127
        self._numbers = (weight / steps.view(-1, 1, 1, 1)).round_().to(torch.int8)
        self._steps, self._zeros = steps, torch.zeros_like(steps, dtype=torch.int32)
        self._packed: dict[torch.Size, Tensor] = {}
        self._bias = None if conv.bias is None else conv.bias.detach()

    def forward(self, *maps: Tensor, plus: Tensor | None = None) -> Tensor:
        if self.residual:
            plus = maps[0].contiguous(memory_format=torch.channels_last)
        elif plus is not None:
            plus = plus.clone(memory_format=torch.channels_last)
        return self.convolve(quantise(maps, self.scale, self.zero), plus)

    def convolve(self, numbers: Tensor, plus: Tensor | None = None) -> Tensor:
        """The output for quantised maps, uint8 (N, C, H, W), channels_last; `plus` is added, and overwritten by it."""
        given = numbers, self.scale, self.zero, self._pack(numbers.shape), self._steps, self._zeros
        then = self._bias, *self._geometry, 1.0, 0, self.dtype
        last = "relu" if self.relu else "none"
        out: Tensor
        if plus is None:
            out = _OPERATORS.qconv2d_pointwise(*given, *then, last, [], "")
        else:
            out = _OPERATORS.qconv2d_pointwise.binary(*given, plus, *then, 1.0, 0, "sum", 1.0, last, [], "")
        return out

    def _pack(self, shape: torch.Size) -> Tensor:
        """The weights, packed for maps of that shape; otherwise they would be packed anew at each call."""
        packed = self._packed.get(shape)
        if packed is None:
            if len(self._packed) >= _SHAPES:
                self._packed.clear()
            packed = _OPERATORS.qconv_prepack(
                self._numbers, self._steps, self.scale, self.zero, *self._geometry, list(shape)
            )
            self._packed[shape] = packed
        return packed


def to_int8(model: nn.Module, ranges: Ranges, dtype: torch.dtype) -> None:
    """Makes each Conv that has a range an Int8Conv, in place, from weights in float32; others stay as they are."""
    for name, (low, high) in ranges.items():
        parent, _, child = name.rpartition(".")
        conv = model.get_submodule(name)
        if isinstance(conv, Conv):
            setattr(model.get_submodule(parent), child, Int8Conv(conv, low, high, dtype))


def measure_ranges(model: nn.Module, run: Callable[[], Result]) -> tuple[Result, dict[str, tuple[float, float]]]:
    """What `run` returns, and the range of the inputs of each Conv of the model while it ran."""
    seen: dict[str, list[Tensor]] = {}

    def look(name: str, maps: tuple[Tensor, ...]) -> None:
        numbers = torch.cat([each.detach().float().flatten() for each in maps])
        seen.setdefault(name, []).append(numbers[:: numbers.numel() // _SAMPLES | 1].clone())

    hooks = [
        module.register_forward_pre_hook(lambda _, maps, name=name: look(name, maps))
        for name, module in model.named_modules()
        if isinstance(module, Conv) and not module.precise
    ]
    try:
        result = run()
    finally:
        for hook in hooks:
            hook.remove()
    ranges = {}
    for name, parts in seen.items():
        numbers = torch.cat(parts).sort().values
        last = len(numbers) - 1
        ranges[name] = (min(0.0, float(numbers[round((1 - _KEPT) * last)])), float(numbers[round(_KEPT * last)]))
    return result, ranges


@functools.cache
def int8_works() -> bool:
    """Whether this CPU has instructions for numbers of 8 bits (AVX512-VNNI, AVX-VNNI), and this torch uses them."""
    if not _cpu_has_vnni():
        return False
    # The operators are no public ones of torch: they are tried before they are trusted.
    conv = Conv(16, 16, relu=True)
    image = torch.linspace(-1, 1, 16 * 8 * 8).view(1, 16, 8, 8)
    try:
        with torch.inference_mode():
            found = Int8Conv(conv, -1, 1, torch.float32)(image, plus=image)
            return torch.allclose(found, conv(image, plus=image), atol=0.05)
    except (AttributeError, RuntimeError, TypeError):
        return False


def _cpu_has_vnni() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        asked: Callable[[], bool] = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
        return asked()
    return "avx512_vnni" in flags or "avx_vnni" in flags
