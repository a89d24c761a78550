from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flowcli.cli.main import main
from flowcli.pictures import write_picture
from tests.moving import camera


@pytest.fixture
def triplets(tmp_path: Path) -> Path:
    """`moving`: a picture that moves 2.5 pixels to the right in each; `bright`: grey of 100, 130 and 140."""
    grey = [np.full((33, 48, 3), level, np.uint8) for level in (100, 130, 140)]
    for group, images in (("moving", camera(3, pan=2.5)), ("bright", grey)):
        folder = tmp_path / "data" / group / "one"
        folder.mkdir(parents=True)
        for number, image in enumerate(images):
            write_picture(folder / f"{number}.png", image)
    return tmp_path / "data"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["eval", *map(str, arguments), "--task", "frames"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_numbers(triplets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, triplets, "-m", "blend", "-m", "nearest", "--json"))
    bright = {each["method"]: each for each in found["sets"] if each["set"] == "bright"}
    # 120 and 100 instead of 130.
    assert bright["blend"]["PSNR"] == pytest.approx(20 * np.log10(255 / 10), abs=1e-3)
    assert bright["nearest"]["PSNR-Y"] == pytest.approx(20 * np.log10(255 / 30), abs=1e-3)
    c1 = (0.01 * 255) ** 2
    assert bright["nearest"]["SSIM"] == pytest.approx((2 * 100 * 130 + c1) / (100**2 + 130**2 + c1), abs=1e-4)
    assert [each["pair"] for each in found["pairs"]] == ["one"] * 4


def test_table(triplets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rows = (line.split() for line in run(capsys, triplets, "-m", "blend", "-m", "nearest", "-v").splitlines())
    assert header == ["set", "pair", "method", "PSNR", "SSIM", "PSNR-Y", "SSIM-Y", "s/pair"]
    assert [row[:3] for row in rows] == [
        [group, name, method]
        for name in ("1", "one")
        for group in ("bright", "moving")
        for method in ("blend", "nearest")
    ]
    assert rows[0][3] == "28.13"


def test_a_picture_that_moves(triplets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, triplets, "-m", "splat", "-m", "blend", "--json"))
    moving = {each["method"]: each for each in found["sets"] if each["set"] == "moving"}
    assert moving["splat"]["PSNR"] > moving["blend"]["PSNR"] + 3
    assert moving["splat"]["SSIM-Y"] > moving["blend"]["SSIM-Y"]


def test_models_of_flow_move_frames_along_it(triplets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, triplets, "-m", "dis", "-m", "farneback", "--baseline", "dis", "--json"))
    moving = {each["method"]: each["PSNR"] for each in found["sets"] if each["set"] == "moving"}
    assert list(moving) == ["dis", "farneback", "baseline dis"]
    assert len(set(moving.values())) == 3
    assert min(moving.values()) > 20


LEVELS = (0, 10, 30, 60, 100, 150, 210, 120, 40, 7)


@pytest.fixture
def rising(tmp_path: Path) -> Path:
    """Ten grey pictures."""
    folder = tmp_path / "film"
    folder.mkdir()
    for number, level in enumerate(LEVELS):
        write_picture(folder / f"{number}.png", np.full((33, 48, 3), level, np.uint8))
    return folder


