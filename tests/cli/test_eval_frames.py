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


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-m", "rpwc"), 2, "no model makes frames by the name rpwc"),
        (("--baseline", "dis"), 2, "--baseline and --save are for flow"),
        (("--save", "sheets"), 2, "--baseline and --save are for flow"),
    ],
)
def test_usage(
    triplets: Path, arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(triplets), "--task", "frames", *arguments]) == code
    assert capsys.readouterr().err.startswith(f"error: {message}\n")


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
