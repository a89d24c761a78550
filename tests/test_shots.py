from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from flowcli.shots import DUPLICATE, REACH, compare, shots
from flowcli.types import Frame
from tests.moving import HEIGHT, WIDTH, as_frames, camera, square

ONE = camera(12, pan=2, tilt=1)
OTHER = camera(12, zoom=1.01, number=1)


def cuts(images: np.ndarray) -> list[int]:
    return [change.frame.index for change in compare(as_frames(images)) if change.cut]


def duplicates(images: np.ndarray) -> list[int]:
    return [change.frame.index for change in compare(as_frames(images)) if (change.duplicate or 0) > DUPLICATE]


def mixed(one: np.ndarray, other: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """From `one` to `other`, frame by frame by these shares."""
    shares = shares[:, None, None, None]
    images: np.ndarray = np.rint(one * (1 - shares) + other * shares).astype(np.uint8)
    return images


@pytest.mark.parametrize("at", [1, 2, 5, 10, 11])
def test_a_cut(at: int) -> None:
    assert cuts(np.concatenate([ONE[:at], OTHER[at:]])) == [at]


def test_many_cuts() -> None:
    pictures = [camera(6, pan=3, number=number) for number in (0, 1, 2, 3)]
    assert cuts(np.concatenate(pictures)) == [6, 12, 18]
    shorter = [ONE[:6], OTHER[:2], camera(6, number=2)]
    assert cuts(np.concatenate(shorter)) == [6, 8]


@pytest.mark.parametrize(
    "motion",
    [{}, {"pan": 15}, {"pan": -6, "tilt": 9}, {"zoom": 1.08}, {"zoom": 0.95}, {"roll": 6}],
    ids=["still", "pan", "both", "in", "out", "roll"],
)
def test_motion_is_no_cut(motion: dict[str, Any]) -> None:
    assert cuts(camera(10, **motion)) == []


@pytest.mark.parametrize("step", [20, 40])
def test_a_pan_that_begins_and_ends_at_once_is_no_cut(step: int) -> None:
    moving = camera(6, pan=-step, tilt=step / 4)
    assert cuts(np.concatenate([moving[[0] * 4], moving[1:], moving[[-1] * 4]])) == []


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("brighter", [60, 200])
def test_a_flash_is_no_cut(length: int, brighter: int) -> None:
    lit = ONE.copy()
    lit[5 : 5 + length] = np.clip(lit[5 : 5 + length].astype(int) + brighter, 0, 255)
    assert cuts(lit) == []


def test_a_dissolve_is_no_cut() -> None:
    assert cuts(np.concatenate([ONE[:2], mixed(ONE[2:10], OTHER[2:10], np.linspace(0.1, 0.9, 8)), OTHER[10:]])) == []


def test_a_fade_is_no_cut() -> None:
    assert cuts(mixed(ONE, np.zeros_like(ONE), np.linspace(0, 1, 12))) == []
    assert cuts(mixed(np.full_like(ONE, 255), ONE, np.linspace(0, 1, 12))) == []


def test_a_cut_after_a_flash_is_one() -> None:
    lit = np.concatenate([ONE[:8], OTHER[:8]])
    lit[3] = 255
    assert cuts(lit) == [8]


def test_scores_are_from_0_to_1_and_unknown_for_the_first_frame() -> None:
    changes = list(compare(as_frames(np.concatenate([ONE, OTHER]))))
    assert [change.frame.index for change in changes] == list(range(24))
    assert (changes[0].cut_score, changes[0].duplicate, changes[0].cut) == (None, None, False)
    for change in changes[1:]:
        assert change.cut_score is not None
        assert change.duplicate is not None
        assert 0 <= change.cut_score <= 1
        assert 0 <= change.duplicate <= 1


@pytest.mark.slow
def test_duplicates() -> None:
    moving = camera(16, pan=3)
    assert duplicates(moving) == []
    assert duplicates(moving[[0, 1, 2, 2, 3, 4, 5, 6, 6, 6, 7]]) == [3, 8, 9]
    # As 15 frames a second become 30 or 60, and 24 become 30.
    assert duplicates(moving.repeat(2, axis=0)) == list(range(1, 32, 2))
    assert duplicates(moving.repeat(4, axis=0)) == [index for index in range(64) if index % 4]
    telecine = moving[[index - index // 5 - (index % 5 == 4) for index in range(20)]]
    assert duplicates(telecine) == [4, 9, 14, 19]


def test_a_duplicate_may_have_a_little_noise() -> None:
    moving = camera(8, pan=3)[[0, 1, 2, 3, 3, 4, 5, 6]]
    noise = np.random.default_rng(0).integers(-1, 2, moving.shape)
    assert duplicates(np.clip(moving + noise, 0, 255).astype(np.uint8)) == [4]


def test_noise_alone_or_a_small_thing_that_moves_is_no_duplicate() -> None:
    still = np.repeat(camera(1), 12, axis=0)
    noise = np.random.default_rng(0).integers(-6, 7, still.shape)
    assert duplicates(np.clip(still + noise, 0, 255).astype(np.uint8)) == []
    assert duplicates(square(8, side=8, u=2, v=0)) == []
    assert duplicates(still) == list(range(1, 12))
    flicker = (np.random.default_rng(0).random(still.shape) < 0.01).astype(np.uint8)
    assert duplicates(np.minimum(still, 254) + flicker) == list(range(1, 12))


def test_slow_motion_after_a_cut_is_no_duplicate() -> None:
    slow = np.concatenate([camera(6, pan=0.2), camera(6, pan=0.2, number=1)])
    assert cuts(slow) == [6]
    assert duplicates(slow) == []


def test_the_size_of_the_picture_does_not_matter() -> None:
    images = np.concatenate([ONE[:5], OTHER[:5]])
    large = images.repeat(7, axis=1).repeat(7, axis=2)
    scores = [[change.cut_score for change in compare(as_frames(each))] for each in (images, large)]
    assert scores[0][1:] == pytest.approx(scores[1][1:], abs=0.05)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (1, 400), (289, 2)])
def test_tiny_pictures(size: tuple[int, int]) -> None:
    dark, bright = (np.full((4, *size, 3), level, np.uint8) for level in (20, 220))
    assert cuts(np.concatenate([dark, bright])) == [4]


def test_few_frames_are_read_ahead() -> None:
    read = 0

    def endless() -> Iterator[Frame]:
        nonlocal read
        while True:
            yield Frame(ONE[0], read, Fraction(read))
            read += 1

    changes = compare(endless())
    for number in range(20):
        assert next(changes).frame.index == number
        assert read <= number + REACH


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_short_clips(count: int) -> None:
    assert [change.frame.index for change in compare(as_frames(ONE[:count]))] == list(range(count))


def marked(count: int, *starts: int) -> list[Frame]:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return [Frame(image, index, Fraction(index), cut=index in starts) for index in range(count)]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (marked(4), [[0, 1, 2, 3]]),
        (marked(5, 2), [[0, 1], [2, 3, 4]]),
        (marked(5, 0, 3), [[0, 1, 2], [3, 4]]),
        (marked(6, 2, 3), [[0, 1], [2], [3, 4, 5]]),
        (marked(3, 1, 2), [[0], [1], [2]]),
        (marked(3, 2), [[0, 1], [2]]),
        (marked(0), []),
        (marked(1), [[0]]),
    ],
)
def test_shots(frames: list[Frame], expected: list[list[int]]) -> None:
    assert [[frame.index for frame in shot] for shot in shots(frames)] == expected


def test_a_change_marks_its_frame() -> None:
    changes = list(compare(as_frames(np.concatenate([ONE[:4], OTHER[:4]]))))
    assert [change.marked.cut for change in changes] == [False] * 4 + [True] + [False] * 3
    assert changes[4].marked.image is changes[4].frame.image
    assert changes[3].marked is changes[3].frame
