from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flowcli.motion.camera import Camera, fit_camera

HEIGHT, WIDTH = 33, 48
Y, X = (side.ravel() for side in np.mgrid[0:HEIGHT, 0:WIDTH])
POSITIONS = X - (WIDTH - 1) / 2 + 1j * (Y - (HEIGHT - 1) / 2)


def flow_of(pan: float, tilt: float, zoom: float, roll: float) -> np.ndarray:
    """Complex flow, by the matrix that turns the x axis towards the y axis, which points down."""
    angle = math.radians(roll)
    x, y = POSITIONS.real, POSITIONS.imag
    u = zoom * (math.cos(angle) * x - math.sin(angle) * y) + pan - x
    v = zoom * (math.sin(angle) * x + math.cos(angle) * y) + tilt - y
    return np.asarray(u + 1j * v)


MOTIONS = st.tuples(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.8, 1.25), st.floats(-20, 20))


@given(motion=MOTIONS)
def test_every_motion_is_found_again(motion: tuple[float, float, float, float]) -> None:
    found = fit_camera(POSITIONS, flow_of(*motion))
    assert astuple(found) == pytest.approx(motion, abs=1e-6)
    np.testing.assert_allclose(found.flow(POSITIONS), flow_of(*motion), atol=1e-6)


@given(
    motion=MOTIONS,
    other=MOTIONS,
    share=st.floats(0.05, 0.45),
    seed=st.integers(0, 1000),
)
def test_what_less_than_half_of_the_picture_does_counts_for_nothing(
    motion: tuple[float, float, float, float], other: tuple[float, float, float, float], share: float, seed: int
) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.05, (2, len(POSITIONS)))
    flow = flow_of(*motion) + noise[0] + 1j * noise[1]
    columns = round(share * WIDTH)
    # What moves much like the camera cannot be told from it.
    apart = flow_of(*other) + 30 - flow_of(*motion)
    assume(np.abs(apart).min() > 5)
    flow = np.where(columns > X, flow_of(*other) + 30, flow)
    found = fit_camera(POSITIONS, flow)
    assert np.abs(found.flow(POSITIONS) - flow_of(*motion)).max() < 0.1


def test_noise_is_averaged() -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, (2, len(POSITIONS)))
    found = fit_camera(POSITIONS, flow_of(3, -1, 1.01, 0.5) + noise[0] + 1j * noise[1])
    assert np.abs(found.flow(POSITIONS) - flow_of(3, -1, 1.01, 0.5)).max() < 0.06


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        (POSITIONS * 0 + 3, Camera(3, 0, 1, 0)),
        (POSITIONS * 0 - 2j, Camera(0, -2, 1, 0)),
        (POSITIONS * 0.1, Camera(0, 0, 1.1, 0)),
        # What is to the right of the centre goes down, what is below it goes left.
        (POSITIONS * (1j - 1), Camera(0, 0, 1, 90)),
        (POSITIONS * 0, Camera(0, 0, 1, 0)),
    ],
    ids=["right", "up", "grows", "clockwise", "still"],
)
def test_signs(flow: np.ndarray, expected: Camera) -> None:
    assert astuple(fit_camera(POSITIONS, flow)) == pytest.approx(astuple(expected), abs=1e-9)


def test_one_point_is_a_shift() -> None:
    assert fit_camera(np.array([4 + 3j]), np.array([1 - 2j])) == Camera(1, -2, 1, 0)


def test_the_same_flow_has_the_same_answer() -> None:
    flow = flow_of(3, 1, 1.02, 1) + np.random.default_rng(0).normal(0, 1, len(POSITIONS))
    assert fit_camera(POSITIONS, flow) == fit_camera(POSITIONS, flow)
