from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
import torch

from flowcli.draw.effects import Color, Warp, confidence, occlusion
from flowcli.draw.occlusion import outside
from flowcli.geometry import consistency, grid
from flowcli.types import FlowField, FlowPair, Frame, Holes, StreamInfo, Style
from tests import reference

FIRST, SECOND = 4, 5


def _pair(
    second: np.ndarray, forward: torch.Tensor, valid: torch.Tensor | None = None, backward: FlowField | None = None
) -> FlowPair:
    second = np.ascontiguousarray(second)
    # As a source hands them out: nobody may write into a frame.
    second.setflags(write=False)
    left = Frame(np.zeros_like(second), FIRST, Fraction(1, 3), "left")
    right = Frame(second, SECOND, Fraction(2, 3), "right")
    return FlowPair(left, right, FlowField(forward, valid), backward, at=left)


def _picture(height: int = 65, width: int = 97) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def _moving_square() -> FlowPair:
    """A white square of 6 px moves 4 px to the right over a grey ground at rest."""
    second = np.full((20, 20, 3), 60, np.uint8)
    second[5:11, 9:15] = 255
    forward, backward = torch.zeros(2, 20, 20), torch.zeros(2, 20, 20)
    forward[0, 5:11, 5:11], backward[0, 5:11, 9:15] = 4, -4
    return _pair(second, forward, backward=FlowField(backward))


def _constant(u: float, v: float, height: int = 65, width: int = 97) -> torch.Tensor:
    return torch.tensor((u, v), dtype=torch.float32).view(2, 1, 1).repeat(1, height, width)


EFFECTS = [
    Color(),
    Color(3.0, legend=True),
    Color(3.0, style="arrows"),
    Color(style="overlay", percentile=50, dim=1),
    Warp(),
    Warp("keep"),
    Warp("transparent"),
    occlusion,
    confidence,
]


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (9, 300), (65, 97)])
def test_frames_carry_the_place_of_the_frame_that_the_pair_belongs_to(
    effect: Callable[[FlowPair], Frame], height: int, width: int
) -> None:
    flow = _constant(0.5, 0.25, height, width)
    pair = _pair(_picture(height, width), flow, backward=FlowField(-flow))
    swapped = replace(pair, first=pair.second, second=pair.first)
    places = [(FIRST, Fraction(1, 3), "left")] * 2 + [(SECOND, Fraction(2, 3), "right")]
    for each, place in zip((pair, swapped, replace(pair, at=pair.second)), places, strict=True):
        frame = effect(each)
        assert (frame.index, frame.time, frame.name) == place
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


def test_color_follows_the_percentile_that_is_asked_for() -> None:
    uv = _constant(4, 0)
    uv[0, :, 60:] = 12
    for percentile, scale in ((50, 4), (90, 12)):
        color = Color(style="magnitude", percentile=percentile)
        color(_pair(_picture(), uv))
        assert color.scale_range == pytest.approx((scale, scale))


def test_color_draws_the_first_frame_below_its_flow() -> None:
    picture = _picture()
    pair = _pair(picture, _constant(0, 0))
    seen = replace(pair, first=pair.second, second=pair.first)
    np.testing.assert_array_equal(Color(5.0, style="overlay", dim=0)(seen).image, picture)


def test_color_measures_valid_pixels_only() -> None:
    uv = _constant(4, 0)
    uv[:, :30] = 500
    color = Color()
    color(_pair(_picture(), uv, torch.arange(65)[:, None].expand(65, 97) >= 30))
    assert color.scale_range == pytest.approx((4, 4))


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
    pair = _moving_square()
    ghost = np.full((20, 20), 60)
    ghost[5:11, 5:15] = 255
    alone = replace(pair, backward=None)
    np.testing.assert_array_equal(Warp()(alone).image[..., 0], ghost)
    clean = ghost.copy()
    clean[5:11, 11:15] = 0
    np.testing.assert_array_equal(Warp()(pair).image[..., 0], clean)
    assert pair.backward is not None
    unknown = FlowField(pair.backward.uv, torch.zeros(20, 20, dtype=torch.bool))
    assert not Warp()(replace(pair, backward=unknown)).image.any()


def _wide_square() -> FlowPair:
    """A textured square of 20 px moves 8 px to the right over a textured ground at rest."""
    ground, square = _picture(48, 48), _picture(20, 20)[::-1]
    first, second = ground.copy(), ground.copy()
    first[10:30, 8:28] = second[10:30, 16:36] = square
    forward, backward = torch.zeros(2, 48, 48), torch.zeros(2, 48, 48)
    forward[0, 10:30, 8:28], backward[0, 10:30, 16:36] = 8, -8
    pair = _pair(second, forward, backward=FlowField(backward))
    left = replace(pair.first, image=first)
    return replace(pair, first=left, at=left)


