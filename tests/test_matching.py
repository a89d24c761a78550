from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from flowcli.errors import InputError
from flowcli.matching import match_frames
from flowcli.types import FlowField, FlowPair, Frame

IMAGE = np.zeros((3, 4, 3), np.uint8)


def frames(*names: str) -> Iterator[Frame]:
    return (Frame(IMAGE, index, name=name) for index, name in enumerate(names))


def stored(*names: tuple[str, str | None]) -> Iterator[FlowPair]:
    """Flow as it is read from files: the frame it belongs to, and what the file says is the other."""
    for index, (own, other) in enumerate(names):
        first = Frame(IMAGE, index, name=own)
        yield FlowPair(first, Frame(IMAGE, index + 1, name=other), FlowField(torch.zeros(2, 3, 4)), at=first)


def matched(pairs: Iterator[FlowPair], shown: Iterator[Frame]) -> list[tuple[str, str]]:
    return [(pair.first.stem, pair.second.stem) for pair in match_frames(pairs, shown, "in", by_name=True)]


def test_flow_finds_its_frames_by_name() -> None:
    shown = ("f0", "f1", "f2", "f3", "f5", "f6")
    assert matched(stored(("f1", "f2"), ("f2", "f3")), frames(*shown)) == [("f1", "f2"), ("f2", "f3")]
    # Every second frame, the last one repeated.
    assert matched(stored(("f0", "f2"), ("f2", "f4")), frames("f0", "f1", "f2", "f3")) == [("f0", "f2"), ("f2", "f2")]
    # Across a gap, and without flow across it.
    assert matched(stored(("f2", "f3"), ("f3", "f4"), ("f5", "f6")), frames(*shown))[1] == ("f3", "f5")
    assert matched(stored(("f3", "f4")), frames(*shown)) == [("f3", "f5")]
    assert matched(stored(("f2", "f3"), ("f5", "f6")), frames(*shown)) == [("f2", "f3"), ("f5", "f6")]
    assert matched(stored(("f6", "f7")), frames(*shown)) == [("f6", "f6")]


def test_no_more_frames_are_held_than_flow_leads_over() -> None:
    taken = 0

    def counted() -> Iterator[Frame]:
        nonlocal taken
        for frame in frames(*(f"f{number}" for number in range(100))):
            taken += 1
            yield frame

    pairs = stored(*((f"f{number}", f"f{number + 2}") for number in range(90)))
    for count, _ in enumerate(match_frames(pairs, counted(), "in", by_name=True)):
        assert taken <= count + 3


def test_flow_without_a_frame() -> None:
    with pytest.raises(InputError, match="no frame for flow f9 in in"):
        matched(stored(("f9", None)), frames("f1"))
