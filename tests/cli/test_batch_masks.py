"""`flowcli batch --masks`: masks of some frames of many videos, carried to all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flowcli.batch.makers import masks_of
from flowcli.cli.main import main
from flowcli.errors import NoMasksError
from flowcli.pictures import read_unscaled, write_picture
from flowcli.video import open_source
from tests.moving import camera, write

DIS = ("-m", "dis", "--device", "cpu")


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clips() -> None:
    """Three videos: clips/one.mkv with one mask, clips/more/two.mkv with two, clips/bare.mkv without."""
    for name in ("one", "more/two", "bare"):
        Path("clips", name).parent.mkdir(parents=True, exist_ok=True)
        write(Path("clips", f"{name}.mkv"), camera(4, pan=2))
    Path("keys/more/two").mkdir(parents=True)
    for place, left in (("one.png", 20), ("more/two/000000.png", 20), ("more/two/000003.png", 14)):
        paint(Path("keys", place), left)


def paint(path: Path, left: int) -> None:
    with open_source("clips/one.mkv") as source:
        mask = np.zeros((source.info.height, source.info.width), np.uint8)
    mask[15:40, left : left + 30] = 255
    write_picture(path, mask)


def batch(*arguments: str) -> int:
    return main(["batch", "clips", "--out", "out", "--masks", "keys", *DIS, *arguments])


@pytest.mark.slow
@pytest.mark.usefixtures("clips")
def test_the_masks_of_the_command_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--as", "masks", "--as", "overlay", "--name", "{folder}/{stem}_{what}")
    assert batch(*options) == 0
    said = capsys.readouterr().err
    assert said.startswith("3 items: 2 done, 1 skipped; 8 frames in ")
    assert "no masks keys/bare/ or bare.png" in said
    for name, keys in (("one", "keys/one.png"), ("more/two", "keys/more/two")):
        assert main(["propagate", f"clips/{name}.mkv", "--masks", keys, *DIS, "-q", "--out", "alone/", "-y"]) == 0
        for number in range(4):
            expected = read_unscaled(Path(f"alone/{number:06}.png"))
            np.testing.assert_array_equal(read_unscaled(Path(f"out/{name}_masks/{number:06}.png")), expected)
            assert 0.05 < (expected > 0).mean() < 0.4
        with open_source(f"out/{name}_overlay.mp4") as source:
            assert len(list(source)) == 4
    # Nothing is left to do until a mask is another one.
    assert batch(*options) == 0
    assert capsys.readouterr().err.startswith("3 items: 3 skipped")
    paint(Path("keys/one.png"), 40)
    assert batch(*options, "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {each["item"]: (each["status"], each["flows"]) for each in lines} == {
        "bare.mkv": ("skipped", 0),
        "more/two.mkv": ("skipped", 4),
        "one.mkv": ("done", 4),
    }
    assert read_unscaled(Path("out/one_masks/000000.png"))[20, 65]


@pytest.mark.usefixtures("clips")
def test_where_masks_are() -> None:
    keys = Path("keys")
    assert masks_of(keys, "one.mkv") == keys / "one.png"
    assert masks_of(keys, "more/two.mkv") == masks_of(keys, "more/two") == keys / "more/two"
    with pytest.raises(NoMasksError) as caught:
        masks_of(keys, "more/one.mkv")
    assert caught.value.message == "no masks keys/more/one/ or one.png"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--interpolate", "x2"), "--masks and --interpolate contradict each other"),
        (("--masks", "nowhere"), "no such folder of masks: nowhere"),
        (("--as", "masks.npz"), "--as masks.npz is not for many videos at once"),
        (("--as", "trails"), "--as trails is not for many videos at once"),
        (("--masks", "", "--keys", "both"), "--content, --keys, --ahead and --refine-edges are for masks"),
    ],
)
@pytest.mark.usefixtures("clips")
def test_what_does_not_go_together(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(*arguments) in (1, 2)
    assert message in capsys.readouterr().err
    assert not Path("out").exists()
