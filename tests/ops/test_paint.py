"""Flow in the colours of a wheel: every kernel against the other, on every layout, and on what is no number."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.draw.color import wheel
from flowcli.ops import paint_flow
from flowcli.ops.library import FALLBACKS
from tests import reference
from tests.ops.layouts import LAYOUTS, random

SPECIAL = (math.nan, math.inf, -math.inf, 3e38, -3e38, 1e20, 0.0, -0.0, 1e-40, 1.0, -7.3)


def plain(uv: Tensor, valid: Tensor | None, colours: Tensor, scale: float, darken: bool) -> Tensor:
    rgb: Tensor = FALLBACKS["paint_flow"](uv, valid, colours, scale, darken)
    return rgb


def difference(first: Tensor, second: Tensor) -> int:
    assert first.dtype == second.dtype == torch.uint8
    return int((first.cpu().int() - second.cpu().int()).abs().max()) if first.numel() else 0


def field(height: int, width: int, seed: int = 0) -> Tensor:
    """A third of the numbers are special ones."""
    uv = 5 * random(2, height, width, seed=seed).float()
    generator = torch.Generator().manual_seed(seed)
    odd = torch.rand(uv.shape, generator=generator) < 1 / 3
    return torch.where(odd, torch.tensor(SPECIAL)[torch.randint(len(SPECIAL), uv.shape, generator=generator)], uv)


@pytest.mark.parametrize("darken", [True, False])
@pytest.mark.parametrize("scale", [1.0, 7.3, 1e-30, 1e30])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 2), (7, 37), (65, 129), (9, 512), (0, 5), (5, 0)])
def test_it_is_the_fallback_within_a_level(device: str, size: tuple[int, int], scale: float, darken: bool) -> None:
    uv = field(*size)
    mask = torch.rand(size, generator=torch.Generator().manual_seed(1)) < 0.7
    for valid in (None, mask):
        for colours in (wheel(), wheel()[:1], wheel()[3:9]):
            masked = None if valid is None else valid.to(device)
            rgb = paint_flow(uv.to(device), masked, colours.to(device), scale, darken)
            expected = plain(uv, valid, colours, scale, darken)
            assert rgb.shape == (*size, 3)
            assert rgb.is_contiguous()
            assert difference(rgb, expected) <= 1
            unknown = ~(torch.hypot(*uv) / scale).isfinite() | (torch.zeros_like(mask) if valid is None else ~valid)
            assert not rgb[unknown.to(device)].any()


def test_every_angle_and_radius_equals_the_oracle(device: str) -> None:
    angles = np.concatenate((np.linspace(-math.pi, math.pi, 721), np.arange(-27, 28) * math.pi / 27))
    radii = np.array((0, 0.01, 0.3, 0.5, 0.77, 0.999, 1.001, 1.5, 40)) * 7.3
    uv = np.stack((np.outer(radii, np.cos(angles)), np.outer(radii, np.sin(angles)))).astype(np.float32)
    rgb = paint_flow(torch.from_numpy(uv).to(device), None, wheel(device), 7.3, True).cpu().numpy().reshape(-1, 3)
    exact = np.array([reference.middlebury_colour(u, v, 7.3) for u, v in uv.astype(np.float64).reshape(2, -1).T])
    # Rounded down: only where the exact value touches an integer may single precision fall on its other side.
    assert (np.abs(rgb - (exact - 0.5)) <= 0.5 + 2e-3).all()
    assert (rgb == np.floor(exact)).mean() > 0.99


def test_lengths_next_to_the_scale_are_on_the_right_side_of_it(library: object) -> None:
    """They differ from it by the last bit, their colours by a quarter."""
    angle = torch.linspace(-math.pi, math.pi, 40001, dtype=torch.float64)
    uv = (4.1 * torch.stack((angle.cos(), angle.sin()))).float()[:, None]
    beyond = torch.hypot(*uv.double()).float() / 4.1 > 1
    assert 1000 < beyond.sum() < 39000
    assert torch.equal(paint_flow(uv, None, wheel(), 4.1, True).amax(-1) < 200, beyond)


def test_known_colours(device: str) -> None:
    uv = torch.tensor(
        [
            [0.0, -0.0, 10.0, 10.0, 10.0, 5.0, 10.01, math.nan, 0.0],
            [0.0, 0.0, 0.0, -0.0, -1e-3, 0.0, 0.0, 0.0, math.inf],
        ]
    )[:, None].to(device)
    white, red, purple, black = [255] * 3, [255, 0, 0], [255, 0, 43], [0, 0, 0]
    common = [white, white, red, purple, purple, [255, 127, 127]]
    colours = wheel(device)
    assert paint_flow(uv, None, colours, 10, True)[0].tolist() == [*common, [191, 0, 0], black, black]
    assert paint_flow(uv, None, colours, 10, False)[0].tolist() == [*common, red, black, black]
    valid = torch.tensor([[False, True] + [False] * 7], device=device)
    assert paint_flow(uv, valid, colours, 10, True)[0].tolist() == [black, white] + [black] * 7


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(device: str, layout: str) -> None:
    uv = field(13, 21)
    valid = torch.rand(13, 21) < 0.5
    expected = paint_flow(uv.to(device), valid.to(device), wheel(device), 3.0, True)
    laid_out = LAYOUTS[layout](uv.to(device)[None])[0]
    mask = LAYOUTS[layout](valid.to(device)[None, None])[0, 0]
    colours = wheel(device).t().contiguous().t()
    assert torch.equal(paint_flow(laid_out, mask, colours, 3.0, True), expected)
    assert torch.equal(laid_out.nan_to_num(), uv.to(device).nan_to_num())


def test_threads_share_the_work(library: object) -> None:
    uv = field(301, 257)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = paint_flow(uv, None, wheel(), 3.0, True)
        torch.set_num_threads(3)
        assert torch.equal(paint_flow(uv, None, wheel(), 3.0, True), alone)
    finally:
        torch.set_num_threads(before)


WRONG: dict[str, tuple[Callable[[], tuple[Tensor, Tensor | None, Tensor]], str]] = {
    "dtype": (lambda: (torch.zeros(2, 3, 4).double(), None, wheel()), r"flow is torch\.float64 of \(2, 3, 4\)"),
    "channels": (lambda: (torch.zeros(3, 3, 4), None, wheel()), r"flow is torch\.float32 of \(3, 3, 4\)"),
    "mask": (lambda: (torch.zeros(2, 3, 4), torch.zeros(4, 3).bool(), wheel()), r"mask is torch\.bool of \(4, 3\)"),
    "mask of numbers": (lambda: (torch.zeros(2, 3, 4), torch.zeros(3, 4), wheel()), r"mask is torch\.float32 of"),
    "wheel": (lambda: (torch.zeros(2, 3, 4), None, wheel().float()), r"wheel is torch\.float32 of \(55, 3\)"),
    "no wheel": (lambda: (torch.zeros(2, 3, 4), None, wheel()[:0]), r"wheel is torch\.uint8 of \(0, 3\)"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_input_is_refused(library: object, wrong: str) -> None:
    make, message = WRONG[wrong]
    uv, valid, colours = make()
    with pytest.raises(ValueError, match=rf"^{message}.*, must be "):
        paint_flow(uv, valid, colours, 1.0, True)
    # The native kernel by itself does not read beyond what it is given, either.
    with pytest.raises(RuntimeError, match=r"must be float32|does not fit|the wheel is"):
        torch.ops.flowcli.paint_flow.default.redispatch(
            torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), uv, valid, colours, 1.0, True
        )


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    uv = random(2, 5, 7).float().to(device)
    valid = torch.ones(5, 7, dtype=torch.bool, device=device)
    for mask in (None, valid):
        torch.library.opcheck(torch.ops.flowcli.paint_flow, (uv, mask, wheel(device), 1.0, True))
