from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from flowcli.draw.effects import Color
from flowcli.types import FlowField, FlowPair, Frame, StreamInfo, Style

HEIGHT, WIDTH = 65, 97
INFO = StreamInfo(HEIGHT, WIDTH, Fraction(25))
STYLES: tuple[Style, ...] = ("wheel", "hsv", "magnitude", "overlay", "arrows", "trails")


def _pair(seed: int) -> FlowPair:
    image = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    frame = Frame(image, 0, Fraction(0))
    uv = 3 * torch.randn(2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))
    return FlowPair(frame, Frame(image, 1, Fraction(1, 25)), FlowField(uv), at=frame)


def _alone(style: Style, pair: FlowPair) -> np.ndarray:
    return Color(8.0, style=style)(pair).image


@pytest.mark.parametrize("style", STYLES)
def test_any_style_stands_beside_the_frame(style: Style) -> None:
    color = Color(8.0, style="side-by-side", beside=style)
    assert (color.info(INFO).height, color.info(INFO).width) == (HEIGHT, 2 * WIDTH)
    pair = _pair(1)
    drawn = color(pair).image
    np.testing.assert_array_equal(drawn[:, :WIDTH], pair.first.image)
    np.testing.assert_array_equal(drawn[:, WIDTH:], _alone(style, pair))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("frame", [False, True])
def test_a_second_flow_is_drawn_at_the_same_scale_with_names_below(style: Style, frame: bool) -> None:
    first, second = _pair(1), _pair(2)
    pair = replace(first, versus=second)
    color = Color(8.0, style="side-by-side" if frame else style, beside=style, versus=("rpwc", "dis"))
    drawn, info = color(pair).image, color.info(INFO)
    assert drawn.shape == (info.height, info.width, 3)
    parts = [first.image for first in ([first.first] if frame else [])]
    parts += [_alone(style, first), _alone(style, second)]
    assert info.width == len(parts) * WIDTH
    np.testing.assert_array_equal(drawn[:HEIGHT], np.concatenate(parts, axis=1))
    below = np.split(drawn[HEIGHT:], len(parts), axis=1)
    assert below[-2].max() > 200
    assert below[-1].max() > 200
    assert (below[-1] != below[-2]).any()
    if frame:
        assert below[0].max() < 40


def test_the_second_flow_is_seen_the_other_way_too() -> None:
    def both(seed: int) -> FlowPair:
        return replace(_pair(seed), backward=_pair(seed + 10).forward)

    pair = replace(both(1), versus=both(2))
    drawn = Color(8.0, versus=("a", "b"))(pair.reversed()).image
    parts = [_alone("wheel", each.reversed()) for each in (both(1), both(2))]
    np.testing.assert_array_equal(drawn[:HEIGHT], np.concatenate(parts, axis=1))


def test_a_second_flow_that_is_named_must_be_there() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Color(8.0, versus=("rpwc", "dis"))(_pair(1))


def test_the_floor_is_the_same_for_both() -> None:
    first = _pair(1)
    slow = replace(first, forward=FlowField(torch.full((2, HEIGHT, WIDTH), 0.3)))
    drawn = Color(8.0, floor=1.0, versus=("rpwc", "dis"))(replace(first, versus=slow)).image
    assert (drawn[:HEIGHT, WIDTH:] == 255).all()
    assert (drawn[:HEIGHT, :WIDTH] != 255).any()
