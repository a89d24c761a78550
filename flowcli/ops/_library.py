"""Operators with several kernels: plain torch for every device, C++ and CUDA where those can be built.

Each operator is defined once, by `define`. Its plain torch kernel builds and loads the native ones when it is first
called, and does the work itself where that is impossible.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flowcli.ops import _native

_torch_library: Any = torch.library  # Its functions carry no types.
LIBRARY = _torch_library.Library("flowcli", "FRAGMENT")
FALLBACKS: dict[str, Callable[..., Any]] = {}
"""The plain torch kernel of each operator."""


def define(schema: str, kernel: Callable[..., Any], fake: Callable[..., Any]) -> None:
    """Adds the operator of this schema. fake: what its results look like, for torch.compile and the like."""
    name = schema.partition("(")[0]
    LIBRARY.define(schema)
    LIBRARY.impl(name, _build_then(name, kernel), "CompositeExplicitAutograd")
    _torch_library.register_fake(f"flowcli::{name}", fake, lib=LIBRARY)
    FALLBACKS[name] = kernel


def _build_then(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
    """`kernel` for every device. Its first call builds the native kernel, which from then on hides it."""

    def entry(*args: Any) -> Any:
        if _native.ensure(args[0].device.type).kernel == "native":
            return getattr(torch.ops.flowcli, name)(*args)
        return kernel(*args)

    return entry


def differentiate(name: str, backward: Callable[..., tuple[Tensor | None, ...]]) -> None:
    """Gives the operator a gradient: `backward(grad, *arguments)`, one for each argument, None where there is none."""

    def save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.settings = inputs[len(tensors) :]

    def run(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return backward(grad, *ctx.saved_tensors, *ctx.settings)

    _torch_library.register_autograd(f"flowcli::{name}", run, setup_context=save, lib=LIBRARY)


def differentiate_kernel(name: str) -> None:
    """Gives the operator the gradient of its plain torch kernel, which is run once more for it."""

    def backward(grad: Tensor, *arguments: Any) -> tuple[Tensor | None, ...]:
        tensors = [each.detach().requires_grad_() for each in arguments if isinstance(each, Tensor)]
        settings = arguments[len(tensors) :]
        with torch.enable_grad():
            output = FALLBACKS[name](*tensors, *settings)
        return *torch.autograd.grad(output, tensors, grad), *[None for _ in settings]

    differentiate(name, backward)


def impl_autocast(name: str, kernel: Callable[..., Any]) -> None:
    """What the operator does under autocast, which `kernel` has to end."""
    for key in ("AutocastCPU", "AutocastCUDA"):
        LIBRARY.impl(name, kernel, key)


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype that sums of numbers of this dtype have."""
    return torch.float64 if dtype == torch.float64 else torch.float32
