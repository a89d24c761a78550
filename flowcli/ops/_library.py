"""Operators with several kernels: plain torch for every device, C++ and CUDA where those can be built.

Each operator is defined once, by `define`. Its plain torch kernel builds and loads the native ones when it is first
called, and does the work itself where that is impossible. What was loaded is tried before it is trusted.
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
from flowcli.ops import _native

_torch_library: Any = torch.library  # Its functions carry no types.
LIBRARY = _torch_library.Library("flowcli", "FRAGMENT")
_has_kernel: Callable[[str, str], bool] = torch._C._dispatch_has_kernel_for_dispatch_key
FALLBACKS: dict[str, Callable[..., Any]] = {}
"""The plain torch kernel of each operator."""
TRIALS: dict[str, Callable[[], list[tuple[Any, ...]]]] = {}
"""Arguments of operators, on the CPU, by which native kernels are tried."""
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
    """Adds the operator of this schema. fake: what its results look like, for torch.compile and the like.

    build: False for one that is not worth a build; its native kernels run once others have had them built or loaded.
    trials: arguments, on the CPU, with which a native kernel must do what `kernel` does, else it is not used.
    """
    name = schema.partition("(")[0]
    if trials is not None:
        TRIALS[name] = trials
    LIBRARY.define(schema)
    LIBRARY.impl(name, _build_then(name, kernel) if build else kernel, "CompositeExplicitAutograd")
    _torch_library.register_fake(f"flowcli::{name}", fake, lib=LIBRARY)
    FALLBACKS[name] = kernel


def _build_then(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
    """`kernel` for every device. Its first call builds the native kernel, which from then on hides it."""

    def entry(*args: Any) -> Any:
        first: Tensor = args[0] if isinstance(args[0], Tensor) else args[0][0]
        device = first.device.type
        if _native.ensure(device).kernel == "native" and _has_kernel(f"flowcli::{name}", device.upper()):
            with _trying:
                if device not in _tried:
                    _tried.add(device)
                    _try_kernels(device)
            return getattr(torch.ops.flowcli, name)(*args)
        return kernel(*args)

    return entry


@torch.no_grad()
def _try_kernels(device: str) -> None:
    """Native kernels that are wrong on this machine give way to those of plain torch, with a warning.

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
            # torch tells of kernels that take the place of others.
            warnings.simplefilter("ignore", UserWarning)
            LIBRARY.impl(name, kernel, device.upper(), allow_override=True)


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
