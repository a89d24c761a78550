"""The gated update: every kernel against its formula, in every dtype and layout."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from flowcli.ops import gated_update
from tests.ops.layouts import LAYOUTS, random

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 2**-8, torch.float16: 2**-11}


def formula(hidden: Tensor, gates: Tensor) -> Tensor:
    flat = hidden.double().cpu().flatten().tolist()
    gate, fresh = (half.flatten().tolist() for half in gates.double().cpu().chunk(2, 1))
    shares = [1 / (1 + math.exp(-each)) for each in gate]
    mixed = [h + share * (math.tanh(f) - h) for h, share, f in zip(flat, shares, fresh, strict=True)]
    return torch.tensor(mixed, dtype=torch.float64).view(hidden.shape)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("channels", [1, 19, 64])
def test_it_is_the_formula(device: str, dtype: torch.dtype, layout: str, channels: int) -> None:
    hidden = LAYOUTS[layout](random(2, channels, 3, 5).tanh().to(dtype).to(device))
    gates = LAYOUTS[layout]((4 * random(2, 2 * channels, 3, 5, seed=1)).to(dtype).to(device))
    updated = gated_update(hidden, gates)
    assert updated.dtype == dtype
    assert updated.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        updated.double().cpu(), formula(hidden, gates), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
    )


def test_extremes(device: str) -> None:
    hidden = torch.full((1, 1, 1, 4), 0.25, device=device)
    gates = torch.tensor([[1e4, -1e4, 1e4, -1e4], [1e4, 1e4, -1e4, -1e4]], device=device).view(1, 2, 1, 4)
    assert gated_update(hidden, gates).flatten().tolist() == [1.0, 0.25, -1.0, 0.25]


def test_gradients(device: str) -> None:
    hidden, gates = random(1, 2, 2, 3).to(device), random(1, 4, 2, 3, seed=1).to(device)
    assert torch.autograd.gradcheck(gated_update, (hidden.requires_grad_(), gates.requires_grad_()))


def test_wrong_input_is_refused(library: object) -> None:
    hidden = torch.zeros(1, 2, 3, 4)
    for wrong in (torch.zeros(1, 2, 3, 4), torch.zeros(1, 4, 3, 5), torch.zeros(1, 4, 3, 4, dtype=torch.float64)):
        with pytest.raises(
            ValueError, match=r"^gates are torch\.\w+ of \(.*\), must be torch\.float32 of \(1, 4, 3, 4\)$"
        ):
            gated_update(hidden, wrong)
        with pytest.raises(RuntimeError, match="do not fit"):
            torch.ops.flowcli.gated_update.default.redispatch(
                torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), hidden, wrong
            )


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    hidden, gates = random(2, 3, 3, 4).to(device), random(2, 6, 3, 4, seed=1).to(device)
    torch.library.opcheck(torch.ops.flowcli.gated_update, (hidden.requires_grad_(), gates.requires_grad_()))
