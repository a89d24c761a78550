from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from flowcli.color import legend
from flowcli.effects import Color, Holes, Warp
from flowcli.types import FlowField, FlowPair, Frame
from tests import reference

FIRST, SECOND = 4, 5


def _pair(
    second: np.ndarray, forward: torch.Tensor, valid: torch.Tensor | None = None, backward: FlowField | None = None
) -> FlowPair:
    second = np.ascontiguousarray(second)
    # As a source hands them out: nobody may write into a frame.
    second.setflags(write=False)
    first = np.zeros_like(second)
    return FlowPair(
        Frame(first, FIRST, Fraction(1, 3), "left"),
        Frame(second, SECOND, Fraction(2, 3), "right"),
        FlowField(forward, valid),
        backward,
    )


def _picture(height: int = 65, width: int = 97) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def _constant(u: float, v: float, height: int = 65, width: int = 97) -> torch.Tensor:
    return torch.tensor((u, v), dtype=torch.float32).view(2, 1, 1).repeat(1, height, width)


@pytest.mark.parametrize("effect", [Color(), Color(3.0, legend=True), Warp(), Warp("keep"), Warp("transparent")])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (9, 300), (65, 97)])
def test_frames_carry_the_place_of_the_earlier_frame(effect: Color | Warp, height: int, width: int) -> None:
    pair = _pair(_picture(height, width), _constant(0.5, 0.25, height, width))
    swapped = FlowPair(pair.second, pair.first, pair.forward)
    for frame in (effect(pair), effect(swapped)):
        assert (frame.index, frame.time, frame.name) == (FIRST, Fraction(1, 3), "left")
        assert frame.image.dtype == np.uint8
        assert frame.image.shape[:2] == (height, width)
        assert frame.image.flags.c_contiguous


def test_color_shows_the_flow_in_the_colours_of_the_wheel() -> None:
    uv = torch.randn(2, 33, 49, generator=torch.Generator().manual_seed(0)) * 4
    uv[:, 3, 4] = math.nan
    valid = torch.ones(33, 49, dtype=torch.bool)
    valid[5, 6] = False
    image = Color(8.0)(_pair(_picture(33, 49), uv, valid)).image
    assert image[3, 4].tolist() == image[5, 6].tolist() == [0, 0, 0]
    exact = np.array([reference.middlebury_colour(u, v, 8.0) for u, v in uv.flatten(1).T.tolist()]).reshape(33, 49, 3)
    known = valid.numpy() & np.isfinite(uv.numpy()).all(axis=0)
    assert np.abs(image[known] - (exact[known] - 0.5)).max() <= 0.5 + 2e-3


def test_color_with_a_fixed_scale_reports_it() -> None:
    assert Color(12.5).scale_range == (12.5, 12.5)


def test_color_without_a_scale_follows_the_video() -> None:
    color = Color()
    pairs = [_pair(_picture(), _constant(length, 0)) for length in (4.0, 4.0, 4.0, 5.0, 5.0, 5.0)]
    # Above the scale, which lags behind, colours stay full; above one that was asked for they get darker.
    assert {tuple(color(pair).image[0, 0].tolist()) for pair in pairs} == {(255, 0, 0)}
    assert Color(4.0)(pairs[3]).image[0, 0].tolist() == [191, 0, 0]
    low, high = color.scale_range
    assert low == pytest.approx(4)
    assert 4 < high <= 4 * 1.04**3


def test_color_measures_valid_pixels_only() -> None:
    uv = _constant(4, 0)
    uv[:, :30] = 500
    color = Color()
    color(_pair(_picture(), uv, torch.arange(65)[:, None].expand(65, 97) >= 30))
    assert color.scale_range == pytest.approx((4, 4))


