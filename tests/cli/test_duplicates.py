"""Frames that repeat others: what pictures show of them, what files of flow hold, and what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowcli.cli.main import main
from flowcli.flowfile import read_flow
from flowcli.pictures import read_picture, write_picture
from tests.moving import camera
from tests.tiny import DOWN

CPU = ("--device", "cpu", "--precision", "fp32")
OUTS = ("--out", "flo/", "--as", "flo", "--out", "hsv/", "--as", "hsv.png", "--out", "arrows/", "--as", "arrows.png")
REPEATS = [1, 3, 5, 7]


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Path) -> None:
    """Animation on twos: each drawing is brighter than the one before, which is flow, by 1 to 4 times as much."""
    monkeypatch.chdir(tmp_path)
    Path("in/clip").mkdir(parents=True)
    for index, drawing in enumerate((0, 0, 1, 1, 2, 2, 3, 3, 4)):
        image = np.clip(camera(1)[0].astype(int) + 2 * drawing * (drawing + 1), 0, 255)
        write_picture(Path(f"in/clip/{index}.png"), image.astype(np.uint8))


def estimate(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["estimate", "in/clip", *OUTS, "--max-flow", "10", "-y", "--json", *words, *CPU]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return said


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def across(index: int) -> float:
    """The mean of u in a file of flow, whose v is everywhere that of the network, or 0 with u."""
    (u, v), valid = read_flow(f"flo/{index}.flo")
    assert valid is None
    assert np.unique(v).tolist() == [DOWN if u.any() or v.any() else 0]
    return float(u.mean())


def drawn(index: int, folder: str = "hsv") -> np.ndarray:
    return read_picture(Path(f"{folder}/{index}.png"))


def test_pictures_hold_the_flow_before_and_files_have_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    said = estimate(capsys)
    assert (said["pairs"], said["cuts"], said["duplicates"]) == (8, [], REPEATS)
    held = [drawn(index) for index in range(8)]
    estimate(capsys, "--duplicates", "keep")
    kept = [drawn(index) for index in range(8)]
    for index in range(8):
        # Before the first motion there is nothing to hold.
        repeated = index % 2 == 0 and index > 0
        np.testing.assert_array_equal(held[index], kept[index - repeated])
        assert (kept[index].max() > 20) == (index % 2 == 1)
        assert (across(index) > 1) == (index % 2 == 1)


def test_they_are_left_out_or_have_no_flow(capsys: pytest.CaptureFixture[str]) -> None:
    said = estimate(capsys, "--duplicates", "zero")
    assert (said["pairs"], said["duplicates"]) == (8, REPEATS)
    for index in range(8):
        uv, _ = read_flow(f"flo/{index}.flo")
        assert uv.any() == (index % 2 == 1)
        assert (drawn(index).max() > 20) == (index % 2 == 1)
    said = estimate(capsys, "--duplicates", "skip")
    assert (said["frames"], said["pairs"], said["duplicates"]) == (5, 4, REPEATS)
    assert names("flo") == ["0.flo", "2.flo", "4.flo", "6.flo"]
    assert [round(across(index) / across(0)) for index in (0, 2, 4, 6)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("word", "fate"),
    [
        ("hold", "pictures hold the flow before, files have what was measured"),
        ("keep", "their flow is what was measured"),
        ("skip", "left out"),
        ("zero", "their flow is zero"),
    ],
)
def test_what_is_said(word: str, fate: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "in/clip", "--out", "flo/", "--duplicates", word, *CPU]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == f"duplicates: 4, at 1, 3, 5, 7: {fate}"


def test_batch_writes_them_down(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = [word for kind in ("flo", "rgb.png", "hsv.png") for word in ("--as", kind)]
    command = ["batch", "in", "--out", "out", "--name", "{name}/{what}", *kinds, "--json", *CPU]

    def record(*words: str) -> tuple[str, list[int], int]:
        code = main([*command, *words])
        out = capsys.readouterr().out
        if code:
            return "refused", [], 0
        found = json.loads(out)
        return found["status"], found["duplicates"], len(list(Path("out").rglob("*.png")))

    assert record() == ("done", REPEATS, 9 + 8)
    assert record() == ("skipped", REPEATS, 9 + 8)
    # Pictures of flow become others; files of flow, and copies of the frames, do not.
    assert record("--duplicates", "keep") == ("refused", [], 0)
    made = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.*") if path.is_file()}
    assert record("--duplicates", "keep", "-y") == ("done", REPEATS, 9 + 8)
    changed = {path for path, time in made.items() if path.stat().st_mtime_ns != time}
    assert {path.parent.name for path in changed if path.suffix != ".jsonl"} == {"hsv"}
    assert record("--duplicates", "skip", "-y") == ("done", REPEATS, 5 + 4)
    assert main([*command, "--interpolate", "x2", "--duplicates", "zero"]) == 2
    assert "--duplicates zero is for flow: made frames have none" in capsys.readouterr().err


def test_two_pictures_are_no_duplicates(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["estimate", "in/clip/2.png", "in/clip/3.png", "--out", "pair.flo", "--json", *CPU]
    assert main([*command, "--duplicates", "zero"]) == 0
    assert json.loads(capsys.readouterr().out)["duplicates"] == []
    assert read_flow("pair.flo")[0].any()
