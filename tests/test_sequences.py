from __future__ import annotations

import pytest

from flowcli.sequences import FrameName, count_frames, parse_frame_name, shifted


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("shot_0012", FrameName("shot_", 12, 4)),
        ("7", FrameName("", 7, 1)),
        ("v2.1001", FrameName("v2.", 1001, 4)),
        ("a1234567890", FrameName("a1", 234567890, 9)),
        ("0001_fwd", None),
        ("", None),
    ],
)
def test_the_parts_of_a_name(stem: str, expected: FrameName | None) -> None:
    assert parse_frame_name(stem) == expected
    assert expected is None or str(expected) == stem


def test_names_of_other_frames() -> None:
    assert [shifted("f099", by) for by in (-99, -1, 1, 901)] == ["f000", "f098", "f100", "f1000"]
    assert shifted("f099", -100) is None
    assert shifted("cover", 1) is None


@pytest.mark.parametrize(
    ("stems", "numbers", "step"),
    [
        (["f01", "f02", "f03"], [0, 1, 2], 1),
        (["f10", "f20", "f40"], [0, 1, 3], 10),
        (["f1", "f2", "f4"], [0, 1, 3], 1),
        (["f1", "f3", "f6"], [0, 1, 2], 1),
        (["f1", "g2", "g3"], [0, 1, 2], 1),
        (["f1", "f1", "f2"], [0, 1, 2], 1),
        (["f1", "cover"], [0, 1], 1),
        (["f7"], [0], 1),
    ],
    ids=["row", "tens", "gap", "uneven", "two prefixes", "twice", "no number", "one"],
)
def test_frames_are_counted_by_their_names(stems: list[str], numbers: list[int], step: int) -> None:
    assert count_frames(stems) == (numbers, step)
