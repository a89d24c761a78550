from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from flowcli.carry.edges import refine_edges, snap
from flowcli.carry.stream import Carried
from flowcli.types import Frame

HEIGHT, WIDTH = 165, 297
"""Large enough that borders may move by a pixel."""
CELLS = {3: (slice(40, 100), slice(50, 120)), 8: (slice(40, 100), slice(120, 200))}
"""Two things side by side."""


def labels(grown: int = 0) -> np.ndarray:
    found = np.zeros((HEIGHT, WIDTH), np.int32)
    for label, (rows, columns) in CELLS.items():
        found[rows.start - grown : rows.stop + grown, columns.start - grown : columns.stop + grown] = label
    return found


def picture() -> np.ndarray:
    """Each label has a colour of its own, with noise."""
    colours = np.array([[20, 200, 60], [0, 0, 0], [0, 0, 0], [220, 40, 40], *[[0, 0, 0]] * 4, [30, 60, 220]])
    noise = np.random.default_rng(0).normal(0, 6, (HEIGHT, WIDTH, 3))
    image: np.ndarray = np.clip(colours[labels()] + noise, 0, 255).astype(np.uint8)
    return image


@pytest.mark.parametrize("grown", [0, 1, -1])
def test_borders_move_to_edges(grown: int) -> None:
    wrong = snap(labels(grown), picture()) != labels()
    # Corners of things that have shrunk are farther away than borders may move.
    assert wrong.sum() <= (8 if grown < 0 else 0)
    assert (labels(grown) != labels()).sum() >= 200 * abs(grown)


def test_borders_move_no_farther_than_they_may() -> None:
    """There are edges six pixels away."""
    far = np.zeros((HEIGHT, WIDTH), np.int32)
    far[46:94, 56:194] = 3
    changed = snap(far, picture()) != far
    assert not changed[48:92, 58:192].any()
    changed[44:96, 54:196] = False
    assert not changed.any()


def test_it_is_the_same_twice() -> None:
    rough = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    assert np.array_equal(snap(labels(), rough), snap(labels(), rough))


@pytest.mark.parametrize("value", [0, 5])
def test_one_label_all_over_stays(value: int) -> None:
    whole = np.full((HEIGHT, WIDTH), value, np.int32)
    assert np.array_equal(snap(whole, picture()), whole)
    alone = np.zeros((HEIGHT, WIDTH), np.int32)
    alone[50, 60] = value
    assert np.array_equal(snap(alone, picture()), alone)


def test_key_frames_are_untouched() -> None:
    frame = Frame(picture(), 0, Fraction(0))
    rough = torch.from_numpy(labels(1))
    nothing, given, carried = refine_edges(
        [Carried(frame, None), Carried(frame, rough, key=True), Carried(frame, rough)]
    )
    assert nothing.value is None
    assert given.value is rough
    assert carried.value is not None
    assert torch.equal(carried.value, torch.from_numpy(labels()))
