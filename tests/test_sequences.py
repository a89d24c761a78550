from __future__ import annotations

from pathlib import Path

import pytest

from flowcli.sequences import FrameName, arrange, count_frames, parse_frame_name, shifted


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("shot_0012", FrameName("shot_", 12, 4)),
        ("7", FrameName("", 7, 1)),
        ("v2.1001", FrameName("v2.", 1001, 4)),
        ("1403636579763555584", FrameName("", 1403636579763555584, 19)),
        ("0001_left", FrameName("", 1, 4, "_left")),
        ("f.-003", FrameName("f.", -3, 4)),
        ("-3", FrameName("", -3, 2)),
        ("shot-003", FrameName("shot-", 3, 3)),
        ("2-3", FrameName("2-", 3, 1)),
        ("cover", None),
        ("", None),
    ],
)
def test_the_parts_of_a_name(stem: str, expected: FrameName | None) -> None:
    assert parse_frame_name(stem) == expected
    assert expected is None or str(expected) == stem


def test_names_of_other_frames() -> None:
    assert [shifted("f099", by) for by in (-99, -1, 1, 901)] == ["f000", "f098", "f100", "f1000"]
    assert shifted("f099", -100) is None
    assert [shifted("f.-001", by) for by in (-1, 1, 2)] == ["f.-002", "f.0000", "f.0001"]
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


SUFFIXES = (".png", ".jpg")


def arranged(*names: str) -> tuple[list[str], list[int], tuple[str, ...]]:
    found = arrange(map(Path, names), SUFFIXES)
    return [file.as_posix() for file in found.files], sorted(found.starts), found.notes


@pytest.mark.parametrize(
    ("names", "ordered", "starts", "notes"),
    [
        ("f10 f9 f8", "f8 f9 f10", [], []),
        ("f10 f20 f30", "f10 f20 f30", [], []),
        ("f1 f2 f3 f6 f7", "f1 f2 f3 f6 f7", [3], ["a gap: after f3 comes f6"]),
        ("f10 f20 f40 f50", "f10 f20 f40 f50", [2], ["a gap: after f20 comes f40"]),
        (
            "f1 f2 f4 f5 f7 f8 f10 f11 f13 f14",
            "f1 f2 f4 f5 f7 f8 f10 f11 f13 f14",
            [2, 4, 6, 8],
            ["4 gaps: after f2 comes f4, after f5 comes f7, after f8 comes f10 and 1 more"],
        ),
        ("t100 t133 t167 t200", "t100 t133 t167 t200", [], []),
        ("f3 f7 f8 f20 f31", "f3 f7 f8 f20 f31", [], []),
        ("a1 b1 a2 b2", "a1 a2 b1 b2", [2], ["2 sequences: a1 to a2, b1 to b2"]),
        ("1_left 1_right 2_left 2_right", "1_left 2_left 1_right 2_right", [2],
         ["2 sequences: 1_left to 2_left, 1_right to 2_right"]),
        ("one/1 one/2 two/3", "one/1 one/2 two/3", [2], ["2 sequences: 1 to 2, 3"]),
        ("1 2 cover", "1 2 cover", [2], ["2 sequences: 1 to 2, cover"]),
        ("f.-002 f.-001 f.000 f.001", "f.-002 f.-001 f.000 f.001", [], []),
        ("f-2 f-1 f0 f1", "f-2 f-1 f0 f1", [], []),
        ("-1 -2 0", "-2 -1 0", [], []),
        ("shot-1 shot-2 shot-3", "shot-1 shot-2 shot-3", [], []),
        ("shot-1 shot-2 shot7 shot8", "shot7 shot8 shot-1 shot-2", [2],
         ["2 sequences: shot7 to shot8, shot-1 to shot-2"]),
        ("cat dog bird", "bird cat dog", [], []),
        ("cat1 dog2 bird", "bird cat1 dog2", [], []),
    ],
)  # fmt: skip
def test_files_by_the_numbers_in_their_names(names: str, ordered: str, starts: list[int], notes: list[str]) -> None:
    files, places, said = arranged(*(f"{name}.png" for name in names.split()))
    assert [file.removesuffix(".png") for file in files] == ordered.split()
    assert (places, [each.replace(".png", "") for each in said]) == (starts, notes)


def test_of_several_files_of_one_frame_one_is_taken() -> None:
    assert arranged("f1.jpg", "f1.png", "f2.jpg", "f2.png") == (
        ["f1.png", "f2.png"],
        [],
        ("several files of one frame, left out: f1.jpg, f2.jpg",),
    )
    assert arranged("f1.jpg", "f1.png", "f2.jpg", "f3.png", "f4.JPG") == (
        ["f1.jpg", "f2.jpg", "f3.png", "f4.JPG"],
        [],
        ("several files of one frame, left out: f1.png",),
    )
    assert arranged("f1.jpg", "f1.png") == (["f1.jpg", "f1.png"], [], ())


def test_numbered_files_are_told_from_others() -> None:
    assert arrange([Path("f1.png"), Path("f3.png")], SUFFIXES).numbered
    assert not arrange([Path("poster1.png"), Path("fanart2.png")], SUFFIXES).numbered
