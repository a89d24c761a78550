from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from flowcli.cli.main import main
from flowcli.evaluation.masks import count_scores, find_clips, trials
from flowcli.evaluation.options import MaskOptions
from flowcli.pictures import write_picture
from tests.carry.known import HEIGHT, WIDTH, Scene

SCENE = Scene(step=(1, 0), side=20)
"""A square that goes one pixel to the right in each frame: n frames later, copies share 20 - n of 20 + n columns."""
COUNT = 13


def write_clip(folder: Path, frames: str = "frames", masks: str = "masks", classes: bool = False) -> None:
    for name in (frames, masks):
        (folder / name).mkdir(parents=True)
    for index in range(COUNT):
        write_picture(folder / frames / f"{index:05d}.png", SCENE.frame(index).image)
        mask = SCENE.mask(index).astype(np.uint8) * 255
        if classes:
            mask = np.where(mask > 0, 3, 1).astype(np.uint8)
            mask[:10] = 11
        write_picture(folder / masks / f"{index:05d}.png", mask)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """`one` has a square for its only label, `several` the same with 1 around it, and 11 above."""
    write_clip(tmp_path / "clips" / "one")
    write_clip(tmp_path / "clips" / "several", classes=True)
    return tmp_path / "clips"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    words = ("--task", "masks", "-m", "dis", "--device", "cpu", "--every", "4")
    assert main(["eval", *map(str, arguments), *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_which_frames_are_measured() -> None:
    one, *others = trials(13, 4)
    assert (one.keys, one.stop) == ((0,), 13)
    assert one.measured == {"first 10": range(1, 11), "first 25": range(1, 13)}
    (several,) = others
    assert (several.keys, several.stop, several.measured) == ((0, 4, 8, 12), 13, {"every 4": range(12)})
    assert [(each.keys, each.stop) for each in trials(50, 10)] == [
        ((0,), 26),
        ((20,), 46),
        ((0, 10, 20, 30, 40), 41),
    ]
    assert trials(5, 6) == []


@pytest.mark.slow
def test_numbers(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, clips, "--baseline", "copy", "--baseline", "dis", "--ignore", 11, "--json"))
    sets = {(each["given"], each["method"]): each for each in found["sets"]}
    assert list(sets) == [
        (given, method) for method in ("dis", "copy", "dis chain") for given in ("first 10", "first 25", "every 4")
    ]
    shifted = [(20 - n) / (20 + n) for n in range(13)]
    assert sets["first 10", "copy"]["J"] == pytest.approx(np.mean(shifted[1:11]), abs=1e-4)
    assert sets["first 25", "copy"]["J"] == pytest.approx(np.mean(shifted[1:13]), abs=1e-4)
    # Of each four frames one is a key frame, and the others are 1, 2 and 1 frames from one.
    assert sets["every 4", "copy"]["J"] == pytest.approx(np.mean([shifted[1], shifted[2], shifted[1]]), abs=1e-4)
    square, around = 20.0 * 20, 55.0 * WIDTH - 20 * 20
    ious = [(20 - n) * 20 for n in range(1, 11)]
    own = sum(ious) / sum(2 * square - each for each in ious)
    rest = sum(around - (square - each) for each in ious) / sum(around + (square - each) for each in ious)
    assert sets["first 10", "copy"]["mIoU"] == pytest.approx((own + rest) / 2, abs=1e-4)
    for given in ("first 10", "every 4"):
        assert sets[given, "dis"]["J"] > sets[given, "copy"]["J"] + 0.05
        assert sets[given, "dis chain"]["F"] > sets[given, "copy"]["F"]
    rows = {(each["sequence"], each["given"]): each for each in found["sequences"] if each["method"] == "copy"}
    assert rows["one", "first 10"]["mIoU"] is None
    assert rows["several", "first 10"]["J"] is None
    assert all(each["sequences"] == 2 for each in found["sets"])


@pytest.mark.slow
def test_the_table_and_csv(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rows = (line.split() for line in run(capsys, clips / "one", "--baseline", "copy", "-v").splitlines())
    assert header == ["given", "sequence", "method", "J", "F", "s/frame"]
    assert [row[:4] for row in rows[:3]] == [
        ["first", "10", "1", "dis"],
        ["first", "25", "1", "dis"],
        ["every", "4", "1", "dis"],
    ]
    assert rows[-3][:4] == ["first", "10", "one", "copy"]
    assert rows[-3][4] == f"{100 * np.mean([(20 - n) / (20 + n) for n in range(1, 11)]):.1f}%"
    table = list(csv.DictReader(io.StringIO(run(capsys, clips, "--baseline", "copy", "--csv"))))
    assert list(table[0]) == ["given", "sequence", "sequences", "method", "J", "F", "mIoU", "seconds"]
    assert len(table) == 2 * 3 + 2 * 2 * 3
    # The bar knows their number beforehand, for each method.
    assert count_scores(find_clips(clips), MaskOptions(interval=4)) == 2 * 3


@pytest.mark.slow
def test_the_folders_of_davis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(tmp_path / "DAVIS", "JPEGImages/480p/dog", "Annotations/480p/dog")
    found = json.loads(run(capsys, tmp_path / "DAVIS", "--json"))
    assert {each["sequence"] for each in found["sequences"]} == {"dog"}


def test_what_is_wrong_is_named(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error(*arguments: object) -> tuple[int, str]:
        code = main(["eval", *map(str, arguments), "--device", "cpu"])
        return code, capsys.readouterr().err.splitlines()[0]

    masks = ("--task", "masks")
    (tmp_path / "empty").mkdir()
    assert error(tmp_path / "gone", *masks) == (1, f"error: no such folder: {tmp_path}/gone")
    assert error(tmp_path / "empty", *masks) == (1, f"error: no sequences with masks in {tmp_path}/empty")
    assert error(clips, *masks, "--save", "x") == (2, "error: --save is for flow")
    for words in (("--ignore", 0), ("--refine-edges",)):
        expected = (2, "error: --ignore and --refine-edges are for masks")
        assert error(clips, *words) == expected
        assert error(clips, "--task", "frames", *words) == expected
    assert error(clips, "--baseline", "copy") == (2, "error: no baseline has the name copy")
    assert error(clips, *masks, "--baseline", "mean") == (2, "error: no baseline has the name mean")
    assert error(clips, "--every", 5) == (2, "error: --every is for frames and masks")
    (clips / "one/masks/00003.png").unlink()
    alone = f"error: 00003 has only a frame, or only a mask, in {clips}/one/frames and {clips}/one/masks"
    assert error(clips, *masks) == (1, alone)
    write_picture(clips / "one/masks/00003.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    write_picture(clips / "one/frames/00000.png", np.zeros((HEIGHT, WIDTH + 1, 3), np.uint8))
    sizes = (
        f"masks in {clips}/one/masks are {WIDTH}x{HEIGHT}, but frames of {clips}/one/frames are {WIDTH + 1}x{HEIGHT}"
    )
    assert error(clips, *masks, "-m", "dis") == (1, f"error: {sizes}")