def test_frames_that_are_left_out(rising: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of ten frames 0, 4 and 8 stay; nothing comes after the last of them."""
    found = json.loads(run(capsys, rising, "--every", "4", "-m", "blend", "--json"))
    assert [(each["set"], each["pairs"]) for each in found["sets"]] == [
        ("1 of 4, t = 1/4", 2),
        ("1 of 4, t = 1/2", 2),
        ("1 of 4, t = 3/4", 2),
    ]
    film = f"{rising.parent.name}/{rising.name}"
    assert [each["pair"] for each in found["pairs"]] == [f"{film}/{number}" for number in (0, 0, 0, 4, 4, 4)]
    for each, number in zip(found["pairs"], (1, 2, 3, 5, 6, 7), strict=True):
        start = number // 4 * 4
        mixed = round(LEVELS[start] + (LEVELS[start + 4] - LEVELS[start]) * (number - start) / 4)
        assert each["PSNR"] == pytest.approx(20 * np.log10(255 / abs(mixed - LEVELS[number])), abs=1e-3)


def test_every_other_frame(rising: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, rising, "--every", "2", "-m", "blend", "--json"))
    assert [(each["set"], each["pairs"]) for each in found["sets"]] == [("1 of 2", 4)]


@pytest.mark.slow
def test_minterpolate_gets_the_frames_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flowcli import video
    from flowcli.evaluation import middles

    given: list[list[int]] = []

    def spy(images: list[np.ndarray], factor: int) -> list[np.ndarray]:
        given.append([int(image[0, 0, 0]) for image in images])
        return video.minterpolate(images, factor)

    monkeypatch.setattr(middles, "minterpolate", spy)
    folder = tmp_path / "film"
    folder.mkdir()
    images = camera(9, pan=2)
    for number, image in enumerate(images):
        image[0, 0] = number
        write_picture(folder / f"{number}.png", image)
    found = json.loads(run(capsys, folder, "--every", "2", "-m", "blend", "--baseline", "minterpolate", "--json"))
    assert given == [[0, 0, 2, 4], [0, 2, 4, 6], [2, 4, 6, 8], [4, 6, 8, 8]]
    values = {each["method"]: each["PSNR"] for each in found["sets"]}
    assert values["baseline minterpolate"] > values["blend"] + 3


def test_a_function_of_ones_own(
    triplets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "def second(one, other, place):\n    assert place == 0.5\n    return other\n\ndef grey(*_):\n    return 7\n"
    Path("own_frames.py").write_text(text)
    found = json.loads(run(capsys, triplets, "-m", "blend", "--baseline", "own_frames:second", "--json"))
    (bright,) = (each for each in found["sets"] if each["set"] == "bright" and each["method"] != "blend")
    assert bright["PSNR"] == pytest.approx(20 * np.log10(255 / 10), abs=1e-3)
    for name, message in (
        ("own_frames:grey", "own_frames:grey returns no picture of the size of its inputs"),
        ("own_frames:third", "no function third in own_frames"),
        ("no_such_module:f", "cannot import no_such_module: No module named 'no_such_module'"),
    ):
        assert main(["eval", str(triplets), "--task", "frames", "--baseline", name]) == 1
        assert capsys.readouterr().err.startswith(f"error: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-m", "splatt"), 1, "unknown model: splatt"),
        (("--baseline", "mean"), 2, "no baseline makes frames by the name mean"),
        (("--save", "sheets"), 2, "--save is for flow"),
        (("--every", "2"), 1, "no such file: gone"),
        (("--task", "flow", "--every", "2"), 2, "--every is for frames and masks"),
        (("--task", "flow", "--baseline", "minterpolate"), 2, "no baseline has the name minterpolate"),
    ],
)
def test_usage(
    triplets: Path, arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = "gone" if arguments == ("--every", "2") else triplets
    assert main(["eval", str(folder), "--task", "frames", *arguments]) == code
    assert capsys.readouterr().err.startswith(f"error: {message}\n")


def test_too_few_frames(rising: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(rising), "--task", "frames", "--every", "10", "-m", "blend"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {rising} has fewer than 11 frames\n")


def test_bad_folders(triplets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    write_picture(triplets / "bright/one/1.png", np.zeros((33, 47, 3), np.uint8))
    first = triplets / "bright/one/0.png"
    for folder, message in (
        (tmp_path / "gone", f"no such folder: {tmp_path}/gone"),
        (tmp_path / "empty", f"no triplets in {tmp_path}/empty"),
        (triplets, f"{first.with_stem('1')} has another size than {first}"),
    ):
        assert main(["eval", str(folder), "--task", "frames", "-m", "blend"]) == 1
        assert capsys.readouterr().err.startswith(f"error: {message}\n")
