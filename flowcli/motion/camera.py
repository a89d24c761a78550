"""The camera's motion, from flow: the similarity transform that most of the picture follows."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

import numpy as np

_TRIALS = 64
_TRIAL_POINTS = 1000
_ROUNDS = 10
_FLOOR = 0.05
"""Pixels: flow is not more accurate than this."""


@dataclass(frozen=True)
class Camera:
    """The motion of the picture that the camera causes, from one frame to the next; signs as for flow."""

    pan: float
    """Pixels to the right, at the centre of the picture: positive when the camera turns left."""
    tilt: float
    """Pixels down, at the centre of the picture: positive when the camera turns up."""
    zoom: float
    """Factor by which the picture grows, 1 for none."""
    roll: float
    """Degrees by which the picture turns about its centre, clockwise as seen."""

    def flow(self, positions: np.ndarray) -> np.ndarray:
        """This motion, u + i v, at positions x + i y from the centre; all in pixels."""
        growth = cmath.rect(self.zoom, math.radians(self.roll)) - 1
        return growth * positions + complex(self.pan, self.tilt)


def fit_camera(positions: np.ndarray, flow: np.ndarray) -> Camera:
    """The motion that more than half of the points follow; the others have no influence.

    positions, flow: (N,) complex, x + i y from the picture's centre and u + i v, pixels; N at least 1. A similarity is
    linear in complex numbers: flow = growth * position + shift. Least median of squares over pairs of points (Rousseeuw
    1984) finds a start, which iteratively reweighted least squares with Geman-McClure weights refines.
    """
    growth, shift = _start(positions, flow)
    for _ in range(_ROUNDS):
        residuals = np.abs(flow - growth * positions - shift)
        # 1.4826: from the median to the standard deviation of a normal distribution.
        scale = 1.5 * max(1.4826 * float(np.median(residuals)), _FLOOR)
        growth, shift = _least_squares(positions, flow, (1 + (residuals / scale) ** 2) ** -2)
    zoom, roll = cmath.polar(1 + growth)
    return Camera(shift.real, shift.imag, zoom, math.degrees(roll))


def _start(positions: np.ndarray, flow: np.ndarray) -> tuple[complex, complex]:
    # The same trials for every frame, so that the same flow gives the same result.
    one, other = np.random.default_rng(0).integers(0, len(positions), (2, _TRIALS))
    apart = positions[other] - positions[one]
    growths = np.where(apart == 0, 0, (flow[other] - flow[one]) / np.where(apart == 0, 1, apart))
    shifts = flow[one] - growths * positions[one]
    part = slice(None, None, len(positions) // _TRIAL_POINTS + 1)
    residuals = np.abs(flow[part] - growths[:, None] * positions[part] - shifts[:, None])
    best = int(np.median(residuals, axis=1).argmin())
    return complex(growths[best]), complex(shifts[best])


def _least_squares(positions: np.ndarray, flow: np.ndarray, weights: np.ndarray) -> tuple[complex, complex]:
    weights = weights / weights.sum()
    centre, mean = (weights * positions).sum(), (weights * flow).sum()
    arms = positions - centre
    spread = float((weights * np.abs(arms) ** 2).sum())
    growth = complex((weights * arms.conj() * (flow - mean)).sum()) / spread if spread > 0 else 0j
    return growth, complex(mean - growth * centre)
