from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flowcli.cli.main import main
from flowcli.flowfile import read_flow, read_motion, write_flow
from flowcli.output.kinds import CONTAINERS
from flowcli.pictures import read_picture, read_unscaled
from flowcli.video import ffmpeg_path
from tests import reference
from tests.tiny import start, write_pictures

HEIGHT, WIDTH, COUNT = 24, 32, 4
ERRORS = {
    "flo": 0,
    "png": 1 / 128,
    "pfm": 0,
    "flo5": 0,
    "npy": 0,
    "npz": 0,
    "exr": 0,
    "tsn": 0.4,
    "i3d": 20 / 255 + 1e-6,
    "mkv": 1 / 128,
    "nut": 0,
}
"""Pixels that flow may be off after it went through a format."""
NAMES = {"i3d": "i3d.npy", "mkv": "flow.mkv"}
"""What is written and read back; the others are folders."""


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def truth(number: int) -> np.ndarray:
    """Smooth flow within 19 pixels, another one for each number."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([12 * np.sin(x / 20 + number), y / 2 - 6 - number]).astype(np.float32)


@pytest.fixture
def folder() -> Path:
    """0000.flo to 0003.flo, and 0000_bwd.flo to 0003_bwd.flo with minus that."""
    Path("in").mkdir()
    for number in range(COUNT):
        write_flow(f"in/{number:04d}.flo", truth(number))
        write_flow(f"in/{number:04d}_bwd.flo", -truth(number))
    return Path("in")


def names(folder: str | Path) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def off(folder: str, sign: int = 1, tag: str = "") -> float:
    """How far the flows in a folder of .flo files are from the truth at most."""
    files = [name for name in names(folder) if name.endswith("_bwd.flo") == bool(tag)]
    assert len(files) == COUNT
    return max(
        float(np.abs(read_flow(Path(folder, name))[0] - sign * truth(number)).max())
        for number, name in enumerate(files)
    )


def converted(*arguments: Any) -> None:
    assert main(["convert", *map(str, arguments), "-q"]) == 0


HOLD_FLOW = [name for name, form in CONTAINERS.items() if "flow" in form.whats and form.place != "stdout"]


@pytest.mark.slow
@pytest.mark.parametrize("form", HOLD_FLOW)
@pytest.mark.parametrize("both", [False, True])
def test_flow_comes_through_every_format(form: str, both: bool, folder: Path) -> None:
    name = NAMES.get(form, "there/")
    ways = ("--both",) if both else ()
    converted(folder, "-o", name, "--as", f"flow.{form}", *ways)
    read = ("--from", "i3d") if form == "i3d" else ()
    converted(name, "-o", "back/", *read, *ways)
    assert off("back") <= ERRORS[form]
    if both:
        assert off("back", -1, "_bwd") <= ERRORS[form]


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), list(pairwise([*HOLD_FLOW, HOLD_FLOW[0]])))
def test_from_one_format_to_the_next(one: str, other: str, folder: Path) -> None:
    first, second = (f"{number}{NAMES.get(form, '')}" for number, form in enumerate((one, other)))
    converted(folder, "-o", first, "--as", f"flow.{one}")
    converted(first, "-o", second, "--as", f"flow.{other}", *(("--from", "i3d") if one == "i3d" else ()))
    converted(second, "-o", "back/", *(("--from", "i3d") if other == "i3d" else ()))
    assert off("back") <= ERRORS[one] + ERRORS[other] + 1e-4


@pytest.mark.slow
def test_through_a_pipe(folder: Path, tmp_path: Path) -> None:
    program = (sys.executable, "-m", "flowcli", "convert")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    writing = subprocess.Popen([*program, "in", "-o", "-", "--as", "flow"], stdout=subprocess.PIPE, env=environment)
    reading = subprocess.run([*program, "-", "-o", "back/", "-q"], stdin=writing.stdout, env=environment, timeout=120)
    assert writing.stdout is not None
    writing.stdout.close()
    assert (writing.wait(), reading.returncode) == (0, 0)
    assert off("back") == ERRORS["nut"]


def test_every_format_that_holds_flow_has_an_error() -> None:
    assert ERRORS.keys() == {name for name, form in CONTAINERS.items() if "flow" in form.whats}


def test_estimate_writes_all_of_them(folder: Path, tmp_path: Path, table: Path) -> None:
    """The network of the tests finds 10 pixels to the right from each picture to the next."""
    pictures = write_pictures(tmp_path / "pictures", 3)
    outs = [word for form in HOLD_FLOW for word in ("-o", NAMES.get(form, f"{form}/"), "--as", f"flow.{form}")]
    assert main(["estimate", str(pictures), *outs, "--device", "cpu", "--precision", "fp32", "-q"]) == 0
    for form in HOLD_FLOW:
        read = ("--from", "i3d") if form == "i3d" else ()
        converted(NAMES.get(form, form), "-o", f"back_{form}/", *read)
        for name in names(f"back_{form}"):
            uv, _ = read_flow(Path(f"back_{form}", name))
            np.testing.assert_allclose(uv[0], 10, atol=ERRORS[form])
    assert names("exr") == ["f0.exr", "f1.exr"]
    assert names("tsn") == [f"flow_{axis}_0000{number}.jpg" for axis in "xy" for number in (1, 2)]


def test_estimate_writes_an_exr_for_every_frame_both_ways(tmp_path: Path, table: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 3)
    arguments = ("-o", "e/", "--as", "exr", "--both", "--device", "cpu", "--precision", "fp32", "-q")
    assert main(["estimate", str(pictures), *arguments]) == 0
    assert names("e") == ["f0.exr", "f1.exr", "f2.exr"]
    ways = [read_motion(Path("e", name)) for name in names("e")]
    assert [way.forward and float(way.forward[0][0, 0, 0]) for way in ways] == [10, 10, None]
    assert [way.backward and float(way.backward[0][0, 0, 0]) for way in ways] == [None, -10, -10]


def test_pictures_and_videos_are_those_of_estimate(tmp_path: Path, table: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 4)
    outs = ("-o", "c/", "-o", "c.mkv", "-o", "f/", "--as", "color", "--as", "color", "--as", "flo")
    common = ("--legend", "-q")
    assert main(["estimate", str(pictures), *outs, *common, "--device", "cpu", "--precision", "fp32"]) == 0
    converted("f/", "-o", "d/", "-o", "d.mkv", "--as", "color", "--as", "color", "--legend")
    assert names("c") == names("d") == ["f0.png", "f1.png", "f2.png"]
    for name in names("c"):
        np.testing.assert_array_equal(read_picture(Path("c", name)), read_picture(Path("d", name)))
    assert Path("c.mkv").read_bytes() == Path("d.mkv").read_bytes()


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_masks_come_of_flow_both_ways(folder: Path, way: str) -> None:
    # Not the opposite of the forward flow where that changes from pixel to pixel.
    forward, backward = (-truth(1), truth(1)) if way == "backward" else (truth(1), -truth(1))
    converted("in", "-o", "f/", "--occlusion", "o/", "--confidence", "c/", *(("--backward",) * (way == "backward")))
    assert names("f") == [f"{number:04d}.flo" for number in range(COUNT)]
    np.testing.assert_array_equal(read_flow(Path("f/0001.flo"))[0], forward)
    assert names("o") == names("c") == [f"{number:04d}.png" for number in range(COUNT)]
    lost = reference.occluded(forward, backward, 0.01, 0.5)
    assert 0.1 < lost.mean() < 0.9
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    to_x, to_y = x + forward[0], y + forward[1]
    outside = (to_x < -0.5) | (to_x > WIDTH - 0.5) | (to_y < -0.5) | (to_y > HEIGHT - 0.5)
    shown = read_unscaled(Path("o/0001.png")) == 255
    assert shown[outside].all()
    # What the flow leads back to is seen, but for a pixel where smooth edges take it in.
    near = cv2.dilate((lost | outside).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert not (shown & ~near).any()
    agreement = 255 * reference.confidence(forward, backward, 0.01, 0.5)
    assert np.abs(read_unscaled(Path("c/0001.png")) - agreement).max() <= 1


def test_arrows_and_trails_are_drawn_on_black(folder: Path) -> None:
    converted("in", "-o", "a/", "-o", "t/", "--as", "arrows", "--as", "trails.png", "--max-flow", "5", "--both")
    assert names("t") == [f"{number:04d}.png" for number in range(COUNT)]
    for name in (*(f"a/{name}" for name in names("a")), "t/0003.png"):
        image = read_picture(Path(name))
        assert 0.02 < (image.max(axis=2) > 60).mean() < 0.6
        assert (image == 0).all(axis=2).mean() > 0.2


def test_one_file_and_several_outputs(folder: Path) -> None:
    converted("in/0002.flo", "-o", "a.exr", "-o", "a.png", "--as", "exr", "--as", "color", "--max-flow", "20")
    motion = read_motion(Path("a.exr"))
    assert motion.forward is not None
    np.testing.assert_array_equal(motion.forward[0], truth(2))
    assert read_picture(Path("a.png")).shape == (HEIGHT, WIDTH, 3)


def test_bound_and_layout_arrive(folder: Path) -> None:
    converted(
        folder,
        "-o",
        "t/",
        "-o",
        "m.mkv",
        "-o",
        "e/",
        "--as",
        "tsn",
        "--as",
        "flow",
        "--as",
        "exr",
        "--bound",
        64,
        "--exr",
        "stmap",
    )
    converted("t", "-o", "tb/", "--bound", 64)
    assert 0.08 < off("tb") < 1
    done = subprocess.run([ffmpeg_path(), "-i", "m.mkv"], capture_output=True, text=True, check=False)
    assert "R = 32768 + u * 512," in done.stderr
    from tests import exr

    assert set(exr.read(Path("e/0000.exr"))[1]) == {"R", "G", "B"}


def test_kitti_sets_have_sizes_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    Path("k").mkdir()
    for name, width in (("000000_10", 32), ("000001_10", 34)):
        write_flow(f"k/{name}.png", np.ones((2, HEIGHT, width), np.float32))
    converted("k/*.png", "-o", "f/")
    assert names("f") == ["000000_10.flo", "000001_10.flo"]
    assert main(["convert", "k", "-o", "a.mp4"]) == 1
    assert capsys.readouterr().err == (
        "error: flow 000001_10 is 34x24, the first one 32x24\n"
        "hint: write a folder of files: they may have sizes of their own\n"
    )
    assert not Path("a.mp4").exists()


def test_what_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "in", "-o", "a.mp4", "-o", "b", "--max-flow", "8"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("wrote a.mp4, b/: 4 flows, 32x24, ")
    assert main(["convert", "in", "-o", "c.mp4", "--json", "--max-flow", "8"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    summary = json.loads(out)
    assert summary.pop("seconds") >= 0
    described = {"out": "c.mp4", "what": "color", "format": "mp4", "backward": False, "scale": [8, 8]}
    assert summary == {"pairs": 4, "width": 32, "height": 24, "outputs": [described]}


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        ("in -o a.mp4 --as warp", 2, "warp needs the frames: a.mp4", "add --over with what the flow was estimated on"),
        (
            "in -o a.mp4 --style overlay",
            2,
            "overlay needs the frames: a.mp4",
            "add --over with what the flow was estimated on",
        ),
        (
            "in/0000.flo --occlusion a.png --start 1",
            2,
            "No such option '--start'.",
            "flowcli convert --help shows what there is",
        ),
        (
            "alone.flo --occlusion a.png",
            1,
            "no such file: alone_bwd.flo, for the flow both ways",
            "masks and --both need it",
        ),
        ("in -o a.flo", 2, "one file cannot hold the flows of a sequence: a.flo", "give a folder: --out flow/"),
        ("in -o in -y", 1, "output would replace the input: in/", "choose another name"),
        ("in/0000.flo -o in/0000.flo -y", 1, "output would replace the input: in/0000.flo", "choose another name"),
        ("none -o a.mp4", 1, "no such file: none", "check the name"),
        ("in -o a.bin", 1, "unknown suffix .bin: a.bin", None),
        ("in", 2, "no output is named", None),
        ("in -o there.mp4", 1, "output exists already: there.mp4", "pass -y to replace it, or choose another name"),
        ("in -o a.mp4 --bound -1", 2, "Invalid value for '--bound': '-1' is not a number of pixels above 0", None),
        ("in/0000.flo cut.flo -o a.mp4", 1, "not a .flo file: cut.flo", "get the file again"),
    ],
)
def test_what_is_refused_leaves_nothing(
    folder: Path, arguments: str, code: int, error: str, hint: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("there.mp4").write_text("mine")
    Path("cut.flo").write_bytes(b"PIEH")
    write_flow("alone.flo", truth(0))
    before = names(".")
    assert main(["convert", *arguments.split()]) == code
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"error: {error}"
    if hint is not None:
        assert second == f"hint: {hint}"
    assert names(".") == before
    assert Path("there.mp4").read_text() == "mine"
    assert off("in") == 0


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(table: Path) -> None:
    # Far more than a pipe holds.
    np.save("a.npy", np.zeros((20, 2, 200, 300), np.float32))
    process = start(table, ["convert", "a.npy", "-o", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
