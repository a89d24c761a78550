"""`flowcli interpolate` with more than 8 bits per channel."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

import flowcli
from flowcli.cli.main import main
from flowcli.pictures import read_unscaled, write_picture
from flowcli.video import open_source
from tests.moving import camera
from tests.video import clips

BLEND = ("--model", "blend")
HEIGHT, WIDTH = 65, 97


def ramp(number: int) -> np.ndarray:
    """(65, 97, 3) uint16: levels between those of 8 bits, brighter with the number."""
    columns = np.linspace(20_000, 22_000, WIDTH)[None, :, None] + 1000 * number
    return np.rint(np.broadcast_to(columns, (HEIGHT, WIDTH, 3))).astype(np.uint16)


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def deep() -> str:
    """Three frames of 16 bits, lossless, ten a second."""
    data = np.stack([ramp(number) for number in range(3)]).astype("<u2").tobytes()
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", f"{WIDTH}x{HEIGHT}", "-r", 10, "-i", "-")
    clips.ffmpeg(*raw, "-c:v", "ffv1", "-pix_fmt", "gbrp16le", "deep.mkv", data=data)
    return "deep.mkv"


@pytest.fixture
def pictures() -> str:
    for number in range(3):
        write_picture(Path(f"{number}.png"), ramp(number))
    return "*.png"


def run(*arguments: object) -> None:
    assert main(["interpolate", *map(str, arguments), "-q"]) == 0


def stored(folder: str) -> list[np.ndarray]:
    return [read_unscaled(path) for path in sorted(Path(folder).iterdir())]


def test_lossless_in_and_out(deep: str) -> None:
    run(deep, "--fps", "x2", "--out", "out/", *BLEND)
    made = stored("out")
    assert [image.dtype for image in made] == [np.uint16] * 6
    for number in range(5):
        expected = (ramp(number // 2).astype(int) + ramp((number + 1) // 2)) / 2
        assert np.abs(made[number] - expected).max() <= 0.5


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_pictures(pictures: str, suffix: str) -> None:
    run(pictures, "--fps", "x2", "--out", "out/", "--as", suffix, *BLEND)
    made = stored("out")
    np.testing.assert_array_equal(made[2], ramp(1))
    assert np.abs(made[1] - (ramp(0).astype(int) + ramp(1)) / 2).max() <= 0.5
    run("0.png", "1.png", "--times", "0.5", "--out", f"middle.{suffix}", *BLEND)
    np.testing.assert_array_equal(read_unscaled(Path(f"middle.{suffix}")), made[1])


def test_tiff_in() -> None:
    colours = ramp(0) + np.array([0, 3000, 9000], np.uint16)
    for number in range(2):
        cv2.imwrite(f"{number}.tiff", colours[..., ::-1])
    run("*.tiff", "--fps", "x2", "--out", "out/", *BLEND)
    for image in stored("out"):
        np.testing.assert_array_equal(image, colours)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "webm"])
def test_ten_bits_in_ten_bits_out(deep: str, suffix: str) -> None:
    even = ("-vf", "crop=96:64:0:0", "-pix_fmt", "yuv420p10le", "-c:v", "libx264", "-crf", "2")
    clips.ffmpeg("-i", deep, *even, "ten.mkv")
    run("ten.mkv", "--fps", "x2", "--crf", "2", "--out", f"out.{suffix}", *BLEND)
    assert "yuv420p10le" in clips.banner(Path(f"out.{suffix}"))
    with open_source(f"out.{suffix}", deep=True) as source:
        assert source.info.bits == 16
        made = [frame.image for frame in source]
    expected = ((ramp(0).astype(int) + ramp(1)) / 2)[:64, :96]
    # Two of 1024 levels; of 256 they would be four times as far apart.
    assert np.abs(made[1] - expected).mean() < 2 * 64
    assert len(np.unique(made[1][30, :, 1])) > 2 * len(np.unique(made[1][30, :, 1] >> 8))


def test_eight_bits_stay_eight() -> None:
    clips.lavfi(Path("in.mp4"), "testsrc=size=64x48:rate=10:duration=0.5", "-pix_fmt", "yuv420p")
    run("in.mp4", "--fps", "20", "--out", "out/", *BLEND)
    assert {image.dtype for image in stored("out")} == {np.dtype(np.uint8)}
    with open_source("in.mp4", deep=True) as source:
        assert source.info.bits == 8


@pytest.mark.slow
def test_pipes(deep: str) -> None:
    sent = clips.ffmpeg("-i", deep, "-pix_fmt", "yuv444p10le", "-f", "yuv4mpegpipe", "-strict", "-1", "-")
    command = [sys.executable, "-m", "flowcli", "interpolate", "-", "--fps", "20", "--out", "-", "-q", *BLEND]
    done = subprocess.run(command, input=sent, capture_output=True, check=True, timeout=60)
    assert b"C444p10" in done.stdout.splitlines()[0]
    assert done.stdout.count(b"FRAME\n") == 6


@pytest.mark.parametrize(
    ("out", "name"), [(("out.gif",), "out.gif"), (("out/", "--as", "jpg"), "out/"), (("out.mkv",), "")]
)
def test_what_holds_less_is_said(
    deep: str, out: tuple[str, ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["interpolate", deep, "--fps", "20", *BLEND, "--out", *out, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["bits"] == 16
    notes = [line for line in printed.err.splitlines() if line.startswith("note")]
    assert notes == ([f"note: {name} has 8 bits per channel, the input more"] if name else [])


def test_motion_in_sixteen_bits() -> None:
    """The same as in 8 bits but for their rounding: levels between those of 8 bits are kept."""
    images = camera(2, pan=3)
    for number, image in enumerate(images):
        write_picture(Path(f"{number}.png"), image)
        write_picture(Path(f"deep{number}.png"), image.astype(np.uint16) * 257)
    for name in ("", "deep"):
        run(f"{name}0.png", f"{name}1.png", "--times", "0.5", "--out", f"out{name}.png", "--flow", "dis")
    shallow, deep = read_unscaled(Path("out.png")), read_unscaled(Path("outdeep.png"))
    assert np.abs(deep / 257 - shallow).max() <= 0.5
    assert (deep % 257 != 0).mean() > 0.5


def test_python(deep: str) -> None:
    times = [Fraction(number, 20) for number in range(3)]
    for wanted, dtype in ((False, np.uint8), (True, np.uint16)):
        made = list(flowcli.interpolate(deep, times, model="blend", deep=wanted))
        assert {frame.image.dtype for frame in made} == {np.dtype(dtype)}
    given = [flowcli.Frame(ramp(number), number, Fraction(number, 10)) for number in range(2)]
    made = list(flowcli.interpolate(given, times, model="blend"))
    np.testing.assert_array_equal(made[0].image, ramp(0))


def test_pictures_of_different_depths(capsys: pytest.CaptureFixture[str]) -> None:
    write_picture(Path("0.png"), ramp(0))
    write_picture(Path("1.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert main(["interpolate", "0.png", "1.png", "--times", "0.5", "--out", "out.png", *BLEND]) == 1
    error = "error: 1.png has 8 bits per channel, but 0.png has 16\nhint: convert them to the same depth\n"
    assert capsys.readouterr().err == error


def test_a_picture_of_floats(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        cv2.imwrite(f"{number}.tiff", ramp(number).astype(np.float32))
    assert main(["interpolate", "0.tiff", "1.tiff", "--times", "0.5", "--out", "out.png", *BLEND]) == 1
    assert capsys.readouterr().err.startswith("error: a picture of float32 values: 0.tiff\n")
