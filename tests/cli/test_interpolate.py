from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowcli.cli.main import main
from flowcli.pictures import read_picture, write_picture
from flowcli.video import open_source
from tests.moving import HEIGHT, RATE, WIDTH, camera, write
from tests.video import clips

BLEND = ("--model", "blend")
DIS = ("--flow", "dis", "--device", "cpu")


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Seven frames, ten a second, of a picture that moves 3 pixels to the right in each."""
    return write(tmp_path / "in.mkv", camera(7, pan=3))


@pytest.fixture
def pictures() -> tuple[str, str]:
    """Two pictures, black and of level 200."""
    for name, level in (("a.png", 0), ("b.png", 200)):
        write_picture(Path(name), np.full((13, 18, 3), level, np.uint8))
    return "a.png", "b.png"


def run(*arguments: object) -> None:
    assert main(["interpolate", *map(str, arguments), "-q"]) == 0


def shown(path: str) -> list[np.ndarray]:
    """The pictures of a folder or clip."""
    with open_source(path) as source:
        return [frame.image for frame in source]


def levels(folder: str) -> list[int]:
    return [int(image[0, 0, 0]) for image in shown(folder)]


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Decibels, at most 99, without the border, where what comes in is unknown."""
    inner = (slice(8, -8), slice(8, -8))
    error = np.square(one[inner].astype(float) - other[inner]).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-5)))


