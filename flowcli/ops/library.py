"""Operators with several kernels: plain torch for every device, C++ and CUDA where they can be built.

Each operator is registered once, by `define`. The first call of its plain torch kernel builds and loads the native
kernels. Native kernels are compared with plain torch before they are used; where they cannot be built, or give wrong
results, plain torch does the work.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flowcli.errors import DeviceError
from flowcli.ops import native

_torch_library: Any = torch.library  # Its functions carry no types.
LIBRARY = _torch_library.Library("flowcli", "FRAGMENT")
_has_kernel: Callable[[str, str], bool] = torch._C._dispatch_has_kernel_for_dispatch_key
FALLBACKS: dict[str, Callable[..., Any]] = {}
"""The plain torch kernel of each operator."""
TRIALS: dict[str, Callable[[], list[tuple[Any, ...]]]] = {}
"""Arguments, on the CPU, with which the native kernels of an operator are compared with plain torch."""
_tried: set[str] = set()
_trying = threading.Lock()
_log = logging.getLogger("flowcli")


def define(
    schema: str,
    kernel: Callable[..., Any],
    fake: Callable[..., Any],
    *,
    build: bool = True,
    trials: Callable[[], list[tuple[Any, ...]]] | None = None,
) -> None:
    """Registers the operator with this schema and this plain torch kernel.

    fake: returns empty results of the right shape and dtype, as torch.compile needs. build: whether a call builds
    native kernels; without it they run only after another operator has loaded them. trials: returns arguments, on the
    CPU, for which a native kernel must agree with `kernel`, or it is not used.
    """
    name = schema.partition("(")[0]
    if trials is not None:
        TRIALS[name] = trials
    LIBRARY.define(schema)
    LIBRARY.impl(name, _build_then(name, kernel) if build else kernel, "CompositeExplicitAutograd")
    _torch_library.register_fake(f"flowcli::{name}", fake, lib=LIBRARY)
    FALLBACKS[name] = kernel


def _build_then(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
    """`kernel` for every device. The first call loads the native kernel, which from then on is called instead."""

    def entry(*args: Any) -> Any:
        first: Tensor = args[0] if isinstance(args[0], Tensor) else args[0][0]
        device = first.device.type
        if native.ensure(device).kernel == "native" and _has_kernel(f"flowcli::{name}", device.upper()):
            with _trying:
                if device not in _tried:
                    _tried.add(device)
                    _try_kernels(device)
            return getattr(torch.ops.flowcli, name)(*args)
        return kernel(*args)

    return entry


@torch.no_grad()
def _try_kernels(device: str) -> None:
    """Replaces native kernels that give wrong results on this machine with plain torch, and logs a warning.

    Raises DeviceError instead if FLOWCLI_NATIVE=require.
    """
    for name, trials in TRIALS.items():
        operator, kernel = getattr(torch.ops.flowcli, name), FALLBACKS[name]
        given = [[each.to(device) if isinstance(each, Tensor) else each for each in trial] for trial in trials()]
        if all(torch.allclose(operator(*trial), kernel(*trial), rtol=0.02, atol=0.01) for trial in given):
            continue
        message = f"the native kernel of {name} gives wrong results on this {device}"
        if os.environ.get("FLOWCLI_NATIVE") == "require":
            raise DeviceError(message, "FLOWCLI_NATIVE=auto runs the torch kernel")
        _log.warning("%s; the slower torch kernel runs", message)
        with warnings.catch_warnings():
            # torch warns that one kernel replaces another.
            warnings.simplefilter("ignore", UserWarning)
            LIBRARY.impl(name, kernel, device.upper(), allow_override=True)


def differentiate(name: str, backward: Callable[..., tuple[Tensor | None, ...]]) -> None:
    """Registers the operator's gradient: `backward(grad, *arguments)` returns one value per argument, or None."""

    def save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.settings = inputs[len(tensors) :]

    def run(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return backward(grad, *ctx.saved_tensors, *ctx.settings)

    _torch_library.register_autograd(f"flowcli::{name}", run, setup_context=save, lib=LIBRARY)


def differentiate_kernel(name: str) -> None:
    """Registers the gradient of the plain torch kernel, which runs once more in the backward pass."""

    def backward(grad: Tensor, *arguments: Any) -> tuple[Tensor | None, ...]:
        tensors = [each.detach().requires_grad_() for each in arguments if isinstance(each, Tensor)]
        settings = arguments[len(tensors) :]
        with torch.enable_grad():
            output = FALLBACKS[name](*tensors, *settings)
        return *torch.autograd.grad(output, tensors, grad), *[None for _ in settings]

    differentiate(name, backward)


def impl_autocast(name: str, kernel: Callable[..., Any]) -> None:
    """Registers what runs under autocast: `kernel`, which has to disable autocast for its own calls."""
    for key in ("AutocastCPU", "AutocastCUDA"):
        LIBRARY.impl(name, kernel, key)


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which values of `dtype` are summed: float64 for float64, otherwise float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32
