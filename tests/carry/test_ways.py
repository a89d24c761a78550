from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from flowcli.carry.stream import Carried
from flowcli.engine.schedule import Keys
from tests.carry.known import HEIGHT, WIDTH, Scene, carried_labels, keys, labels, linked, overlap


def run(scene: Scene, count: int, *given: int, sides: Keys = "both", label: int = 7) -> list[Carried[torch.Tensor]]:
    flows = linked(scene, count, both=sides != "before")
    return list(carried_labels(flows, keys(scene, *given, label=label), sides))


def values(frames: list[Carried[torch.Tensor]]) -> Iterator[tuple[int, torch.Tensor]]:
    for each in frames:
        assert each.value is not None
        assert each.value.dtype == torch.int32
        yield each.frame.index, each.value


def test_key_frames_come_out_as_they_are() -> None:
    for each in run(Scene(), 7, 0, 3, 6):
        assert each.key == (each.frame.index in (0, 3, 6))
        if each.key:
            assert each.value is not None
            assert torch.equal(each.value, labels(Scene(), each.frame.index))


@pytest.mark.parametrize("sides", ["before", "both"])
def test_still_pictures_and_whole_pixels_are_copied_exactly(sides: Keys) -> None:
    still = Scene(step=(0, 0))
    for _, value in values(run(still, 6, 0, sides=sides)):
        assert torch.equal(value, labels(still, 0))
    # The picture goes two pixels to the right. Where it comes into view, and as far as errors are averaged, neighbours
    # decide.
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 9, (HEIGHT, WIDTH), dtype=np.int32))
    pan = Scene(pan=2, side=0)
    flows = linked(pan, 5, both=sides != "before")
    found = carried_labels(flows, lambda frame: noise if frame.index == 0 else None, sides)
    for index, value in values(list(found)):
        left = 2 * index + 2
        assert torch.equal(value[:, left:], noise[:, 2 : WIDTH - 2 * index])


@pytest.mark.parametrize("sides", ["before", "both"])
def test_what_is_uncovered_is_no_ghost(sides: Keys) -> None:
    scene = Scene(step=(6, 0), start=(4, 20))
    for index, value in values(run(scene, 9, 0, sides=sides)):
        assert overlap(value, labels(scene, index)) > 0.85, index
        assert set(value.unique().tolist()) <= {0, 7}


def test_two_keys_are_better_than_one() -> None:
    scene = Scene(step=(9, 0), side=15)
    both, one = (
        np.mean([overlap(value, labels(scene, index)) for index, value in values(found)])
        for found in (run(scene, 9, 0, 8), run(scene, 9, 0, sides="before"))
    )
    assert both >= one
    assert both > 0.93


def test_what_no_key_frame_shows_is_not_sure() -> None:
    scene = Scene(step=(8, 0))
    first, second, third = (each.confidence for each in run(scene, 3, 0, sides="before"))
    assert first is not None
    assert second is not None
    assert third is not None
    left, top = scene.corner(0)
    assert float(first.min()) == 1
    # Uncovered in the second frame, and seen to be so, though nothing hides it from there to the third.
    for found in (second, third):
        assert float(found[top + 4 : top + 17, left + 2 : left + 6].mean()) < 0.2
        assert float(found[:10].mean()) > 0.9


def test_a_frame_that_nothing_reaches_has_no_labels() -> None:
    frames = run(Scene(step=(1, 0)), 6, 3, sides="before")
    assert [each.frame.index for each in frames if each.value is None] == [0, 1, 2]
    assert all(each.confidence is None for each in frames[:3])