def test_twice_the_rate(clip: Path) -> None:
    run(clip, "--fps", "x2", "--out", "out/", *DIS)
    made = shown("out")
    assert sorted(path.name for path in Path("out").iterdir()) == [f"{number:06d}.png" for number in range(14)]
    truth = camera(13, pan=1.5)
    given = shown(str(clip))
    for number in range(0, 13, 2):
        np.testing.assert_array_equal(made[number], given[number // 2])
    for number in range(1, 12, 2):
        mixed = (given[number // 2].astype(float) + given[number // 2 + 1]) / 2
        assert psnr(made[number], truth[number]) > max(30, psnr(mixed, truth[number]) + 6)
    np.testing.assert_array_equal(made[13], given[6])


def offset(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels to the right and down by which a picture lies off, in the mean, by least squares along the gradients."""
    inner = (slice(8, -8), slice(8, -8))
    made, real = (each.astype(float).mean(2) for each in (image, truth))
    down, across = (each[inner].ravel() for each in np.gradient(real))
    difference = (real - made)[inner].ravel()
    found: np.ndarray = np.linalg.lstsq(np.stack((across, down), 1), difference, rcond=None)[0]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("flow", ["dis", "rpwc"])
def test_constant_motion_makes_equal_steps(clip: Path, flow: str) -> None:
    """3 pixels to the right from frame to frame are 3/4 of a pixel in a quarter of the time."""
    run(clip, "--fps", "x4", "--out", "out/", "--flow", flow, "--device", "cpu")
    truth = camera(25, pan=0.75)
    assert offset(truth[1], truth[0]) == pytest.approx((0.75, 0), abs=0.1)
    offsets = [offset(image, real) for image, real in zip(shown("out")[:25], truth, strict=True)]
    # OpenCV, which draws what is true, is 0.05 pixels off itself between two pixels.
    np.testing.assert_allclose(np.diff(offsets, axis=0), 0, atol=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "expected"), [("25", 25), ("x2.5", 25), ("24000/1001", Fraction(24000, 1001)), ("4", 4), ("0.5x", 5)]
)
def test_rates(clip: Path, rate: str, expected: Fraction, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["interpolate", str(clip), "--fps", rate, "--out", "out.mkv", "--json", *BLEND]) == 0
    summary = json.loads(capsys.readouterr().out)
    times = clips.times(Path("out.mkv"))
    assert Fraction(summary["rate"]) == expected
    assert summary["frames"] == len(times) == -(-Fraction(7, 10) * expected // 1)
    # Matroska rounds to a millisecond.
    for number, time in enumerate(times):
        assert abs(time - number / expected) <= Fraction(1, 1000)


def test_slow_motion(clip: Path) -> None:
    run(clip, "--slow", "2.5", "--out", "slow.mp4", *BLEND)
    assert clips.times(Path("slow.mp4")) == [Fraction(number, RATE) for number in range(18)]


def test_variable_times_in_a_constant_rate_out(tmp_path: Path) -> None:
    frames = np.stack([np.full((48, 64, 3), level, np.uint8) for level in (0, 100, 200)])
    clips.vfr(tmp_path / "vfr.mkv", frames, [Fraction(0), Fraction(1, 10), Fraction(1, 2)])
    run("vfr.mkv", "--fps", "20", "--out", "out/", *BLEND)
    assert levels("out")[:10] == [0, 50, *(round(100 + 12.5 * number) for number in range(8))]


@pytest.mark.slow
@pytest.mark.parametrize("size", ["x1.5", "1.5x", "216x144"])
def test_size_alone_keeps_the_times(tmp_path: Path, size: str, capsys: pytest.CaptureFixture[str]) -> None:
    times = [Fraction(0), Fraction(1, 10), Fraction(1, 2)]
    clips.vfr(tmp_path / "vfr.mkv", camera(3), times)
    assert main(["interpolate", "vfr.mkv", "--size", size, "--out", "big.mkv", "--json", *BLEND]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["width"], summary["height"], summary["rate"]) == (216, 144, None)
    assert clips.times(Path("big.mkv")) == times
    assert shown("big.mkv")[0].shape == (144, 216, 3)


def test_between_two_pictures(pictures: tuple[str, str]) -> None:
    run(*pictures, "--times", "0,0.25,1/2,0.75,1", "--out", "between/", *BLEND)
    assert levels("between") == [0, 50, 100, 150, 200]
    run(*pictures, "--times", "0.5", "--out", "middle.png", *BLEND)
    assert int(read_picture(Path("middle.png"))[0, 0, 0]) == 100


def test_speed_ramp(tmp_path: Path) -> None:
    frames = np.stack([np.full((48, 64, 3), level, np.uint8) for level in (0, 100, 200)])
    write(tmp_path / "in.mkv", frames)
    Path("ramp.txt").write_text("0\n0.025\n\n 1/10 \n0.2\n0.2\n9\n")
    run("in.mkv", "--times-from", "ramp.txt", "--out", "out/", *BLEND)
    assert levels("out") == [0, 25, 100, 200, 200, 200]


@pytest.mark.slow
def test_shutter_without_another_rate(clip: Path) -> None:
    """As if each frame had been exposed from half way after the one before to half way to the next, in nine parts."""
    run(clip, "--shutter", "1", "--out", "blurred/", *DIS)
    made, given = shown("blurred"), shown(str(clip))
    ninths = camera(63, pan=1 / 3).astype(float)
    for number in range(1, 6):
        truth = ninths[9 * number - 4 : 9 * number + 5].mean(0)
        assert psnr(made[number], truth) > max(40, psnr(given[number], truth) + 6)
    run(clip, "--shutter", "1", "--out", "blurred.mkv", *DIS)
    assert clips.times(Path("blurred.mkv")) == clips.times(clip)


@pytest.mark.slow
def test_duplicates(tmp_path: Path) -> None:
    """Animation on twos: without its duplicates it moves evenly."""
    write(tmp_path / "twos.mkv", camera(6, pan=3)[np.arange(12) // 2])
    truth = camera(11, pan=1.5)
    run("twos.mkv", "--fps", "10", "--duplicates", "skip", "--out", "skip/", *DIS)
    made = shown("skip")
    run("twos.mkv", "--fps", "10", "--out", "keep/", *DIS)
    kept = shown("keep")
    for number in range(3, 9, 2):
        np.testing.assert_array_equal(kept[number], kept[number - 1])
        assert psnr(made[number], truth[number]) > psnr(kept[number], truth[number]) + 6


def test_cut(tmp_path: Path) -> None:
    images = np.concatenate([camera(6, pan=1), camera(6, pan=1, number=1)])
    write(tmp_path / "cut.mkv", images)
    run("cut.mkv", "--fps", "40", "--out", "out/", *BLEND)
    made = shown("out")
    for number, index in ((21, 5), (22, 5), (23, 6), (24, 6)):
        np.testing.assert_array_equal(made[number], images[index])


def sound(path: Path) -> list[str]:
    return [line for line in clips.banner(path).splitlines() if "Audio:" in line]


@pytest.fixture
def loud(tmp_path: Path) -> Path:
    """A second with a tone."""
    tone = ("-f", "lavfi", "-i", "sine=duration=1", "-c:v", "libx264", "-c:a", "aac")
    return clips.lavfi(tmp_path / "loud.mp4", "testsrc=size=64x48:rate=10:duration=1", *tone)


def seconds_of_sound(path: Path) -> float:
    raw = clips.ffmpeg("-i", path, "-map", "0:a:0", "-ac", "1", "-ar", 8000, "-f", "s16le", "-")
    return len(raw) / 2 / 8000


@pytest.mark.slow
def test_sound(loud: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(loud, "--fps", "20", "--out", "copy.mp4", *BLEND)
    assert seconds_of_sound(Path("copy.mp4")) == pytest.approx(1, abs=0.1)
    run(loud, "--slow", "2", "--audio", "stretch", "--out", "slow.mp4", *BLEND)
    assert seconds_of_sound(Path("slow.mp4")) == pytest.approx(2, abs=0.15)
    for number, options in enumerate((("--fps", "20", "--no-audio"), ("--fps", "20", "--audio", "none"))):
        run(loud, *options, "--out", f"none{number}.mp4", *BLEND)
        assert sound(Path(f"none{number}.mp4")) == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "note"),
    [
        (("--slow", "2"), "--slow changes the pace; add --audio stretch"),
        (("--times", "0,0.5"), "--times changes the pace"),
    ],
)
def test_sound_that_is_left_out(
    loud: Path, options: tuple[str, str], note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["interpolate", str(loud), *options, "--out", "out.mp4", *BLEND]) == 0
    assert capsys.readouterr().err.splitlines()[0] == f"note: audio is not copied: {note}"
    assert sound(Path("out.mp4")) == []


@pytest.mark.slow
def test_summary(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["interpolate", str(clip), "--fps", "20", "--out", "out.mp4", "--json", *DIS]) == 0
    summary: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert summary.pop("seconds") > 0
    assert summary.pop("kernel") in ("native", "fallback")
    assert summary == {
        "frames_in": 7,
        "frames": 14,
        "rate": "20",
        "width": WIDTH,
        "height": HEIGHT,
        "bits": 8,
        "damaged": None,
        "model": "splat",
        "weights": None,
        "flow": {"model": "dis", "weights": None},
        "device": "cpu",
        "precision": "fp32",
        "partial": False,
        "audio": False,
        "outputs": [{"out": "out.mp4", "what": "frames", "format": "mp4", "backward": False, "scale": None}],
    }
    assert main(["interpolate", str(clip), "--fps", "20", "--out", "again.mp4", *BLEND]) == 0
    assert capsys.readouterr().err.startswith(f"wrote again.mp4: 14 frames, {WIDTH}x{HEIGHT}, ")


@pytest.mark.slow
def test_pipes(clip: Path) -> None:
    """y4m on both ends."""
    command = [sys.executable, "-m", "flowcli", "interpolate", "-", "--fps", "20", "--out", "-", "-q", *BLEND]
    sent = clips.ffmpeg("-i", clip, "-pix_fmt", "yuv444p", "-f", "yuv4mpegpipe", "-strict", "-1", "-")
    done = subprocess.run(command, input=sent, capture_output=True, check=True, timeout=60)
    assert done.stdout.startswith(b"YUV4MPEG2 W%d H%d F20:1" % (WIDTH, HEIGHT))
    assert done.stdout.count(b"FRAME\n") == 14


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "nothing is asked for: the frames would stay as they are"),
        (
            ("--fps", "0"),
            2,
            "Invalid value for '--fps': '0' is not a number of frames per second (60, 24000/1001) or a",
        ),
        (("--fps", "x0"), 2, "Invalid value for '--fps': 'x0' is not a number of frames per second"),
        (("--slow", "-1"), 2, "Invalid value for '--slow': '-1' is not a number above 0"),
        (("--size", "2"), 2, "Invalid value for '--size': '2' is not a size (1920x1080) or a multiple (x2, 1.5x)"),
        (("--size", "0x5"), 2, "frames of 0x5 cannot be made"),
        (("--size", "x1000"), 2, "frames of 144000x96000 cannot be made"),
        (("--times", "0.5,0.25"), 2, "Invalid value for '--times': '0.5,0.25' is not a list of times that go forward"),
        (("--shutter", "1.5"), 2, "Invalid value for '--shutter': '1.5' is not a number above 0, and not above 1"),
        (("--slow", "2", "--times", "0"), 2, "--slow and given times contradict each other"),
        (("--times", "0", "--times-from", "t.txt"), 2, "--times and --times-from contradict each other"),
        (("--times-from", "gone.txt"), 1, "cannot read gone.txt: No such file or directory"),
        (("--times-from", "empty.txt"), 1, "no times in empty.txt"),
        (("--times-from", "word.txt"), 1, "line 2 of word.txt is no time: soon"),
        (("--times-from", "back.txt"), 1, "time 3 in back.txt goes back: 0.1"),
        (("--fps", "60", "--flow", "gone"), 1, "unknown model: gone"),
        (("--fps", "60", "--model", "blend", "--flow", "dis"), 2, "--flow says how flow is estimated, blend uses none"),
        (
            ("--fps", "60", "--model", "nearest", "--tile", "off"),
            2,
            "--tile says how flow is estimated, nearest uses none",
        ),
    ],
)
def test_errors(
    arguments: tuple[str, ...], code: int, message: str, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in {"empty": "\n", "word": "0\nsoon\n", "back": "0\n0.2\n0.1\n"}.items():
        Path(f"{name}.txt").write_text(text)
    assert main(["interpolate", str(clip), "--out", "out.mp4", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert not Path("out.mp4").exists()


def test_one_file_for_several_frames(pictures: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["interpolate", *pictures, "--times", "0.2,0.4", "--out", "middle.png"]) == 2
    assert "one file cannot hold the frames of a sequence: middle.png" in capsys.readouterr().err
    assert main(["interpolate", "in.mkv", "--fps", "60", "--out", "in.mkv", "-y"]) == 1
