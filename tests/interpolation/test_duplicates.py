from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from flowcli.interpolation.duplicates import mark_cuts
from flowcli.shots import Change, without_duplicates
from flowcli.types import Frame
from tests.moving import as_frames, camera

IMAGE = np.zeros((3, 4, 3), np.uint8)


def kept(pattern: str) -> list[int]:
    """Numbers of the frames that stay. pattern: `n` for a new frame, `=` for one that repeats, `|` for a cut."""
    changes = [
        Change(Frame(IMAGE, index, Fraction(index)), float(sign == "="), float(sign == "|"))
        for index, sign in enumerate(pattern)
    ]
    return [change.frame.index for change in without_duplicates(changes)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", []),
        ("nnn", [0, 1, 2]),
        ("n=n=n", [0, 2, 4]),
        ("n===n===n", [0, 4, 8]),
        ("n====n", [0, 4, 5]),
        ("n=========nn", [0, 9, 10, 11]),
        ("n=n=|n", [0, 2, 3, 4, 5]),
        ("n=n=", [0, 2, 3]),
        ("=n", [1]),
        ("n|=n", [0, 1, 3]),
    ],
)
def test_what_stays(pattern: str, expected: list[int]) -> None:
    assert kept(pattern) == expected


def test_the_first_frame_has_no_score() -> None:
    change = Change(Frame(IMAGE, 0, Fraction(0)))
    assert list(without_duplicates([change])) == [change]


def test_animation_on_twos() -> None:
    images = camera(7, pan=3)[[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]]
    assert [frame.index for frame in mark_cuts(as_frames(images), skip=True)] == [0, 2, 4, 6, 8, 10, 12]
    assert [frame.index for frame in mark_cuts(as_frames(images))] == list(range(13))


def test_cuts_are_marked() -> None:
    images = np.concatenate([camera(6, pan=1), camera(6, pan=1, number=1)])
    for skip in (False, True):
        assert [frame.index for frame in mark_cuts(as_frames(images), skip=skip) if frame.cut] == [6]
