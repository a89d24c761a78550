"""Maps in 8 bits: every kernel against its formula, in every dtype and layout."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from flowcli.ops import quantise
from tests.ops.layouts import LAYOUTS, random

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def formula(maps: list[Tensor], scale: float, zero: int) -> Tensor:
    whole = torch.cat([each.double().cpu() for each in maps], 1)
    steps = [math.floor(Fraction(each) / Fraction(scale) + zero + Fraction(1, 2)) for each in whole.flatten().tolist()]
    return torch.tensor([min(max(each, 0), 255) for each in steps], dtype=torch.uint8).view(whole.shape)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("channels", [(1,), (64,), (3, 32, 7)])
def test_it_is_the_formula(device: str, dtype: torch.dtype, layout: str, channels: tuple[int, ...]) -> None:
    # Numbers of 8 bits and a scale that is a power of two: nothing is rounded but by the operator.
    maps = [(random(2, count, 3, 5, seed=count) * 64).round_().div_(8) for count in channels]
    given = [LAYOUTS[layout](each.to(dtype).to(device)) for each in maps]
    numbers = quantise(given, 0.0625, 100)
    assert numbers.dtype == torch.uint8
    assert numbers.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(numbers.cpu(), formula(given, 0.0625, 100))
    assert numbers.min() == 0
    assert numbers.max() == 255


def test_maps_of_several_dtypes_and_layouts(device: str) -> None:
    maps = [random(1, 4, 2, 3).float().to(device), random(1, 5, 2, 3).bfloat16().to(device)]
    assert torch.equal(quantise(maps, 0.25, 9).cpu(), formula(maps, 0.25, 9))


def test_halves_go_up_and_extremes_to_the_ends(device: str) -> None:
    numbers = torch.tensor([-0.25, 0.25, 0.75, 1e30, math.inf, -1e30, -math.inf, math.nan], device=device)
    assert quantise([numbers.view(1, 1, 2, 4)], 0.5, 3).flatten().tolist() == [3, 4, 5, 255, 255, 0, 0, 0]


def test_nothing_at_all(device: str) -> None:
    assert quantise([torch.empty(0, 3, 4, 5, device=device)], 1.0, 0).shape == (0, 3, 4, 5)
    assert quantise([torch.ones(1, 2, 3, 0, device=device)], 1.0, 0).shape == (1, 2, 3, 0)


def test_wrong_input_is_refused(library: object) -> None:
    image = torch.zeros(1, 2, 3, 4)
    for wrong in ([], [image, torch.zeros(2, 2, 3, 4)], [image, torch.zeros(1, 2, 3, 5)]):
        with pytest.raises(ValueError, match="do not lie side by side"):
            quantise(wrong, 1.0, 0)
    for scale, zero in ((0.0, 0), (-1.0, 0), (math.nan, 0), (1.0, -1), (1.0, 256)):
        with pytest.raises(ValueError, match="scale must be above 0 and zero from 0 to 255"):
            quantise([image], scale, zero)
    with pytest.raises(RuntimeError, match="do not lie side by side"):
        torch.ops.flowcli.quantise.default.redispatch(
            torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), [image, torch.zeros(1, 2, 3, 5)], 1.0, 0
        )


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    maps = [random(2, 3, 3, 4).float().to(device), random(2, 6, 3, 4, seed=1).float().to(device)]
    torch.library.opcheck(torch.ops.flowcli.quantise, (maps, 0.1, 12))
