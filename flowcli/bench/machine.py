"""The measured limits of the machine, to which everything else is compared."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from flowcli.bench.clock import Call
from flowcli.engine.precision import dtype_of
from flowcli.models.conv import Conv, Int8Conv
from flowcli.ops import quantise

_COPIED = 2**28
"""Bytes; larger than any cache."""


@dataclass(frozen=True)
class Work:
    """A call, and the amount of its work: floating point operations or bytes."""

    call: Call
    amount: float


def convolution(device: torch.device, precision: str, channels: int = 256, size: int = 3) -> Work:
    """A large convolution as networks have them, in the fastest layout, channels_last."""
    count, side = (16, 128) if device.type == "cuda" else (1, 64)
    conv, dtype = Conv(channels, channels, size), dtype_of(precision)
    image = torch.rand(count, channels, side, side, device=device)
    amount = 2 * count * (channels * side * size) ** 2
    if precision == "int8":
        numbers, int8 = quantise([image], 1 / 255, 0), Int8Conv(conv, 0.0, 1.0, dtype)
        return Work(lambda: int8.convolve(numbers), amount)
    conv.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # Left out of its types.
    image = image.to(dtype, memory_format=torch.channels_last)
    return Work(lambda: conv(image), amount)


def multiplication(device: torch.device) -> Work:
    """A large float32 matrix product: fused multiply-adds only, on the units that all kernels can use."""
    # As a 1x1 convolution, whose library is the faster one on CPUs.
    product = convolution(device, "fp32", channels=512, size=1)

    def call() -> None:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            product.call()

    return Work(call, product.amount)


def bandwidth(device: torch.device) -> float:
    """Bytes per second of a GPU's memory, from its clock and bus width, with two transfers per cycle."""
    facts = torch.cuda.get_device_properties(device)
    return 2 * 1000 * facts.memory_clock_rate * facts.memory_bus_width / 8


def copy(device: torch.device) -> Work:
    """A large copy; reading and writing both count."""
    source = torch.ones(_COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return Work(lambda: target.copy_(source), 2 * _COPIED)
