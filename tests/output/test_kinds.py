from __future__ import annotations

import pytest

from flowcli.errors import UsageError
from flowcli.output.kinds import (
    CONTAINERS,
    NEED_BOTH,
    NEED_FRAMES,
    STYLES,
    WHATS,
    either,
    parse_kind,
    sequence_kind,
    suffix_of,
)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("color", ("color", None)),
        ("png", (None, "png")),
        ("warp.png", ("warp", "png")),
        ("arrows", ("arrows", None)),
        ("side-by-side.mp4", ("side-by-side", "mp4")),
        ("occlusion.png", ("occlusion", "png")),
    ],
)
def test_words(word: str, expected: tuple[str | None, str | None]) -> None:
    assert parse_kind(word) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("color", ("color", "mp4", ".mp4")),
        ("trails", ("trails", "mp4", ".mp4")),
        ("confidence.png", ("confidence", "png", "/")),
        ("flow", ("flow", "flo", "/")),
        ("i3d", ("flow", "i3d", ".npy")),
        ("rgb", ("rgb", "jpg", "/")),
        ("rgb.mp4", ("rgb", "mp4", ".mp4")),
        ("stats", ("stats", "csv", ".csv")),
        ("json", ("stats", "json", ".json")),
    ],
)
def test_words_for_a_sequence(word: str, expected: tuple[str, str, str]) -> None:
    assert sequence_kind(word) == expected


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("arows", "unknown kind of output: --as arows", "did you mean arrows?"),
        ("trails.npg", "unknown kind of output: --as trails.npg", "did you mean trails.png?"),
        ("trails.flo", "flo cannot hold trails: --as trails.flo", "flo holds flow"),
        ("flow.mov", "mov cannot hold flow: --as flow.mov", "mov holds color, warp, occlusion, confidence or rgb"),
    ],
)
def test_words_that_are_none(word: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_kind(word)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_stdout_is_not_for_sequences() -> None:
    with pytest.raises(UsageError, match=r"^y4m is for stdout: --as hsv\.y4m$"):
        sequence_kind("hsv.y4m")


def test_every_picture_is_held_by_every_format_of_pictures() -> None:
    pictures = [form for form in CONTAINERS.values() if "color" in form.whats]
    assert len(pictures) == 9
    for form in pictures:
        assert form.whats[0] == "color"
        assert set(WHATS) - {"flow", "stats"} <= set(form.whats)
    assert set(STYLES) | NEED_BOTH | NEED_FRAMES < set(WHATS)


def test_names() -> None:
    assert (suffix_of("mp4"), suffix_of("tsn"), suffix_of("i3d")) == (".mp4", ".jpg", ".npy")
    assert [either(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a or b", "a, b or c"]
