"""Device and precision: which are available, and a network converted to them."""

from __future__ import annotations

import copy
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
from torch import nn

from flowcli.errors import DeviceError
from flowcli.models.base import Network
from flowcli.models.conv import Int8Conv, int8_works, to_int8
from flowcli.types import Precision

Model = TypeVar("Model", bound=Network)

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def choose_device(name: str) -> torch.device:
    """The device named "auto", "cpu", "cuda" or "cuda:<n>". Raises DeviceError if it is unknown or missing."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    unknown = DeviceError(f"unknown device: {name}", "use auto, cpu, cuda or cuda:<number>")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise unknown from error
    if device.type not in ("cpu", "cuda"):
        raise unknown
    if device.type == "cpu":
        return torch.device("cpu")
    if not count:
        raise DeviceError(f"no CUDA device for {name!r}", "pass --device cpu, or install a torch that supports the GPU")
    index = device.index if ":" in name else torch.cuda.current_device()
    if index >= count:
        raise DeviceError(f"no such device: {name}", f"there are {count}: cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", index)


def choose_precision(name: str, device: torch.device, precisions: Collection[str]) -> str:
    """The named precision if the model allows it, otherwise "fp32"; for "auto" the fastest on the device.

    precisions: those that the model allows. Raises ValueError for an unknown name, DeviceError if the device cannot
    run int8.
    """
    if name == "auto":
        return next(each for each in fast_precisions(device) if each in precisions)
    if name not in get_args(Precision):
        raise ValueError(f"precision must be one of {get_args(Precision)}, got {name!r}")
    if name == "int8" and name not in fast_precisions(device):
        raise DeviceError(f"{device} has no convolutions in int8 that flowcli can use", "pass --precision auto")
    return name if name in precisions else "fp32"


def fast_precisions(device: torch.device) -> list[str]:
    """The precisions that are fast on the device, the fastest first, and "fp32" last."""
    if device.type == "cpu":
        return ["int8"] * int8_works() + ["bf16"] * cpu_has_bf16() + ["fp32"]
    major, _ = torch.cuda.get_device_capability(device)
    # bf16 since Ampere, fast fp16 since Volta (developer.nvidia.com, CUDA programming guide, compute capabilities).
    return ["bf16"] * (major >= 8) + ["fp16"] * (major >= 7) + ["fp32"]


def dtype_of(precision: str) -> torch.dtype:
    """The dtype of feature maps and floating point weights; for int8 the CPU's fastest floating point type."""
    if precision == "int8":
        precision = "bf16" if cpu_has_bf16() else "fp32"
    return DTYPES[precision]


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 itself: AVX512-BF16 or AMX."""
    asked = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    if all(asked):
        return any(ask() for ask in asked if ask)
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def converted(model: Model, device: torch.device, precision: str) -> Model:
    """A copy of the model for inference, on the device and in the precision; the model itself is not changed.

    Weights that are already on the device in that precision are shared, not copied.
    """
    # A deep copy takes over what its memo says: the same numbers, in tensors that can be exchanged one by one.
    memo: dict[int, Any] = {id(each): nn.Parameter(each.detach(), each.requires_grad) for each in model.parameters()}
    memo |= {id(each): each.detach() for each in model.buffers()}
    # Nothing changes in these.
    memo |= {id(each): each for each in model.modules() if isinstance(each, Int8Conv)}
    own = copy.deepcopy(model, memo).eval()
    dtype = dtype_of(precision)
    if precision == "int8":
        to_int8(own, own.ranges, dtype)
    # nn.Module.to takes memory_format by keyword only, which its annotations leave out.
    own.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return own
