"""Cuts on the way to the engine: where they are found, and what stands in the place of flow across them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowcli
from flowcli import FlowPair, Frame
from flowcli.errors import InputError
from flowcli.types import Direction, Last
from tests.moving import HEIGHT, WIDTH, as_frames, camera

pytestmark = pytest.mark.usefixtures("table")

ONE, OTHER, THIRD = (camera(7, pan=2, number=number) for number in range(3))


def estimated(images: Any, **options: Any) -> list[FlowPair]:
    given = as_frames(images) if isinstance(images, np.ndarray) else images
    return list(flowcli.estimate(given, device="cpu", precision="fp32", **options))


def ends(pairs: list[FlowPair]) -> list[tuple[int, int]]:
    return [(pair.first.index, pair.second.index) for pair in pairs]


def unknown(pairs: list[FlowPair]) -> list[int]:
    """Places of the pairs without any flow; all others have flow everywhere."""
    for pair in pairs:
        assert pair.forward.uv.shape == (2, HEIGHT, WIDTH)
        assert np.isnan(pair.forward.numpy()).mean() in (0, 1)
    return [place for place, pair in enumerate(pairs) if np.isnan(pair.forward.numpy()).all()]


def test_flow_across_a_cut_is_unknown_and_all_other_flow_as_without_it() -> None:
    clip = np.concatenate((ONE, OTHER[:2], THIRD))
    pairs = estimated(clip)
    assert ends(pairs) == [(index, index + 1) for index in range(15)]
    assert unknown(pairs) == [6, 8]
    assert [pair.at.index for pair in pairs] == list(range(15))
    assert [pair.second.cut for pair in pairs] == [place in (6, 8) for place in range(15)]
    whole = estimated(clip, cuts="off")
    assert ends(whole) == ends(pairs)
    assert unknown(whole) == []
    assert not any(pair.second.cut for pair in whole)
    for place in set(range(15)) - {6, 8}:
        np.testing.assert_array_equal(pairs[place].forward.uv, whole[place].forward.uv)


@pytest.mark.parametrize("direction", ["backward", "both"])
def test_both_directions(direction: Direction) -> None:
    pairs = estimated(np.concatenate((ONE, OTHER)), direction=direction)
    backward = direction == "backward"
    assert ends(pairs) == [(index + backward, index + (not backward)) for index in range(13)]
    assert unknown(pairs) == [6]
    assert [pair.at.index for pair in pairs] == list(range(13))
    for place, pair in enumerate(pairs):
        assert (pair.backward is None) == backward
        if pair.backward is not None:
            assert np.isnan(pair.backward.numpy()).all() == (place == 6)


@pytest.mark.parametrize("last", ["repeat", "zero"])
def test_the_last_frame_of_a_shot_has_what_was_asked_for(last: Last) -> None:
    pairs = estimated(np.concatenate((ONE, OTHER)), last=last)
    assert ends(pairs) == [(index, index + (index not in (6, 13))) for index in range(14)]
    assert unknown(pairs) == []
    for place in (6, 13):
        expected = pairs[place - 1].forward.uv if last == "repeat" else np.zeros((2, HEIGHT, WIDTH))
        np.testing.assert_array_equal(pairs[place].forward.uv, expected)


def test_a_shot_of_one_frame_has_unknown_flow_whatever_the_last_one_gets() -> None:
    pairs = estimated(np.concatenate((ONE[:1], OTHER)), last="repeat")
    assert ends(pairs) == [*((index, index + 1) for index in range(7)), (7, 7)]
    assert unknown(pairs) == [0]


def test_two_frames_are_a_pair_also_between_gaps() -> None:
    two = np.stack((ONE[0], OTHER[0]))
    assert unknown(estimated(two)) == []
    assert unknown(estimated(np.concatenate((two, OTHER[1:])))) == [0]
    # Each pair begins after a gap, as in the folders of benchmarks.
    pairs = as_frames(np.concatenate((two, two[::-1], two)))
    marked = [replace(frame, cut=frame.index % 2 == 0) for frame in pairs]
    made = estimated(marked)
    assert ends(made) == [(0, 1), (2, 3), (4, 5)]
    assert unknown(made) == []


def test_pairs_of_pictures_that_are_named(tmp_path: Path) -> None:
    from flowcli.pictures import write_picture

    for name, image in (("a.png", ONE[0]), ("b.png", OTHER[0])):
        write_picture(tmp_path / name, image)
    pairs = list(flowcli.estimate(tmp_path / "a.png", tmp_path / "b.png", device="cpu", precision="fp32"))
    assert unknown(pairs) == []


TWOS = ONE[[0, 0, 1, 1, 2, 2, 3]]


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_frames_that_repeat_the_one_before(direction: Direction) -> None:
    clip = np.concatenate((TWOS, OTHER[[0, 0, 1, 2]]))
    plain = estimated(clip, direction=direction, duplicates="keep")
    found = [place in (0, 2, 4, 7) for place in range(10)]
    for duplicates in ("hold", "keep", "zero"):
        pairs = estimated(clip, direction=direction, duplicates=duplicates)
        assert [pair.repeats for pair in pairs] == found
        assert unknown(pairs) == [6]
        for pair, other in zip(pairs, plain, strict=True):
            zero = duplicates == "zero" and pair.repeats
            expected = np.zeros((2, HEIGHT, WIDTH)) if zero else other.forward.numpy()
            np.testing.assert_array_equal(pair.forward.numpy(), expected)
            assert (pair.backward is not None) == (direction == "both")
            if pair.backward is not None and zero:
                assert not pair.backward.uv.any()
    left = estimated(clip, direction=direction, duplicates="skip")
    assert [pair.at.index for pair in left] == [0, 2, 4, 6, 7, 9]
    assert unknown(left) == [3]


def test_none_is_sought_of_two_frames_or_where_that_is_off() -> None:
    two = ONE[[0, 0]]
    assert [pair.repeats for pair in estimated(two)] == [False]
    marked = [replace(frame, cut=frame.index % 2 == 0) for frame in as_frames(np.concatenate((two, two)))]
    assert [pair.repeats for pair in estimated(marked)] == [False, False]
    assert not any(pair.repeats for pair in estimated(TWOS, cuts="off", duplicates="keep"))
    assert [pair.repeats for pair in estimated(TWOS, cuts="off")] == [True, False] * 3


def test_no_flow_is_estimated_across_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    network = importlib.import_module("flowcli.models.flow.brightness").MODEL
    counted = []
    decode = network.decode

    def counting(self: Any, first: Any, second: Any) -> Any:
        counted.append(len(first[0]))
        return decode(self, first, second)

    monkeypatch.setattr(network, "decode", counting)
    assert len(estimated(np.concatenate((ONE, OTHER)))) == 13
    assert sum(counted) == 12


def test_what_came_before_an_error_comes_first() -> None:
    def broken() -> Iterator[Frame]:
        yield from as_frames(ONE)
        raise InputError("frame 7 is damaged")

    pairs = flowcli.estimate(broken(), device="cpu", precision="fp32")
    assert [next(pairs).at.index for _ in range(6)] == list(range(6))
    with pytest.raises(InputError, match=r"^frame 7 is damaged$"):
        next(pairs)
