"""`flowcli convert --over`, and the names and depths of frames that it shares with estimate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowcli.cli.main import main
from flowcli.flowfile import write_flow
from flowcli.pictures import read_picture, read_unscaled, write_picture
from tests.video import clips

HEIGHT, WIDTH = 13, 18
EXACT = ("--device", "cpu", "--precision", "fp32", "-q")


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def movie() -> Path:
    """Six frames, of brightness 0, 10, 20 and so on: the network of the tests finds 10 pixels to the right."""
    levels = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1) * 10
    return clips.write(Path("in.mkv"), np.broadcast_to(levels, (6, HEIGHT, WIDTH, 3)))


@pytest.fixture
def plates() -> np.ndarray:
    """(3, H, W, 3) uint16, in plates/shot.1001.png and so on."""
    images = np.random.default_rng(2).integers(0, 65536, (3, HEIGHT, WIDTH, 3), np.uint16)
    Path("plates").mkdir()
    for number, image in enumerate(images):
        write_picture(Path(f"plates/shot.{1001 + number}.png"), image)
    return images


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def done(command: str, *arguments: Any) -> None:
    assert main([command, *map(str, arguments)]) == 0


def refusal(capsys: pytest.CaptureFixture[str], *arguments: Any) -> list[str]:
    assert main([*map(str, arguments)]) in (1, 2)
    return capsys.readouterr().err.splitlines()


def test_converting_over_the_frames_equals_estimating_again(movie: Path, table: Path) -> None:
    outs = ("-o", "w/", "-o", "o/", "--as", "warp.png", "--as", "overlay.png", "--holes", "keep")
    numbering = ("--first-frame", "1001", "--both")
    done("estimate", movie, "-o", "v/", "--as", "flo", *outs, *numbering, "--every", 2, "--last", "repeat", *EXACT)
    assert names("o") == [f"{number}{tag}.png" for number in (1001, 1003, 1005) for tag in ("", "_bwd")]
    more = [word.replace("/", "_again/") for word in outs]
    done("convert", "v", "--over", movie, *more, *numbering, "-q")
    for folder in "wo":
        assert names(folder) == names(f"{folder}_again")
        for name in names(folder):
            once, again = (read_picture(Path(f"{folder}{tail}", name)) for tail in ("", "_again"))
            np.testing.assert_array_equal(once, again, err_msg=name)
    # What is warped onto a frame is the frame that its flow leads to, two later or two earlier.
    shown = [int(np.median(read_picture(Path("w_again", name)))) for name in names("w_again")]
    assert shown == [20, 0, 40, 20, 40, 40]


def test_pictures_are_warped_at_their_full_depth(plates: np.ndarray, table: Path) -> None:
    Path("v").mkdir()
    flow = np.zeros((2, HEIGHT, WIDTH), np.float32)
    flow[0] = 1
    for number in (1001, 1002):
        write_flow(f"v/shot.{number}.flo", flow)
    done("convert", "v", "--over", "plates", "-o", "w/", "--as", "warp.png", "-q")
    done(
        "convert", "v", "--over", "plates/shot.####.png", "-o", "t/", "--as", "warp.tif", "--holes", "transparent", "-q"
    )
    done("convert", "v", "--over", "plates", "-o", "s/", "--as", "side-by-side.png", "-q")
    assert names("w") == ["shot.1001.png", "shot.1002.png"]
    for number, second in enumerate(plates[1:], 1001):
        warped, clear = read_unscaled(Path(f"w/shot.{number}.png")), read_unscaled(Path(f"t/shot.{number}.tif"))
        np.testing.assert_array_equal(warped[:, :-1], second[:, 1:])
        assert not warped[:, -1].any()
        np.testing.assert_array_equal(clear[:, :-1, :3], second[:, 1:])
        assert (clear[:, :-1, 3] == 65535).all()
        assert not clear[:, -1, 3].any()
        assert read_unscaled(Path(f"s/shot.{number}.png")).dtype == np.uint8

    # Grey frames 10 levels of 8 bits apart, and between two of these.
    for number in range(3):
        write_picture(Path(f"plates/shot.{1001 + number}.png"), np.full_like(plates[0], 2570 * number + 3))
    outs = ("-o", "e/", "-o", "b/", "-o", "c/", "--as", "warp.png", "--as", "warp.jpg", "--as", "rgb.png")
    done("estimate", "plates", *outs, *EXACT, "--backward")
    assert np.unique(read_unscaled(Path("e/shot.1002.png"))).tolist() == [0, 2573]
    assert read_unscaled(Path("b/shot.1002.jpg")).dtype == read_unscaled(Path("c/img_00001.png")).dtype == np.uint8


def test_flow_without_names_belongs_to_one_frame_after_the_other(
    movie: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("a.npy", np.zeros((4, 2, HEIGHT, WIDTH), np.float32))
    done("convert", "a.npy", "--over", movie, "-o", "w/", "--as", "warp.png")
    told = f"warning: {movie} has more frames than there are flows, which are taken to begin with its first"
    assert told in capsys.readouterr().err.splitlines()
    assert [int(np.median(read_picture(Path("w", name)))) for name in names("w")] == [10, 20, 30, 40]
    np.save("a.npy", np.zeros((6, 2, HEIGHT, WIDTH), np.float32))
    done("convert", "a.npy", "--over", movie, "-o", "b/", "--as", "warp.png", "--json")
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out)["pairs"] == 6
    assert int(np.median(read_picture(Path("b/000005.png")))) == 50
    write_flow("ab.flo", np.zeros((2, HEIGHT, WIDTH), np.float32))
    clips.write(Path("two.mkv"), np.full((2, HEIGHT, WIDTH, 3), 7, np.uint8))
    done("convert", "ab.flo", "--over", "two.mkv", "-o", "ab.png", "--as", "warp", "-q")
    assert (read_picture(Path("ab.png")) == 7).all()


def test_what_does_not_belong_together_is_refused(
    movie: Path, plates: np.ndarray, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done("estimate", movie, "-o", "v/", *EXACT)
    first = ("convert", "v", "-o", "x.mp4", "--as", "warp")
    hint = "hint: give the frames that the flow was estimated on"
    assert refusal(capsys, *first, "--over", "plates", "-q") == ["error: no frame for flow 000000 in plates", hint]
    assert refusal(capsys, *first) == [
        "error: warp needs the frames: x.mp4",
        "hint: add --over with what the flow was estimated on",
    ]
    assert refusal(capsys, "convert", "v", "-o", "x.mp4", "--first-frame", "9") == [
        "error: --first-frame is for the movie of --over",
        "hint: add --over, or leave it out",
    ]
    assert refusal(capsys, "convert", "v", "-o", "x/", "--as", "rgb", "--over", movie)[0] == (
        "error: rgb need all frames: x/"
    )
    assert refusal(capsys, "convert", "v", "-o", movie, "-y", "--as", "warp", "--over", movie)[0] == (
        f"error: output would replace the input: {movie}"
    )
    clips.write(Path("large.mkv"), np.zeros((6, 9, 11, 3), np.uint8))
    assert refusal(capsys, *first, "--over", "large.mkv", "-q") == [
        f"error: frame 000000 of large.mkv is 11x9, its flow {WIDTH}x{HEIGHT}",
        hint,
    ]
    assert refusal(capsys, "estimate", "plates", "-o", "x.mp4", "--first-frame", "1") == [
        "error: --first-frame is for movies: pictures keep the numbers in their names",
        "hint: leave it out",
    ]
    assert refusal(capsys, "estimate", movie, "-o", "x.mp4", "--first-frame", "-1")[0] == (
        "error: Invalid value for '--first-frame': '-1' is not a number (1001)"
    )
    assert not Path("x.mp4").exists()


def test_frames_that_are_made_have_numbers_of_their_own(plates: np.ndarray) -> None:
    done("interpolate", "plates", "--fps", "x2", "--model", "nearest", "-o", "b/", "--first-frame", "0099", "-q")
    assert names("b") == [f"{number:04d}.png" for number in range(99, 105)]
    np.testing.assert_array_equal(read_unscaled(Path("b/0101.png")), plates[1])


def test_made_frames_are_numbered_from_the_first_plate_on(plates: np.ndarray) -> None:
    made = ("--model", "nearest", "-q", "-o")
    done("interpolate", "plates", "--fps", "x2", *made, "b/")
    assert names("b") == [f"shot.{number}.png" for number in range(1001, 1007)]
    np.testing.assert_array_equal(read_unscaled(Path("b/shot.1003.png")), plates[1])
    done("interpolate", "plates", "--every", "2", "--size", "x2", *made, "c/")
    assert names("c") == ["shot.1001.png", "shot.1003.png"], "no frame is new"
    done("interpolate", "plates/shot.1001.png", "plates/shot.1002.png", "--times", "1/3,2/3", *made, "d/")
    assert names("d") == ["000000.png", "000001.png"], "they lie between 1001 and 1002"
