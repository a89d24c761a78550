"""`flowcli batch --interpolate`: frames between frames of many videos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flowcli.cli.main import main
from flowcli.video import open_source
from tests.moving import camera, write
from tests.video.clips import banner, lavfi, times

BLEND = ("-m", "blend", "--device", "cpu")


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """clips/one.mkv of 4 frames and clips/more/two.mkv of 3."""
    (tmp_path / "clips" / "more").mkdir(parents=True)
    write(tmp_path / "clips" / "one.mkv", camera(4, pan=3))
    write(tmp_path / "clips" / "more" / "two.mkv", camera(3, pan=2))
    return tmp_path / "clips"


def batch(*arguments: str) -> int:
    return main(["batch", "clips", "--out", "out", *arguments])


def shown(path: str) -> list[np.ndarray]:
    with open_source(path) as source:
        return [frame.image for frame in source]


@pytest.mark.slow
def test_the_frames_of_the_command_for_one(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--interpolate", "x2", "--as", "mkv", "--as", "png", "--name", "{folder}/{stem}_{format}")
    assert batch(*options, "-m", "dis", "--device", "cpu") == 0
    assert capsys.readouterr().err.startswith("2 items: 2 done; 14 frames in ")
    command = ("interpolate", "clips/one.mkv", "--fps", "x2", "--flow", "dis", "--device", "cpu", "-q")
    assert main([*command, "--out", "one.mkv", "--out", "one/"]) == 0
    assert Path("out/one_mkv.mkv").read_bytes() == Path("one.mkv").read_bytes()
    for made, expected in zip(shown("out/one_png"), shown("one"), strict=True):
        np.testing.assert_array_equal(made, expected)
    assert len(shown("out/more/two_png")) == 6


@pytest.mark.slow
def test_a_second_run_has_nothing_to_do_unless_the_wish_is_another(
    clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch("--interpolate", "20", *BLEND, "-q") == 0
    assert len(times(Path("out/one.mp4"))) == 8
    assert batch("--interpolate", "20", *BLEND) == 0
    assert capsys.readouterr().err == "2 items: 2 skipped\n"
    for more, frames in ((("--slow", "2"), 16), (("--size", "x0.5"), 8), (("--duplicates", "skip"), 8)):
        assert batch("--interpolate", "20", *more, *BLEND, "-y") == 0
        assert capsys.readouterr().err.startswith("2 items: 2 done")
        assert len(times(Path("out/one.mp4"))) == frames
    assert batch("--interpolate", "20", "-m", "nearest", "--json", "-y") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["status"], each["weights"], each["flows"]) for each in lines] == [
        ("done", "nearest", 6),
        ("done", "nearest", 8),
    ]


@pytest.mark.slow
def test_sound_is_taken_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("clips").mkdir()
    tone = ("-f", "lavfi", "-i", "sine=duration=1", "-c:v", "libx264", "-c:a", "aac")
    lavfi(Path("clips/loud.mp4"), "testsrc=size=64x48:rate=10:duration=1", *tone)
    assert batch("--interpolate", "x2", *BLEND) == 0
    assert "Audio: aac" in banner(Path("out/loud.mp4"))
    capsys.readouterr()
    assert batch("--interpolate", "x1", "--slow", "2", *BLEND, "-y") == 0
    assert "Audio" not in banner(Path("out/loud.mp4"))
    why = "audio is not copied: --slow changes the pace; add --audio stretch"
    assert capsys.readouterr().err.splitlines()[0] == f"warning: {tmp_path}/clips/loud.mp4: {why}"


@pytest.mark.slow
def test_a_network_that_makes_frames(
    clips: Path, small_videoinr: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowcli.bench import random_weights

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    file = random_weights("videoinr", tmp_path).file
    assert batch("--interpolate", "x2", "--size", "60x40", "--as", "png", "-m", str(file), "--workers", "2", "-q") == 0
    assert {image.shape for image in shown("out/one")} == {(40, 60, 3)}


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("--slow", "2"), "--slow and --size are for made frames", "add --interpolate x2, or x1"),
        (
            ("--interpolate", "x2", "--fps", "30"),
            "--fps and --interpolate contradict each other",
            "give the rate to --interpolate alone",
        ),
        (
            ("--interpolate", "x2", "--as", "flo"),
            "unknown kind of pictures: --as flo",
            "known: mp4 mkv mov webm gif png jpg tif y4m",
        ),
        (
            ("--interpolate", "x2", "--as", "y4m"),
            "y4m is for stdout: --as y4m",
            "name a kind of file: --as mp4 --as png",
        ),
    ],
)
def test_errors_come_before_any_work(
    arguments: tuple[str, ...], message: str, hint: str, clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(*arguments) == 2
    assert capsys.readouterr().err == f"error: {message}\nhint: {hint}\n"
    assert not Path("out").exists()
