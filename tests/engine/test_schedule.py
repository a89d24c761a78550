"""What each schedule wants of a stream; and that what it keeps is what it needs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from flowcli.engine.schedule import AHEAD, BETWEEN, Adaptive, Consecutive, Keyed, Keys, Link, Schedule, Step, Union
from flowcli.types import Frame
from tests.fakes import SCHEDULES

PICTURE = np.zeros((1, 1, 3), np.uint8)


def blank(count: int) -> Iterator[Frame]:
    return (Frame(PICTURE, 10 * index, Fraction(index)) for index in range(count))


def told(schedule: Schedule, count: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """Each frame with the frames from which and to which its links lead, in the order in which they come out."""
    ready = [each for step in schedule.plan(blank(count)) for each in step.ready]
    return [(each.at, [(link.first, link.second) for link in each.links]) for each in ready]


def to_keys(schedule: Schedule, count: int) -> list[list[int]]:
    """The keys of each frame."""
    for at, links in told(schedule, count):
        assert {first for first, _ in links} <= {at}
    return [[second for _, second in links] for _, links in told(schedule, count)]


def at_frames(*places: int) -> Keyed:
    """Keys are frames whose index, which is ten times their place, is that of these places."""
    return Keyed(lambda frame: frame.index // 10 in places)


def test_neighbours() -> None:
    assert told(Consecutive(), 4) == [(0, [(0, 1)]), (1, [(1, 2)]), (2, [(2, 3)]), (3, [])]
    assert told(Consecutive("backward"), 3) == [(0, [(1, 0)]), (1, [(2, 1)]), (2, [])]
    assert told(Consecutive("both"), 3) == told(Consecutive(), 3)
    assert told(BETWEEN, 3) == told(Consecutive(), 3)


@pytest.mark.parametrize(
    ("schedule", "both"),
    [
        (Consecutive(), False),
        (Consecutive("backward"), False),
        (BETWEEN, True),
        (Keyed(2), False),
        (Keyed(2, check=True), True),
    ],
)
def test_links_that_go_both_ways(schedule: Schedule, both: bool) -> None:
    links = [link for step in schedule.plan(blank(7)) for each in step.ready for link in each.links]
    assert {link.both for link in links} == {both}


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ("before", [[], [0], [0], [], [3], [3], [], [6]]),
        # The last frame is a key where keys are waited for.
        ("after", [[], [3], [3], [], [6], [6], [], []]),
        ("both", [[], [0, 3], [0, 3], [], [3, 6], [3, 6], [], []]),
    ],
)
def test_every_third_frame_is_a_key(sides: Keys, expected: list[list[int]]) -> None:
    assert to_keys(Keyed(3, sides), 8) == expected


def test_the_last_frame_is_a_key() -> None:
    assert to_keys(Keyed(10), 4) == [[], [0, 3], [0, 3], []]
    assert to_keys(Keyed(10), 1) == [[]]
    assert to_keys(Keyed(1), 3) == [[], [], []]


def test_keys_that_are_told() -> None:
    assert to_keys(at_frames(1, 4), 7) == [[1], [], [1, 4], [1, 4], [], [4], [4]]
    assert to_keys(at_frames(), 3) == [[], [], []]


def test_each_frame_is_asked_for_once_and_when_it_comes() -> None:
    asked: list[int] = []

    def is_key(frame: Frame) -> bool:
        asked.append(frame.index)
        return frame.index == 20

    for number, _ in enumerate(Keyed(is_key).plan(blank(4))):
        assert asked == [0, 10, 20, 30][: number + 1]


@pytest.mark.parametrize(
    ("schedule", "ahead"), [(Keyed(lambda frame: frame.index == 0), AHEAD), (Keyed(50), 50), (Keyed(50, ahead=7), 7)]
)
def test_frames_wait_so_long_for_a_key(schedule: Keyed, ahead: int) -> None:
    steps = schedule.plan(blank(200))
    assert [each.at for each in next(steps).ready] == [0]
    for place in range(1, 49):
        (step,) = itertools.islice(steps, 1)
        waited = step.ready
        assert [each.at for each in waited] == ([place - ahead] if place > ahead else [])
        assert all(each.links == (Link(each.at, 0),) for each in waited)
        assert len(step.keep) == 1 + min(place, ahead)


def test_who_waited_too_long_goes_without_the_key_after() -> None:
    def is_key(frame: Frame) -> bool:
        return frame.index in (0, 60)

    assert to_keys(Keyed(is_key, ahead=2), 8) == [[], [0], [0], [0], [0, 6], [0, 6], [], [6]]
    assert to_keys(Keyed(is_key, "after", ahead=2), 8) == [[], [], [], [], [6], [6], [], []]


def test_frames_that_come_twice() -> None:
    def is_key(frame: Frame) -> bool:
        return frame.index // 10 in (0, 3, 4)

    assert told(Adaptive(is_key), 8) == [
        (0, []), (1, [(1, 0)]), (2, [(2, 0)]), (1, [(1, 3)]), (2, [(2, 3)]), (3, []), (4, []), (5, [(5, 4)]),
        (6, [(6, 4)]), (7, [(7, 4)]), (5, [(5, 7)]), (6, [(6, 7)]), (7, []),
    ]  # fmt: skip
    steps = list(Adaptive(is_key).plan(blank(8)))
    assert [sorted(step.keep) for step in steps] == [
        [0], [0, 1], [0, 1, 2], [3], [4], [4, 5], [4, 5, 6], [4, 5, 6, 7], [],
    ]  # fmt: skip
    assert told(Adaptive(is_key), 4) == told(Adaptive(is_key), 8)[:6]
    assert told(Adaptive(is_key), 1) == [(0, [])]
    assert told(Adaptive(is_key), 0) == []


def test_links_of_two_schedules() -> None:
    joined = Union((Keyed(2, "before"), Consecutive("backward")))
    assert told(joined, 4) == [(0, [(1, 0)]), (1, [(1, 0), (2, 1)]), (2, [(3, 2)]), (3, [(3, 2)])]
    assert told(Union((Keyed(3), Keyed(3, "before"))), 4) == told(Keyed(3), 4)
    assert told(Union((Keyed(3, "before"), Keyed(3))), 4) == told(Keyed(3), 4)


@pytest.mark.parametrize("count", range(9))
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_is_named_is_there(schedule: Schedule, count: int) -> None:
    """Each frame is ready once, in order, and nothing is named that has not come or was let go of."""
    there: frozenset[int] = frozenset()
    ready: list[int] = []
    steps: list[Step] = list(schedule.plan(blank(count)))
    assert [step.frame is None for step in steps] == [False] * count + [True]
    for place, step in enumerate(steps):
        there |= {place} if step.frame is not None else set()
        for each in step.ready:
            ready.append(each.at)
            assert each.places <= there
            assert all(link.first != link.second for link in each.links)
        assert step.keep <= there
        there = step.keep
    assert ready == list(range(count))
    assert there == frozenset()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_is_kept_does_not_grow(schedule: Schedule) -> None:
    sizes = [len(step.keep) for step in schedule.plan(blank(500))]
    assert max(sizes) == max(sizes[:100]) <= AHEAD + 2


@pytest.mark.parametrize(
    ("keys", "ahead", "message"),
    [(0, None, "keys must be at least 1, got 0"), (5, 0, "ahead must be at least 1, got 0")],
)
def test_numbers_that_make_no_sense(keys: int, ahead: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Keyed(keys, ahead=ahead)
