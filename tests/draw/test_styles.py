from __future__ import annotations

import math
from fractions import Fraction
from typing import get_args

import cv2
import numpy as np
import pytest
import torch

from flowcli.draw.layout import Layout
from flowcli.draw.tracks import grid_points
from flowcli.pictures import dimmed
from flowcli.types import FlowField, FlowPair, Frame, Style
from tests import reference

STYLES: tuple[Style, ...] = get_args(Style)
ON_FRAMES: tuple[Style, ...] = ("overlay", "arrows", "trails")


def _pair(
    uv: torch.Tensor, image: np.ndarray | None = None, valid: torch.Tensor | None = None, index: int = 0
) -> FlowPair:
    if image is None:
        image = np.zeros((*uv.shape[1:], 3), np.uint8)
    image.setflags(write=False)
    first, second = (Frame(image, number, Fraction(number, 25)) for number in (index, index + 1))
    return FlowPair(first, second, FlowField(uv, valid), at=first)


def _picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def _constant(u: float, v: float, height: int = 120, width: int = 160) -> torch.Tensor:
    return torch.tensor((u, v), dtype=torch.float32).view(2, 1, 1).repeat(1, height, width)


def _noise(height: int, width: int) -> torch.Tensor:
    return 4 * torch.randn(2, height, width, generator=torch.Generator().manual_seed(height))


def _open(style: Style, *, dim: float = 0.4, legend: bool = False) -> Layout:
    return Layout(style, beside="wheel", versus=(), legend=legend, darken=False, dim=dim)


def draw(style: Style, pair: FlowPair, scale: float = 8.0, *, dim: float = 0.4) -> np.ndarray:
    return _open(style, dim=dim).draw(pair, scale)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 17), (9, 300), (300, 9), (48, 64)])
def test_every_style_draws_every_size(style: Style, height: int, width: int) -> None:
    plain, explained = _open(style), _open(style, legend=True)
    image = _picture(height, width)
    size = (height, width * (2 if style == "side-by-side" else 1))
    assert plain.size(height, width) == explained.size(height, width) == size
    for index in range(3):
        pair = _pair(_noise(height, width), image, index=index)
        drawn, told = plain.draw(pair, 8.0), explained.draw(pair, 8.0)
        assert drawn.dtype == told.dtype == np.uint8
        assert drawn.shape == told.shape == (*size, 3)
        assert drawn.flags.c_contiguous
        assert told.flags.c_contiguous
        # A legend covers at most the lower or upper half, of the flow.
        changed = (told != drawn).any(axis=2)
        assert changed.any()
        half = (height + 1) // 2
        assert not (changed[:half].any() and changed[half:].any())
        assert not changed[:, :-width].any()


@pytest.mark.parametrize("style", STYLES)
def test_unknown_flow_is_drawn_like_none(style: Style) -> None:
    image = _picture(48, 64)
    uv = _constant(5, 3, 48, 64)
    background = {"side-by-side": np.hstack((image, 0 * image))}.get(style, 0 * image)
    if style in ON_FRAMES:
        background = dimmed(image, 0.4)
    bad = torch.full_like(uv, torch.nan)
    bad[1] = 1
    for pair in (_pair(bad, image), _pair(uv, image, torch.zeros(48, 64, dtype=torch.bool))):
        drawn = draw(style, pair)
        if style == "trails":
            # Points that are about to end.
            assert (drawn != background).any(axis=2).mean() < 0.2
        else:
            limit = 4 if style == "magnitude" else 0
            assert np.abs(drawn.astype(int) - background).max() <= limit


@pytest.mark.parametrize("style", ON_FRAMES)
@pytest.mark.parametrize("dim", [0.0, 0.3, 1.0])
def test_frames_are_dimmed_as_asked(style: Style, dim: float) -> None:
    image = _picture(120, 160)
    drawn = draw(style, _pair(_constant(0, 0), image), dim=dim)
    same = (drawn == dimmed(image, dim)).all(axis=2)
    assert same.mean() > (0.999 if style == "overlay" else 0.7)
    if dim == 0:
        assert (drawn[same] == image[same]).all()


@pytest.mark.slow
def test_overlay_is_the_hue_of_the_wheel_over_the_frame() -> None:
    image = _picture(33, 49)
    uv = _noise(33, 49)
    drawn = draw("overlay", _pair(uv, image), 8.0, dim=0).astype(float)
    for (u, v), colour, frame in zip(
        uv.flatten(1).T.tolist(), drawn.reshape(-1, 3), image.reshape(-1, 3).astype(float), strict=True
    ):
        length = math.hypot(u, v)
        hue = np.array(reference.middlebury_colour(u / length, v / length, 1.000001))
        cover = 0.8 * min(length / 8, 1)
        np.testing.assert_allclose(colour, frame * (1 - cover) + hue * cover, atol=1.6)


def test_magnitude_is_the_speed_alone() -> None:
    angles = torch.linspace(0, 2 * math.pi, 24)
    speeds = torch.tensor([0.0, 1, 2, 3, 4, 5, 6, 7, 8, 20])
    uv = torch.stack((speeds[:, None] * angles.cos(), speeds[:, None] * angles.sin()))
    drawn = draw("magnitude", _pair(uv), 8.0).astype(int)
    assert np.abs(np.diff(drawn, axis=1)).max() <= 3
    brightness = drawn[:, 0].sum(axis=1)
    assert (np.diff(brightness[:9]) > 20).all()
    assert brightness[8] == brightness[9]
    assert brightness[0] < 10


