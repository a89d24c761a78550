"""`flowcli in.mp4`: what a first look writes, and what it takes for an input."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from flowcli.cli.main import looks_like_input, main
from flowcli.pictures import read_picture, write_picture
from flowcli.video import ffmpeg_path, open_source
from tests import moving


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pictures(folder: str = "frames", count: int = 3) -> list[str]:
    names = [f"{folder}/{index}.png" for index in range(count)]
    Path(folder).mkdir()
    for name, image in zip(names, moving.camera(count, pan=2), strict=True):
        write_picture(Path(name), image)
    return names


@pytest.mark.slow
def test_a_video_becomes_one_beside_its_flow_with_sound(capsys: pytest.CaptureFixture[str]) -> None:
    source = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=1", "-f", "lavfi", "-i", "sine=duration=1"]
    Path("clips").mkdir()
    for name in ("clips/in.mp4", "clips/other.mkv"):
        subprocess.run([ffmpeg_path(), "-v", "error", *source, name], check=True, stdin=subprocess.DEVNULL)
    assert main(["clips/in.mp4", "clips/other.mkv"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("warning")]
    assert lines[0].startswith("wrote clips/in_flow.mp4: 9 flows, 96x64, ")
    assert lines[1].startswith("wrote clips/other_flow.mp4: 9 flows, 96x64, ")
    assert lines[2].startswith("more: flowcli estimate clips/in.mp4 --out vectors/, for files of flow; ")
    with open_source("clips/in_flow.mp4") as made:
        assert made.info.audio
        assert (made.info.height, made.info.width) == (64, 192)
        assert len(list(made)) == 9


@pytest.mark.slow
def test_a_folder_a_pattern_and_a_pair(capsys: pytest.CaptureFixture[str]) -> None:
    first, second, _ = pictures()
    assert main(["frames"]) == 0, capsys.readouterr().err
    assert main(["frames/?.png", "-y"]) == 0
    assert main([first, second, "-q"]) == 0
    capsys.readouterr()
    assert {str(path) for path in Path().rglob("*_flow*")} == {
        "frames_flow.mp4",
        "frames/frames_flow.mp4",
        "frames/0_flow.png",
    }
    drawn = read_picture(Path("frames/0_flow.png"))
    assert drawn.shape == (moving.HEIGHT, 2 * moving.WIDTH, 3)
    assert np.array_equal(drawn[:, : moving.WIDTH], read_picture(Path(first)))


def test_nothing_is_replaced_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    pictures()
    pictures("others")
    Path("others_flow.mp4").write_text("mine")
    assert main(["frames", "others"]) == 1
    assert capsys.readouterr().err.splitlines()[0] == "error: output exists already: others_flow.mp4"
    assert not Path("frames_flow.mp4").exists()
    assert Path("others_flow.mp4").read_text() == "mine"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("gone.mp4", "error: no such file: gone.mp4"),
        ("clips/gone", "error: no such file: clips/gone"),
        ("gone/*.png", "error: no file matches: gone/*.png"),
        ("estimat", "error: no such command: estimat"),
        ("in", "error: no such command: in"),
    ],
)
def test_a_typo_of_a_command_is_no_input(word: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) != 0
    assert capsys.readouterr().err.splitlines()[0] == message


def test_a_command_is_one_whatever_is_called_like_it(capsys: pytest.CaptureFixture[str]) -> None:
    pictures("stats")
    assert main(["stats", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: flowcli stats")


def test_what_looks_like_an_input() -> None:
    Path("clip").touch()
    assert all(map(looks_like_input, ("a.mp4", "clips/a", "./a", "f%04d", "f####", "a*", "clip")))
    assert not any(map(looks_like_input, ("clips", "estimate", "-h")))


def test_one_picture_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    (first,) = pictures(count=1)
    assert main([first]) == 1
    assert "flow needs two" in "".join(capsys.readouterr().err.splitlines()[:2])
    assert not list(Path("frames").glob("*_flow*"))


def test_words_that_the_shell_made_of_one_input(capsys: pytest.CaptureFixture[str]) -> None:
    """A name with spaces, and a pattern of pictures."""
    Path("my clip.mp4").touch()
    assert main(["my", "clip.mp4"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: no such command, and no such file: my",
        "hint: quote a name with spaces: 'my clip.mp4'",
    ]
    names = [str(path) for path in pictures(count=3)]
    for command in ([], ["stats"]):
        assert main([*command, *names]) == 2
        assert capsys.readouterr().err.splitlines() == [
            f"error: 3 inputs, which look like one: {names[0]} ...",
            "hint: quote a pattern, so that it stays one input: 'frames/*.png'",
        ]
