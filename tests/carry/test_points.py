from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from flowcli.carry.pointfiles import Key, Points
from flowcli.carry.points import carry_points
from flowcli.carry.stream import Carried
from flowcli.carry.tracking import Places
from flowcli.engine.schedule import Keys
from flowcli.types import Frame, FrameFlows
from tests import moving
from tests.carry.known import HEIGHT, WIDTH, Scene, linked


def points(keys: Mapping[int, Mapping[int, tuple[float, float]]]) -> Points:
    """Keys by frame, then by point."""
    count = 1 + max(point for each in keys.values() for point in each)
    named = {str(index): [Key(point, *place) for point, place in each.items()] for index, each in keys.items()}
    return Points("points.csv", tuple(map(str, range(count))), [], named)


def run(
    scene: Scene,
    count: int,
    keys: Mapping[int, Mapping[int, tuple[float, float]]],
    sides: Keys = "both",
    ahead: int = 30,
    cuts: tuple[int, ...] = (),
) -> list[Carried[Places]]:
    return list(carry_points(linked(scene, count, both=True, cuts=cuts), points(keys), sides, ahead))


def places(frames: list[Carried[Places]], point: int = 0) -> list[list[float] | None]:
    """Where a point is on each frame, None where that is not known."""
    found = [None if each.value is None else each.value.place[point] for each in frames]
    return [None if place is None or place.isnan().any() else place.tolist() for place in found]


def way(frames: list[Carried[Places]], point: int = 0) -> np.ndarray:
    """(T, 2): the same, NaN where that is not known."""
    return np.array([place or (np.nan, np.nan) for place in places(frames, point)])


def seen(frames: list[Carried[Places]], point: int = 0) -> list[bool]:
    return [each.value is not None and bool(each.value.seen[point]) for each in frames]


def test_whole_pixels_move_points_exactly_both_ways() -> None:
    frames = run(Scene(pan=2, side=0), 9, {4: {0: (40.25, 30)}})
    assert [each.frame.index for each in frames] == list(range(9))
    assert places(frames) == [[40.25 + 2 * (index - 4), 30] for index in range(9)]
    assert seen(frames) == [True] * 9
    assert [each.key for each in frames] == [index == 4 for index in range(9)]


def test_no_flow_copies_points_bit_by_bit() -> None:
    place = (40.123456789, 30.1 + 0.2)
    frames = run(Scene(side=0), 6, {0: {0: place}})
    single = np.array(place, np.float32).tolist()
    assert places(frames) == [list(place)] + [single] * 5
    assert all(each.confidence is not None and each.confidence.tolist() == [1] for each in frames)


def test_a_point_is_hidden_behind_a_square_and_found_again() -> None:
    """The square is 15 wide, and moves 4 to the right from 5 on: at 44 it covers frames 7 to 9."""
    scene = Scene(side=15, step=(4, 0), start=(5, 20))
    covered = [bool(scene.mask(index)[28, 44]) for index in range(14)]
    assert covered == [index in (7, 8, 9) for index in range(14)]
    frames = run(scene, 14, {0: {0: (44, 28), 1: (12, 27)}})
    # Beside the square, too little of what is around the point shows to know it again.
    assert seen(frames) == [True] * 7 + [False] * 3 + seen(frames)[10:12] + [True] * 2
    np.testing.assert_allclose(way(frames), [[44, 28]] * 14, atol=0.1)
    sure = [float(each.value.confidence[0]) for each in frames if each.value is not None]
    assert max(sure[7:10]) < min(sure[:7] + sure[12:])
    # A point on the square shows all the time.
    assert places(frames, 1) == [[12 + 4 * index, 27] for index in range(14)]
    assert seen(frames, 1) == [True] * 14


@dataclass(frozen=True, eq=False)
class Sway(Scene):
    """A camera that moves to and fro: all things move 12 pixels a frame to the left, and 12 back from frame 4 on."""

    side: int = 0

    def shift(self, index: int) -> int:
        return -12 * (4 - abs(4 - index))

    def frame(self, index: int) -> Frame:
        left = 150 - self.shift(index)
        image = moving.texture()[100 : 100 + HEIGHT, left : left + WIDTH].copy()
        return Frame(image, index, Fraction(index, 25))

    def flow(self, first: int, second: int) -> torch.Tensor:
        uv = torch.zeros(2, HEIGHT, WIDTH)
        uv[0] = self.shift(second) - self.shift(first)
        return uv