def test_legend_is_drawn_into_the_lower_left_corner_only() -> None:
    pair = _pair(_picture(200, 300), _constant(0, 0, 200, 300))
    image = Color(12.5, legend=True)(pair).image
    size = 33
    disc = legend(size).numpy()
    inside = disc[..., 3] > 0
    np.testing.assert_array_equal(image[-size:, :size][inside], disc[..., :3][inside])
    assert (image[-size:, :size][~inside] == 255).all()
    rows, columns = np.nonzero((image != 255).any(axis=2))
    assert rows.min() == 200 - size
    assert size < columns.max() < 150
    # The text beside it is white with a black outline, on the white of resting pixels.
    assert image[-size:, size + 1 : 150].min() < 30


def test_warp_brings_the_second_frame_onto_the_first() -> None:
    picture = _picture()
    second = np.roll(picture, (3, -5), (0, 1))
    image = Warp()(_pair(second, _constant(-5, 3))).image
    np.testing.assert_array_equal(image[:-3, 5:], picture[:-3, 5:])
    assert not image[-3:].any()
    assert not image[:, :5].any()


def test_warp_between_pixels_is_rounded() -> None:
    second = np.zeros((1, 3, 3), np.uint8)
    second[0, :, 0] = (10, 13, 200)
    image = Warp("keep")(_pair(second, _constant(0.5, 0, 1, 3))).image
    assert image[0, :, 0].tolist() == [12, 106, 200]


def test_warp_equals_the_oracle() -> None:
    second, uv = _picture(33, 49), torch.randn(2, 33, 49, generator=torch.Generator().manual_seed(1)) * 3
    image = Warp("keep")(_pair(second, uv)).image
    expected, _ = reference.warp_backward(second.transpose(2, 0, 1), uv.numpy())
    assert np.abs(image - expected.transpose(1, 2, 0)).max() <= 0.5 + 1e-2


HOLES: list[Holes] = ["black", "keep", "transparent"]


@pytest.mark.parametrize("holes", HOLES)
def test_holes_are_shown_as_asked(holes: Holes) -> None:
    second = np.full((4, 6, 3), 90, np.uint8)
    uv = _constant(2, 0, 4, 6)
    uv[0, 3, 1] = math.nan
    valid = torch.ones(4, 6, dtype=torch.bool)
    valid[0, 0] = False
    image = Warp(holes)(_pair(second, uv, valid)).image
    hole = np.zeros((4, 6), bool)
    hole[:, 4:] = hole[3, 1] = hole[0, 0] = True
    if holes == "transparent":
        assert image.shape == (4, 6, 4)
        np.testing.assert_array_equal(image[..., 3], np.where(hole, 0, 255))
        assert (image[..., :3] == 90).all()
    else:
        assert image.shape == (4, 6, 3)
        assert (image[~hole] == 90).all()
        assert (image[hole] == (0 if holes == "black" else 90)).all()


def test_noise_at_the_border_makes_no_holes() -> None:
    uv = torch.rand(2, 65, 97, generator=torch.Generator().manual_seed(2)) - 0.5
    still = FlowField(torch.zeros(2, 65, 97))
    second = np.full((65, 97, 3), 50, np.uint8)
    assert (Warp()(_pair(second, uv)).image == 50).all()
    assert (Warp()(_pair(second, uv, backward=still)).image == 50).all()


def test_backward_flow_finds_occluded_pixels() -> None:
    # A white square of 6 px moves 4 px to the right over a grey ground at rest.
    second = np.full((20, 20, 3), 60, np.uint8)
    second[5:11, 9:15] = 255
    forward, backward = torch.zeros(2, 20, 20), torch.zeros(2, 20, 20)
    forward[0, 5:11, 5:11], backward[0, 5:11, 9:15] = 4, -4
    ghost = np.full((20, 20), 60)
    ghost[5:11, 5:15] = 255
    np.testing.assert_array_equal(Warp()(_pair(second, forward)).image[..., 0], ghost)
    clean = ghost.copy()
    clean[5:11, 11:15] = 0
    both = Warp()(_pair(second, forward, backward=FlowField(backward)))
    np.testing.assert_array_equal(both.image[..., 0], clean)
    unknown = FlowField(backward, torch.zeros(20, 20, dtype=torch.bool))
    assert not Warp()(_pair(second, forward, backward=unknown)).image.any()
