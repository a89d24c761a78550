from __future__ import annotations

from pathlib import Path

import pytest

from flowcli.carry.naming import parse_words, plan_carried
from flowcli.errors import FlowcliError, OutputError, UsageError
from flowcli.output.options import FrameOptions


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def planned(*targets: str, kinds: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    targets_ = plan_carried(FrameOptions(targets, kinds))
    return [(str(each.output), each.what, each.output.format) for each in targets_]


def test_places_and_kinds() -> None:
    assert planned("m/", "m.mp4", "-") == [
        ("m/", "masks", "png"),
        ("m.mp4", "masks", "mp4"),
        ("stdout", "masks", "y4m"),
    ]
    assert planned("a/", "b/", "c.webm", "d.gif", kinds=("npz", "overlay.jpg", "alpha", "confidence")) == [
        ("a/", "masks", "npz"),
        ("b/", "overlay", "jpg"),
        ("c.webm", "alpha", "webm"),
        ("d.gif", "confidence", "gif"),
    ]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("masks", ("masks", "")),
        ("png", (None, "png")),
        ("overlay", ("overlay", "")),
        ("alpha.mov", ("alpha", "mov")),
    ],
)
def test_words(word: str, expected: tuple[str | None, str]) -> None:
    assert parse_words(word) == expected


@pytest.mark.parametrize(
    ("word", "hint"), [("overly", "did you mean overlay?"), ("flo", "known: "), ("overlay.", "known: ")]
)
def test_unknown_words(word: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"^unknown kind of output: --as {word}$") as caught:
        parse_words(word)
    assert hint.startswith("known") or caught.value.hint == hint


@pytest.mark.parametrize(
    ("target", "kind", "error", "message"),
    [
        ("out.mp4", "alpha", UsageError, "mp4 has no transparency: out.mp4"),
        ("out.npz", "npz", UsageError, "npz files of masks need a folder: out.npz"),
        ("out/", "overlay.npz", UsageError, "npz cannot hold overlay: out/"),
        ("out.png", "masks", UsageError, "one file cannot hold the frames of a sequence: out.png"),
        ("no/where/", "masks", OutputError, "no such folder for the output: no"),
    ],
)
def test_what_cannot_be_written(target: str, kind: str, error: type[FlowcliError], message: str) -> None:
    with pytest.raises(error) as caught:
        planned(target, kinds=(kind,))
    assert caught.value.message == message


def test_no_output_and_the_same_twice() -> None:
    with pytest.raises(UsageError, match=r"^no output is named$"):
        planned()
    with pytest.raises(UsageError, match=r"^two outputs have the same name: m/$"):
        planned("m/", "m/", kinds=("masks", "overlay"))
