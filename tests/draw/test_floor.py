from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch

from flowcli.draw.effects import Color
from flowcli.draw.floor import NoiseFloor, faded
from flowcli.types import FlowField, FlowPair, Frame, Style
from tests import reference

HEIGHT, WIDTH = 65, 97
USUAL = 0.3 * WIDTH / 640


def _texture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), np.zeros_like(noise), 0, 255, cv2.NORM_MINMAX)


def _pair(first: np.ndarray, second: np.ndarray, uv: torch.Tensor, cut: bool = False, index: int = 0) -> FlowPair:
    one, other = (
        Frame(image, index + number, Fraction(index + number), cut=cut and not number)
        for number, image in enumerate((first, second))
    )
    return FlowPair(one, other, FlowField(uv), at=one)


def _grey(image: np.ndarray) -> np.ndarray:
    grey: np.ndarray = image @ np.array((0.299, 0.587, 0.114))
    return grey


def test_flow_fades_below_the_floor() -> None:
    speeds = np.array((0, 0.2, 0.24, 0.26, 0.3, 0.4, 0.49, 0.5, 0.51, 3, np.nan), np.float32)
    angle = 0.7
    uv = torch.from_numpy(np.stack((np.cos(angle) * speeds, np.sin(angle) * speeds))[:, None].astype(np.float32))
    valid = torch.ones(1, len(speeds), dtype=torch.bool)
    shown = faded(FlowField(uv, valid), 0.5)
    assert shown.valid is valid
    with np.errstate(invalid="ignore"):
        share = np.clip((speeds**2 - 0.0625) / (0.25 - 0.0625), 0, 1)
    np.testing.assert_allclose(shown.uv.numpy(), uv.numpy() * share, atol=1e-6)
    field = FlowField(uv)
    assert faded(field, 0) is field


def test_the_floor_is_what_the_difference_is_worth_in_motion() -> None:
    first = _texture()
    grain = np.random.default_rng(1).normal(0, 0.8, first.shape)
    noisy = np.clip(np.rint(first + grain), 0, 255).astype(np.uint8)
    grey = _grey(first)
    slope = np.sqrt((np.diff(grey, axis=1)[:-1] ** 2 + np.diff(grey, axis=0)[:, :-1] ** 2).mean())
    expected = 2 * np.abs(_grey(noisy) - grey).mean() / slope
    assert USUAL / 2 < expected < 2 * USUAL
    assert NoiseFloor().update(_pair(first, noisy, torch.zeros(2, HEIGHT, WIDTH))) == pytest.approx(expected, rel=0.05)


def test_the_floor_is_kept_near_the_usual_one() -> None:
    still, moving = torch.zeros(2, HEIGHT, WIDTH), torch.zeros(2, HEIGHT, WIDTH)
    moving[0] = 3
    first = _texture()
    shifted = np.roll(first, 3, axis=1)
    black = np.broadcast_to(np.uint8(0), (HEIGHT, WIDTH, 3))
    unknown = torch.full_like(still, torch.nan)
    for pair, floor in (
        (_pair(first, first, still), USUAL),
        (_pair(first, shifted, moving), USUAL / 2),
        (_pair(first, _texture(1), still), 2 * USUAL),
        (_pair(black, black, still), USUAL),
        (_pair(first, first, unknown), USUAL),
    ):
        assert NoiseFloor().update(pair) == pytest.approx(floor)


def test_the_floor_does_not_jump_but_at_a_cut() -> None:
    first, still = _texture(), torch.zeros(2, HEIGHT, WIDTH)
    noise = NoiseFloor()
    other = _texture(1)
    seconds = [first] * 4 + [other] * 40 + [first] * 40
    floors = [noise.update(_pair(first, second, still)) for second in seconds]
    steps = np.array(floors[1:]) / floors[:-1]
    assert steps.max() < 1.05
    assert steps.min() > 0.95
    assert max(floors) > 1.9 * USUAL
    assert noise.update(_pair(first, _texture(1), still, cut=True)) == pytest.approx(2 * USUAL)


@pytest.mark.parametrize("style", ["wheel", "hsv", "magnitude", "overlay", "arrows", "trails", "side-by-side"])
def test_noise_is_not_drawn_but_where_the_truth_is_asked_for(style: Style) -> None:
    picture = _texture()
    uv = torch.full((2, HEIGHT, WIDTH), 0.3 * USUAL / 2)
    pair, rest = _pair(picture, picture, uv), _pair(picture, picture, torch.zeros_like(uv))

    def drawn(pair: FlowPair, floor: float | None) -> np.ndarray:
        return Color(0.05, style=style, floor=floor)(pair).image

    np.testing.assert_array_equal(drawn(pair, None), drawn(rest, None))
    if style != "trails":
        assert (drawn(pair, 0) != drawn(rest, 0)).any()


def test_the_floor_leaves_the_scale_and_fast_flow_alone() -> None:
    uv = torch.full((2, HEIGHT, WIDTH), 2.0)
    pair = _pair(_texture(), _texture(1), uv)
    exact = reference.middlebury_colour(2, 2, 2 * np.sqrt(2) + 1e-6)
    color = Color(floor=None)
    assert np.abs(color(pair).image[3, 4] - (np.array(exact) - 0.5)).max() <= 0.51
    assert color.scale_range == pytest.approx((2 * np.sqrt(2),) * 2, rel=1e-3)
