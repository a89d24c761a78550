from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from flowcli.carry.stream import Carried
from flowcli.engine.schedule import Keys
from flowcli.types import FrameFlows
from tests.carry.known import Scene, carried_labels, keys, labels, linked, overlap


def run(
    scene: Scene, count: int, *given: int, sides: Keys = "both", ahead: int = 30, cuts: tuple[int, ...] = ()
) -> list[Carried[torch.Tensor]]:
    flows = linked(scene, count, both=sides != "before", cuts=cuts)
    return list(carried_labels(flows, keys(scene, *given), sides, ahead))


def reached(frames: list[Carried[torch.Tensor]]) -> list[int]:
    return [each.frame.index for each in frames if each.value is not None]


@pytest.mark.parametrize("sides", ["before", "both"])
def test_one_key_is_carried_to_the_end(sides: Keys) -> None:
    scene = Scene(pan=1)
    frames = run(scene, 12, 0, sides=sides)
    assert [each.frame.index for each in frames] == list(range(12))
    assert [each.key for each in frames] == [True] + [False] * 11
    for each in frames:
        assert each.value is not None
        assert overlap(each.value, labels(scene, each.frame.index)) > 0.9


def test_key_frames_come_out_as_they_are() -> None:
    scene = Scene()
    for each in run(scene, 7, 0, 3, 6):
        if each.key:
            assert each.value is not None
            assert torch.equal(each.value, labels(scene, each.frame.index))
            assert float(each.confidence.min()) == 1 if each.confidence is not None else False


def test_two_keys_are_better_than_one() -> None:
    """A bar passes over the square: what it covers comes back from the key after it."""
    scene = Scene(step=(9, 0), side=15)
    both, before = run(scene, 9, 0, 8), run(scene, 9, 0, sides="before")

    def mean(frames: list[Carried[torch.Tensor]]) -> float:
        values = [(each.value, each.frame.index) for each in frames[1:8]]
        return sum(overlap(value, labels(scene, index)) for value, index in values if value is not None) / len(values)

    assert mean(both) >= mean(before)
    assert mean(both) > 0.9


def test_a_key_reaches_back_as_far_as_frames_wait() -> None:
    scene = Scene(step=(1, 0))
    assert reached(run(scene, 12, 9)) == list(range(12))
    assert reached(run(scene, 12, 9, ahead=4)) == list(range(5, 12))
    assert reached(run(scene, 12, 9, sides="before")) == [9, 10, 11]
    assert reached(run(scene, 12, 9, sides="after")) == list(range(10))


def test_a_cut_ends_what_is_carried() -> None:
    scene = Scene(step=(1, 0))
    assert reached(run(scene, 10, 0, cuts=(4,))) == [0, 1, 2, 3]
    assert reached(run(scene, 10, 7, cuts=(4,))) == [4, 5, 6, 7, 8, 9]
    assert reached(run(scene, 10, 0, 7, cuts=(4,))) == list(range(10))
    assert reached(run(scene, 10, 4, cuts=(4,))) == [4, 5, 6, 7, 8, 9]


def test_a_frame_alone_is_a_key_or_has_nothing() -> None:
    scene = Scene()
    (alone,) = run(scene, 1, 0)
    assert alone.key
    (alone,) = run(scene, 1)
    assert alone.value is None
    assert alone.confidence is None


def test_confidence_falls_with_the_distance_and_where_things_are_hidden() -> None:
    scene = Scene(step=(8, 0))
    frames = run(scene, 4, 0, sides="before")
    _, near, _, far = (each.confidence for each in frames)
    assert near is not None
    assert far is not None
    left, top = scene.corner(0)
    uncovered = near[top + 4 : top + 17, left + 2 : left + 6]
    assert float(uncovered.mean()) < 0.2
    assert float(near[:10].mean()) > 0.9
    assert float(far.mean()) < float(near.mean())


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_heap")
def test_frames_are_let_go() -> None:
    """However long the clip, no more frames are held than wait, and the two that are linked."""
    scene = Scene(step=(0, 0))
    alive: weakref.WeakSet[object] = weakref.WeakSet()
    most = 0

    def counted() -> Iterator[FrameFlows]:
        nonlocal most
        for each in linked_one_by_one(scene, 40):
            alive.add(each.frame)
            gc.collect()
            most = max(most, len(alive))
            yield each

    for each in carried_labels(counted(), keys(scene, 0, 35), ahead=5):
        assert each.value is not None
        del each
    assert most <= 5 + 4


def linked_one_by_one(scene: Scene, count: int) -> Iterator[FrameFlows]:
    """As `linked`, but holding no frames."""
    for index in range(count):
        (first, *_) = linked(scene, 2, both=True)
        frame = replace(first.frame, index=index, image=first.frame.image.copy())
        yield FrameFlows(
            frame, tuple(replace(pair, first=frame, at=frame) for pair in first.pairs if index < count - 1)
        )
