"""Networks as most people run them: plain torch instead of this project's kernels, contiguous tensors, float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from flowcli import models
from flowcli.bench.clock import Call
from flowcli.models.base import FlowModel
from flowcli.ops import unpack_pixels
from flowcli.ops.library import FALLBACKS
from flowcli.types import Frame

Function = Callable[..., Any]

OPERATORS: dict[Function, Function] = {getattr(torch.ops.flowcli, name): kernel for name, kernel in FALLBACKS.items()}
"""Each operator, as it is called, with its plain torch kernel."""


class Fallback(TorchFunctionMode):
    """A context in which the plain torch kernels run, whatever kernels are loaded."""

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return OPERATORS.get(func, func)(*args, **(kwargs or {}))


class Contiguous(TorchFunctionMode):
    """A context in which convolutions get contiguous tensors, whatever layout the network asks for."""

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.conv2d:
            args = (args[0].contiguous(), *args[1:])
        return func(*args, **(kwargs or {}))


def images(frames: list[Frame], model: FlowModel, device: torch.device) -> Tensor:
    """(N, 3, H, W) in [0, 1], padded to a size that the network takes."""
    pixels = torch.from_numpy(np.stack([frame.image for frame in frames])).to(device)
    return unpack_pixels(pixels, model.stride, model.least)[0]


def pwcnet(first: Frame, second: Frame, device: torch.device) -> Call:
    """PWC-Net as most people run it: float32, contiguous, plain torch, both frames encoded. Random weights."""
    model = models.create("pwcnet").eval().to(device)
    with Fallback():
        pair = [images([frame], model, device) for frame in (first, second)]

    def call() -> None:
        with Fallback(), Contiguous():
            model(*pair)

    return call
