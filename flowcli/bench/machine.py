"""What the machine can do at best, measured: the scale for everything else."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from flowcli.bench.clock import Call

_COPIED = 2**28
"""Bytes, more than any cache holds."""


@dataclass(frozen=True)
class Work:
    """Something to do, and how much it is: floating point operations or bytes."""

    call: Call
    amount: float


def convolution(device: torch.device, dtype: torch.dtype, channels: int = 256, size: int = 3) -> Work:
    """A large convolution as networks have them, in the layout that suits the machine best, channels_last."""
    count, side = (16, 128) if device.type == "cuda" else (1, 64)
    conv = nn.Conv2d(channels, channels, size, padding=size // 2).to(device, dtype)
    conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # Left out of its annotations.
    image = torch.randn(count, channels, side, side, device=device).to(dtype, memory_format=torch.channels_last)
    return Work(lambda: conv(image), 2 * count * (channels * side * size) ** 2)


def multiplication(device: torch.device) -> Work:
    """A large product of float32 matrices: nothing but fused multiply-adds, by the units that all kernels can use."""
    # As a 1x1 convolution: on CPUs the library behind it is the faster one.
    product = convolution(device, torch.float32, channels=512, size=1)

    def call() -> None:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            product.call()

    return Work(call, product.amount)


def copy(device: torch.device) -> Work:
    """A large copy; what is read and what is written both count."""
    source = torch.ones(_COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return Work(lambda: target.copy_(source), 2 * _COPIED)
