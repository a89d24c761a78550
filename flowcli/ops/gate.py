"""The gated update of a recurrent network's state; `gate.cpp` and `gate.cu` have faster kernels for it."""

from __future__ import annotations

import torch
from torch import Tensor

from flowcli.ops.library import accumulator, define, differentiate_kernel


def gated_update(hidden: Tensor, gates: Tensor) -> Tensor:
    """The new state h + s (tanh(f) - h), with s the sigmoid of the gate, f the fresh state and h the hidden state.

    hidden: (N, C, H, W) floating; gates: (N, 2 C, H, W), same dtype and device, gate then fresh state; half types are
    computed in float32. Returns (N, C, H, W) in the dtype of `hidden`. Raises ValueError if they do not fit.
    Source: GRU, Cho et al. 2014, arXiv:1406.1078, without its reset gate.
    """
    count, channels, height, width = hidden.shape
    if gates.shape != (count, 2 * channels, height, width) or gates.dtype != hidden.dtype:
        raise ValueError(
            f"gates are {gates.dtype} of {tuple(gates.shape)}, "
            f"must be {hidden.dtype} of {(count, 2 * channels, height, width)}"
        )
    updated: Tensor = torch.ops.flowcli.gated_update(hidden, gates)
    return updated


def _gated_update_torch(hidden: Tensor, gates: Tensor) -> Tensor:
    gate, fresh = gates.to(accumulator(gates.dtype)).chunk(2, 1)
    return (
        torch.lerp(hidden.to(gate.dtype), fresh.tanh(), gate.sigmoid())
        .to(hidden.dtype, copy=True)
        .contiguous(memory_format=torch.channels_last)
    )


def _gated_update_fake(hidden: Tensor, gates: Tensor) -> Tensor:
    return torch.empty_like(hidden, memory_format=torch.channels_last)


define("gated_update(Tensor hidden, Tensor gates) -> Tensor", _gated_update_torch, _gated_update_fake)
differentiate_kernel("gated_update")