def test_points_outside_the_picture_are_hidden_and_come_back() -> None:
    frames = run(Sway(), 9, {0: {0: (20, 30)}})
    assert seen(frames) == [True, True, False, False, False, False, False, True, True]
    np.testing.assert_allclose(way(frames), [[20 + Sway().shift(index), 30] for index in range(9)], atol=0.01)


def test_given_places_stay_and_those_between_come_from_both_sides() -> None:
    """The second key is 2 pixels below where the first one leads."""
    first, last = (40.123456789, 30.0), (48.0, 32.000000001)
    frames = run(Scene(pan=1, side=0), 9, {0: {0: first}, 8: {0: last}})
    found = places(frames)
    assert found[0] == list(first)
    assert found[8] == list(last)
    down = [place[1] for place in found if place is not None]
    assert down == sorted(down)
    np.testing.assert_allclose(down[1:8], 30 + 2 * np.arange(1, 8) / 8, atol=0.4)
    assert [each.key for each in frames] == [True] + [False] * 7 + [True]


def test_a_key_reaches_back_to_the_key_before_it_and_no_farther() -> None:
    keys = {2: {0: (30.0, 20.0)}, 5: {0: (50.0, 40.0)}}
    still = Scene(side=0)
    found = places(run(still, 8, keys))
    assert found[:3] == [[30, 20]] * 3
    assert found[5:] == [[50, 40]] * 3
    assert places(run(still, 8, keys, "before"))[:6] == [None, None, *[[30, 20]] * 3, [50, 40]]
    assert places(run(still, 8, keys, "after")) == [*[[30, 20]] * 3, *[[50, 40]] * 3, None, None]


def test_keys_reach_back_as_far_as_frames_wait() -> None:
    known = [place is not None for place in places(run(Scene(side=0), 12, {9: {0: (30, 20)}}, ahead=4))]
    assert known == [index >= 5 for index in range(12)]


def test_a_cut_ends_it() -> None:
    keys = {0: {0: (30.0, 20.0)}, 7: {1: (40.0, 20.0)}}
    frames = run(Scene(side=0), 10, keys, cuts=(4,))
    assert [place is not None for place in places(frames, 0)] == [index < 4 for index in range(10)]
    assert [place is not None for place in places(frames, 1)] == [index >= 4 for index in range(10)]
    assert run(Scene(side=0), 4, {0: {0: (30, 20)}}, cuts=(2,))[2].value is None


def test_a_key_on_the_first_frame_of_a_shot_counts() -> None:
    found = places(run(Scene(side=0), 6, {3: {0: (30, 20)}}, cuts=(3,)))
    assert found == [None] * 3 + [[30, 20]] * 3


def test_points_begun_outside_the_picture_move_with_it_and_stay_hidden() -> None:
    """What is around them has never been seen."""
    frames = run(Scene(pan=3, side=0), 4, {0: {0: (-5, 20)}})
    assert seen(frames) == [False] * 4
    np.testing.assert_allclose(way(frames), [[-5 + 3 * index, 20] for index in range(4)], atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("last", "most"), [(0, 3), (30, 5 + 3)])
@pytest.mark.usefixtures("fresh_heap")
def test_frames_are_let_go(last: int, most: int) -> None:
    """However long the clip: while a key is to come, so many frames are held as wait for it; after it, none."""
    scene = Scene(side=0)
    alive: weakref.WeakSet[object] = weakref.WeakSet()
    counts = []

    def counted() -> Iterator[FrameFlows]:
        for each in one_by_one(scene, 40):
            alive.add(each.frame)
            yield each

    for each in carry_points(counted(), points({0: {0: (30, 20)}, last: {1: (40, 20)}}), ahead=5):
        assert each.value is not None
        del each
        gc.collect()
        counts.append(len(alive))
    assert max(counts) <= most
    assert len(counts) == 40


def one_by_one(scene: Scene, count: int) -> Iterator[FrameFlows]:
    """As `linked`, of a still scene, but holding no frames but the last one."""
    first, second = list(linked(scene, 2, both=True))
    last = replace(first.frame, image=first.frame.image.copy())
    for index in range(count):
        after = replace(second.frame, index=index + 1, image=second.frame.image.copy())
        pairs = tuple(replace(pair, first=last, second=after, at=last) for pair in first.pairs if index < count - 1)
        yield FrameFlows(last, pairs)
        last = after