def _check_rectangle(image: np.ndarray, rows: slice, columns: slice) -> None:
    """Fails unless the mask is that rectangle; its corners may be round."""
    expected = np.zeros(image.shape, np.uint8)
    expected[rows, columns] = 255
    for row in (rows.start, rows.stop - 2):
        for column in (columns.start, columns.stop - 2):
            corner = slice(row, row + 2), slice(column, column + 2)
            expected[corner] = image[corner]
    np.testing.assert_array_equal(image, expected)


def test_occlusion_is_white_where_something_is_hidden() -> None:
    pair = _wide_square()
    _check_rectangle(occlusion(pair).image, slice(10, 30), slice(28, 36))
    # Seen from the second frame, what the square has uncovered is hidden in the first.
    _check_rectangle(occlusion(pair.reversed()).image, slice(10, 30), slice(8, 16))
    # Flow from files has black frames: they do not say that all looks alike.
    black = replace(pair.first, image=np.zeros((48, 48, 3), np.uint8))
    _check_rectangle(occlusion(replace(pair, first=black, second=black, at=black)).image, slice(10, 30), slice(28, 36))


def test_what_has_no_texture_or_shrinks_is_not_occluded() -> None:
    noise = 2 * torch.randn(2, 2, 6, 8, generator=torch.Generator().manual_seed(5))
    forward, backward = torch.nn.functional.interpolate(noise, (65, 97), mode="bicubic")
    lost = consistency(forward[None], backward[None])[0, 0]
    grey = np.full((65, 97, 3), 200, np.uint8)
    pair = _pair(grey, forward, backward=FlowField(backward))
    pair = replace(pair, first=replace(pair.first, image=grey))
    inside = ~outside(pair)[0, 0]
    assert lost[inside].float().mean() > 0.5
    assert (occlusion(pair).image > 0)[inside].mean() < 0.01
    # The second frame shows the first at 0.7 times the size: half of its pixels have none that comes back to them.
    away = (grid(65, 97) - torch.tensor([48.0, 32.0])[:, None, None]) * 0.3
    shrunk = _pair(_picture(), -away, backward=FlowField(away / 0.7))
    assert not occlusion(shrunk).image.any()


def test_specks_are_no_occlusion() -> None:
    pair = _wide_square()
    assert pair.backward is not None
    forward = pair.forward.uv.clone()
    forward[:, 4, 3:38:7] = 9
    image = occlusion(replace(pair, forward=FlowField(forward))).image
    _check_rectangle(image, slice(10, 30), slice(28, 36))


def test_occlusion_takes_in_what_leaves_the_frame_or_is_unknown() -> None:
    valid = torch.ones(20, 30, dtype=torch.bool)
    valid[3, 4] = False
    uv = _constant(5, 0, 20, 30)
    expected = np.zeros((20, 30), np.uint8)
    expected[:, 25:] = expected[3, 4] = 255
    pair = _pair(_picture(20, 30), uv, valid, FlowField(-uv))
    np.testing.assert_array_equal(occlusion(pair).image, expected)


def test_confidence_is_grey_between_agreement_and_none() -> None:
    pair = _moving_square()
    image = confidence(pair).image
    hidden = np.zeros((20, 20), bool)
    hidden[5:11, 11:15] = True
    assert (image[~hidden] == 255).all()
    assert image[hidden].max() < 128
    # f + b of 1 px at 4 px: 2 ** -(1 / (0.01 * (16 + 9) + 0.5)).
    uv = _constant(4, 0, 20, 30)
    found = confidence(_pair(_picture(20, 30), uv, backward=FlowField(-uv + torch.tensor([1.0, 0.0]).view(2, 1, 1))))
    assert set(found.image[:, :26].flatten().tolist()) == {round(255 * 2 ** -(1 / 0.75))}
    assert not found.image[:, 26:].any()


@pytest.mark.parametrize("effect", [occlusion, confidence])
def test_what_compares_needs_the_flow_both_ways(effect: Callable[[FlowPair], Frame]) -> None:
    with pytest.raises(ValueError, match=r"^the pair has no backward flow$"):
        effect(_pair(_picture(), _constant(1, 0)))


def test_effects_say_what_their_pictures_are() -> None:
    source = StreamInfo(65, 97, Fraction(30), 12, Fraction(4, 3), bits=16)
    plain = replace(source, bits=8)
    for style in get_args(Style):
        assert Color(style=style).info(source) == replace(plain, width=194 if style == "side-by-side" else 97)
    assert [Warp(holes).info(source).alpha for holes in HOLES] == [False, False, True]
    assert occlusion.info(source) == confidence.info(source) == plain
