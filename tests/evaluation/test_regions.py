from __future__ import annotations

import math

import numpy as np
import pytest

from flowcli.evaluation.regions import outline, outline_agreement, overlap

SHAPE = (65, 97)


def blob(seed: int, share: float = 0.5) -> np.ndarray:
    """(65, 97) bool: a few blots."""
    noise = np.random.default_rng(seed).random(SHAPE)
    for _ in range(4):
        noise = np.sum([np.roll(noise, shift, axis) for shift in (-2, 0, 2) for axis in (0, 1)], axis=0)
    blots: np.ndarray = noise > np.quantile(noise, share)
    return blots


def slow_outline(mask: np.ndarray) -> list[tuple[int, int]]:
    height, width = mask.shape
    found = []
    for y in range(height):
        for x in range(width):
            others = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if any(mask[min(v, height - 1), min(u, width - 1)] != mask[y, x] for v, u in others):
                found.append((y, x))
    return found


def slow_agreement(one: np.ndarray, other: np.ndarray) -> float:
    lines = slow_outline(one), slow_outline(other)
    if not lines[0] or not lines[1]:
        return 1.0 if not lines[0] and not lines[1] else 0.0
    reach = math.ceil(0.008 * math.sqrt(SHAPE[0] ** 2 + SHAPE[1] ** 2))
    shares = []
    for mine, theirs in (lines, lines[::-1]):
        near = [any((y - v) ** 2 + (x - u) ** 2 <= reach**2 for v, u in theirs) for y, x in mine]
        shares.append(sum(near) / len(near))
    return 0.0 if sum(shares) == 0 else 2 * shares[0] * shares[1] / sum(shares)


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), [((1, 0.5), (2, 0.5)), ((1, 0.8), (1, 0.75)), ((3, 0.97), (4, 0.5))])
def test_against_loops(one: tuple[int, float], other: tuple[int, float]) -> None:
    first, second = blob(*one), blob(*other)
    assert set(zip(*map(np.ndarray.tolist, np.nonzero(outline(first))), strict=True)) == set(slow_outline(first))
    assert outline_agreement(first, second) == pytest.approx(slow_agreement(first, second), abs=1e-12)
    pixels = [set(np.flatnonzero(mask).tolist()) for mask in (first, second)]
    assert overlap(first, second) == pytest.approx(len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1]), abs=1e-12)


def square(left: int, top: int, side: int = 20) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_a_square_that_is_shifted() -> None:
    one = square(30, 20)
    assert overlap(one, square(35, 20)) == 15 / 25
    # One pixel of the diagonal of 117: all of the outline is near.
    assert outline_agreement(one, square(31, 20)) == 1
    assert outline_agreement(one, square(35, 20)) < 0.7
    assert outline_agreement(one, square(70, 40)) == 0
    assert overlap(one, square(70, 40)) == 0


def test_empty_and_full_masks() -> None:
    nothing, one = np.zeros(SHAPE, bool), square(30, 20)
    assert (overlap(nothing, nothing), outline_agreement(nothing, nothing)) == (1, 1)
    assert (overlap(nothing, one), outline_agreement(nothing, one)) == (0, 0)
    assert (overlap(one, nothing), outline_agreement(one, nothing)) == (0, 0)
    assert not outline(~nothing).any()
