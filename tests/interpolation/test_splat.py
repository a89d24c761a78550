from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from flowcli.interpolation.baselines import Blend
from flowcli.interpolation.splat import Splat
from flowcli.types import FlowField, FlowPair, Frame
from tests.moving import camera, square, texture

HEIGHT, WIDTH = 65, 97
PLACES = [Fraction(number, 8) for number in range(1, 8)]


def shifted(across: float, down: float, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(height, width, 3): a sum of waves, moved by so many pixels to the right and down, exactly."""
    y, x = np.mgrid[:height, :width].astype(float)
    x, y = x - across, y - down
    waves = [np.sin(0.21 * x + 0.13 * y), np.sin(0.17 * y - 0.11 * x + 1), np.sin(0.15 * x + 0.19 * y + 2)]
    return np.rint(127 + 60 * np.stack([waves[0] + waves[1], waves[1] - waves[2], waves[2]], -1) / 1.2).astype(np.uint8)


def uniform(u: float, v: float, height: int = HEIGHT, width: int = WIDTH) -> FlowField:
    return FlowField(torch.tensor([u, v]).view(2, 1, 1).expand(2, height, width).contiguous())


def pair(first: np.ndarray, second: np.ndarray, forward: FlowField, backward: FlowField | None) -> FlowPair:
    one, other = (Frame(image, index, Fraction(index)) for index, image in enumerate((first, second)))
    return FlowPair(one, other, forward, backward, at=one)


def between(flow: FlowPair, places: list[Fraction], height: int = HEIGHT, width: int = WIDTH) -> list[np.ndarray]:
    return list(Splat().between(flow.first, flow.second, flow, places, height, width))


def error(one: np.ndarray, other: np.ndarray, border: int = 0) -> float:
    inner = (slice(border, one.shape[0] - border), slice(border, one.shape[1] - border))
    return float(np.abs(one[inner].astype(float) - other[inner]).mean())


@pytest.mark.parametrize(("u", "v"), [(0, 0), (5, -3), (2.6, 1.7), (-7.3, 0.4)])
def test_a_pattern_that_moves_as_a_whole_is_where_it_was_at_each_time(u: float, v: float) -> None:
    flow = pair(shifted(0, 0), shifted(u, v), uniform(u, v), uniform(-u, -v))
    for place, image in zip(PLACES, between(flow, PLACES), strict=True):
        truth = shifted(float(place) * u, float(place) * v)
        assert error(image, truth, border=8) < 0.7
        # Along the border one of the two frames is out of view, and the other one is not.
        assert error(image, truth) < 1.0


def position(image: np.ndarray) -> float:
    """Where a single bright bump lies across, pixels."""
    weights = np.maximum(image[..., 0].astype(float) - 40, 0).sum(0)
    return float((weights * np.arange(len(weights))).sum() / weights.sum())


def bump(centre: float) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    height = 200 * np.exp(-((x - centre) ** 2 + (y - 32.0) ** 2) / 18)
    return np.repeat(np.rint(20 + height).astype(np.uint8)[..., None], 3, 2)


def test_steps_are_equal() -> None:
    flow = pair(bump(30), bump(43), uniform(13, 0), uniform(-13, 0))
    places = [Fraction(number, 10) for number in range(1, 10)]
    found = [position(bump(30)), *map(position, between(flow, places)), position(bump(43))]
    # The bump itself, in whole levels, has steps that are 0.005 px off.
    np.testing.assert_allclose(np.diff(found), 1.3, atol=0.02)


def test_what_moves_over_what_stays() -> None:
    """At each time the square is at its place, and what it uncovers is taken from the frame that shows it.

    What is left, a sixth of the error of a mixture, lies along the edges of the square: there the motion, and which
    picture shows what, are told from pixels around too, against specks where flow is less exact than here.
    """
    first, second = square(2, side=32, u=12, v=0)
    background = camera(1)[0]
    forward, backward = np.zeros((2, 2, *first.shape[:2]), np.float32)
    forward[0, 20:52, 30:62] = 12
    backward[0, 20:52, 42:74] = -12
    flow = pair(first, second, *(FlowField(torch.from_numpy(each)) for each in (forward, backward)))
    for place, moved in ((Fraction(1, 4), 3), (Fraction(1, 2), 6), (Fraction(3, 4), 9)):
        (image,) = between(flow, [place], *first.shape[:2])
        truth = background.copy()
        truth[20:52, 30 + moved : 62 + moved] = texture(1)[:32, :32]
        mixed = next(Blend().between(flow.first, flow.second, None, [place], *first.shape[:2]))
        assert error(image, truth) < 0.17 * error(mixed, truth)
        inner = (slice(30, 42), slice(40 + moved, 52 + moved))
        assert error(image[inner], truth[inner]) < 0.01


def test_unknown_flow_is_bridged() -> None:
    forward, backward = uniform(4, 0), uniform(-4, 0)
    hole = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    hole[20:30, 40:55] = False
    flow = pair(shifted(0, 0), shifted(4, 0), FlowField(forward.uv, hole), FlowField(backward.uv, hole))
    (image,) = between(flow, [Fraction(1, 2)])
    assert error(image, shifted(2, 0), border=8) < 0.7


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 20)])
def test_tiny_frames(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 77, np.uint8)
    flow = pair(image, image, uniform(0.5, 0, *size), uniform(-0.5, 0, *size))
    np.testing.assert_array_equal(between(flow, [Fraction(1, 3)], *size)[0], image)


def test_size_of_the_result() -> None:
    flow = pair(shifted(0, 0), shifted(4, 0), uniform(4, 0), uniform(-4, 0))
    (image,) = between(flow, [Fraction(1, 2)], 130, 194)
    assert image.shape == (130, 194, 3)
    assert image.dtype == np.uint8


def test_motion_out_of_the_frame_leaves_no_hole() -> None:
    image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    flow = pair(image, image, uniform(500, 0), uniform(500, 0))
    np.testing.assert_array_equal(between(flow, [Fraction(1, 2)])[0], image)


def test_flow_one_way_is_not_enough() -> None:
    with pytest.raises(ValueError, match=r"^flow is needed both ways$"):
        between(pair(shifted(0, 0), shifted(4, 0), uniform(4, 0), None), [Fraction(1, 2)])