def test_side_by_side_is_the_frame_and_the_wheel() -> None:
    image, uv = _picture(33, 49), _noise(33, 49)
    drawn = draw("side-by-side", _pair(uv, image))
    np.testing.assert_array_equal(drawn[:, :49], image)
    np.testing.assert_array_equal(drawn[:, 49:], draw("wheel", _pair(uv)))


def _coloured(image: np.ndarray, u: float, v: float) -> np.ndarray:
    """(N, 2): x, y of pixels that have the hue of this motion."""
    length = math.hypot(u, v)
    hue = np.array(reference.middlebury_colour(u / length, v / length, 1 / 0.75))
    return np.argwhere(np.abs(image - hue).max(axis=2) <= 1.5)[:, ::-1]


@pytest.mark.parametrize(("height", "width"), [(120, 160), (61, 403), (480, 640)])
@pytest.mark.parametrize("angle", range(0, 360, 30))
def test_an_arrow_points_in_the_direction_of_the_flow_at_its_tail(height: int, width: int, angle: int) -> None:
    ahead = np.array((math.cos(math.radians(angle)), math.sin(math.radians(angle))))
    spacing = max(16, math.sqrt(height * width) / 20)
    points, _ = grid_points(height, width, spacing)
    tail = points[np.hypot(*(points - (width / 2, height / 2)).T).argmin()]
    uv = _constant(0, 0, height, width)
    uv[:, tail[1], tail[0]] = torch.from_numpy(6 * ahead)
    offset = _coloured(draw("arrows", _pair(uv)), *ahead) - tail
    along, across = offset @ ahead, offset @ (-ahead[1], ahead[0])
    assert -1 <= along.min() <= 3
    assert 0.75 * spacing - 4 <= along.max() <= 0.75 * spacing + 1
    assert abs(across.mean()) < 0.7


def test_arrows_are_as_long_as_the_flow_is_fast() -> None:
    spacing = math.sqrt(480 * 640) / 20
    points, _ = grid_points(480, 640, spacing)
    tail = points[np.hypot(*(points - (320, 240)).T).argmin()]

    def places(speed: float) -> np.ndarray:
        """(N, 2): x, y from the tail of what is drawn for one point that moves down so fast."""
        uv = _constant(0, 0, 480, 640)
        uv[1, tail[1], tail[0]] = speed
        found: np.ndarray = np.argwhere(draw("arrows", _pair(uv)).max(axis=2) > 60)[:, ::-1] - tail
        return found

    for speed in (2, 3, 4, 6, 8):
        assert places(speed)[:, 1].max() == pytest.approx(speed / 8 * spacing, abs=1.2)
    np.testing.assert_array_equal(places(30), places(8))
    for dot in (places(0.1), places(1.5)):
        assert len(dot) > 4
        assert np.hypot(*dot.T).max() < 0.1 * spacing
    assert not len(places(0)), "nothing at rest"


def test_slow_points_are_dots_in_the_hue_of_their_motion() -> None:
    drawn = draw("arrows", _pair(_constant(0.24, 0.32, 960, 1280)), 8.0)
    # As pale as the wheel has it at 0.4 of full speed.
    hue = np.array(reference.middlebury_colour(0.24, 0.32, 1.0))
    assert np.abs(drawn.reshape(-1, 3) - hue).max(axis=1).min() <= 1.5
    number, _ = cv2.connectedComponents((drawn[..., 0] > 80).astype(np.uint8))
    assert number - 1 == 17 * 23


def test_arrows_of_unknown_flow_are_left_out() -> None:
    uv = _constant(6, 0)
    uv[0, :, 80:] = torch.nan
    drawn = draw("arrows", _pair(uv))
    assert drawn[:, :80].any()
    assert not drawn[:, 100:].any()


def test_trails_lie_behind_the_points() -> None:
    drawing = _open("trails")
    for index in range(12):
        drawn = drawing.draw(_pair(_constant(0, -1, 240, 160), index=index), 1.0)
    found = _coloured(drawn, 0, -1)
    # The points go up the columns of the grid.
    places = (2 * np.arange(10) + 1) * 160 / 20
    assert np.abs(found[:, :1] - places).min(axis=1).max() <= 2.5
    # What is below a point is where it was: fainter, the longer ago.
    column = drawn[:, 24].max(axis=1).astype(int)
    heads = [y for y in range(60, 180) if column[y] > 240 >= column[y - 1]]
    assert np.diff(heads).tolist() == [16] * 6
    for y in heads:
        assert column[y - 2] < 30 < column[y + 11] < column[y + 8] < column[y + 5] < 200


def test_trails_forget_after_a_gap() -> None:
    drawing = _open("trails")
    first = drawing.draw(_pair(_constant(3, 0)), 8.0)
    later = [drawing.draw(_pair(_constant(3, 0), index=index), 8.0) for index in (1, 2)][-1]
    assert (later != first).any()
    np.testing.assert_array_equal(drawing.draw(_pair(_constant(3, 0), index=50), 8.0), first)
