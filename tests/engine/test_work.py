"""What goes through a network together, with features whose numbers say of which frame they are."""

from __future__ import annotations

from itertools import chain

import pytest
import torch

from flowcli.engine.schedule import FrameLinks, Link
from flowcli.engine.work import Stream, Work, parted, plan_work, split_ready, stacked
from flowcli.models.base import Features
from tests.fakes import frame


def features(*numbers: int) -> Features:
    """Two tensors, of one and of two channels."""
    values = torch.tensor(numbers, dtype=torch.float32)
    return values.view(-1, 1, 1, 1), 10 * values.view(-1, 1).expand(-1, 2)


@pytest.mark.parametrize(
    ("frames", "parts"),
    [
        ([0], 1),
        ([3], 1),
        ([2, 3, 4], 1),
        ([0, 2, 3], 2),
        ([0, 0, 0], 3),
        ([1, 2], 2),
        ([4, 3, 1, 2, 3], 4),
        ([0, 1], 2),
    ],
)
def test_features_are_stacked_in_order(frames: list[int], parts: int) -> None:
    held, new = [features(0), features(1)], features(2, 3, 4)
    one, two = stacked(held, new, frames)
    assert one.flatten().tolist() == frames
    assert two.tolist() == [[10 * number] * 2 for number in frames]
    there = {each.untyped_storage().data_ptr() for batch in (*held, new) for each in batch}
    assert (one.untyped_storage().data_ptr() in there) == (parts == 1), "copied for nothing, or not at all"


def test_frames_are_counted_held_ones_first() -> None:
    links = [Link(7, 3, both=True), Link(8, 3), Link(8, 9, both=True)]
    work = plan_work(links, held=[3], new=[7, 8, 9], keep={3, 8}, most=2)
    assert work == Work(1, 3, (((1, 0), (2, 0)), ((2, 3),), ((0, 1), (3, 2))), (1,))
    assert hash(work) == hash(plan_work(links, [3], [7, 8, 9], {3, 8}, 2))


def test_parts_have_so_many_links_at_most() -> None:
    ready = [FrameLinks(0), *(FrameLinks(at, (Link(at, 0), Link(at, 9))) for at in (1, 2, 3)), FrameLinks(9)]
    for most, expected in ((1, [2, 1, 2]), (3, [2, 1, 2]), (4, [3, 2]), (5, [3, 2]), (6, [5])):
        parts, rest = [], ready
        while rest:
            part, rest = split_ready(rest, most)
            parts.append(part)
        assert [len(part) for part in parts] == expected
        assert list(chain(*parts)) == ready
    assert split_ready([], 3) == ([], [])


def test_features_of_each_frame() -> None:
    flat = (*features(4), *features(5))
    assert [each[0].item() for each in parted(flat, 2)] == [4, 5]
    assert parted((), 0) == []


def test_what_is_not_kept_is_let_go() -> None:
    stream = Stream({number: frame(number) for number in range(3)}, {1: features(1), 2: features(2)})
    assert stream.size == (65, 97)
    stream.keep({0, 2})
    assert (sorted(stream.frames), sorted(stream.features)) == ([0, 2], [2])
