from __future__ import annotations

import torch
from torch import Tensor

from flowcli.train.codec import through_h264
from flowcli.train.data import QUALITY
from flowcli.train.synthetic import Pairs


def pair(height: int, width: int) -> Pairs:
    """Coarse noise, moved by (4, -2) pixels."""
    noise = torch.rand(1, 1, 10, 10, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    large = 255 * torch.nn.functional.interpolate(noise, (200, 200), mode="bilinear")
    first, second = (
        large[..., top : top + height, left : left + width].to(torch.uint8) for top, left in ((10, 10), (12, 6))
    )
    flow = torch.tensor([4.0, -2.0])[None, :, None, None].expand(1, 2, height, width)
    return Pairs(first, second, flow, torch.zeros(1, height, width, dtype=torch.bool))


def error(one: Tensor, other: Tensor) -> float:
    return float((one.float() - other.float()).abs().mean())


def test_pictures_stay_what_they_are_and_get_worse() -> None:
    clean = pair(96, 128)
    good, bad = through_h264(clean, 18), through_h264(clean, QUALITY[1] - 1)
    for coded in (good, bad):
        assert coded.first.shape == coded.second.shape == clean.first.shape
        assert coded.first.dtype == torch.uint8
        assert coded.flow is clean.flow
        assert error(coded.first, clean.first) < error(coded.first, clean.second)
        assert error(coded.second, clean.second) < error(coded.second, clean.first)
    assert error(good.second, clean.second) < 3
    assert error(bad.second, clean.second) > 2 * error(good.second, clean.second)


def test_odd_sizes() -> None:
    """A codec of even sizes adds a row and a column, which are taken away again."""
    clean = pair(65, 97)
    coded = through_h264(clean, 18)
    assert coded.first.shape == (1, 3, 65, 97)
    assert error(coded.first, clean.first) < 4
