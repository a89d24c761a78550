from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flowcli.cli.main import main
from flowcli.pictures import read_picture, read_unscaled, write_picture
from flowcli.video import open_source
from tests.carry.known import HEIGHT, WIDTH, Scene

SCENE = Scene(pan=1, step=(3, 1), side=25)
COUNT = 7


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for index in range(COUNT):
        write_picture(Path("in") / f"f{index:02d}.png", SCENE.frame(index).image)


def write_palette(path: Path, mask: np.ndarray) -> None:
    image = Image.fromarray(mask.astype(np.uint8) * 3)
    image.putpalette([0, 0, 0, 9, 9, 9, 8, 8, 8, 250, 20, 120])
    image.save(path, bits=2)


def keys(*indices: int) -> str:
    Path("keys").mkdir()
    for index in indices:
        write_palette(Path("keys") / f"f{index:02d}.png", SCENE.mask(index))
    return "keys"


def propagate(*arguments: str) -> int:
    return main(["propagate", *arguments, "--device", "cpu"])


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code, and the line that says what is wrong."""
    code = propagate(*arguments)
    return code, capsys.readouterr().err.splitlines()[0].removeprefix("error: ")


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def check_masks(folder: str) -> None:
    """The mask of the first frame alone, copied, would overlap by a seventh in the end."""
    assert names(folder) == [f"f{index:02d}.png" for index in range(COUNT)]
    for index in range(COUNT):
        with Image.open(Path(folder) / f"f{index:02d}.png") as image:
            assert image.mode == "P"
            palette = image.getpalette() or []
            assert palette[9:12] == [250, 20, 120]
            values = np.asarray(image)
        assert set(np.unique(values)) == {0, 3}
        assert overlap(values == 3, SCENE.mask(index)) > 0.6, index


def test_the_first_mask_is_carried_to_all_frames(capsys: pytest.CaptureFixture[str]) -> None:
    write_palette(Path("first.png"), SCENE.mask(0))
    assert propagate("in", "--masks", "first.png", "-o", "masks/", "--json") == 0
    check_masks("masks")
    summary = json.loads(capsys.readouterr().out)
    assert (summary["frames"], summary["keys"], summary["empty"]) == (COUNT, 1, 0)
    assert 0 < summary["confidence"] < 1
    (output,) = summary["outputs"]
    assert (output["out"], output["what"], output["format"]) == ("masks/", "masks", "png")


def test_keys_come_out_as_they_are_and_frames_between_from_both(capsys: pytest.CaptureFixture[str]) -> None:
    folder = keys(0, 6)
    assert propagate("in", "--masks", folder, "-o", "masks/") == 0
    check_masks("masks")
    for name in ("f00.png", "f06.png"):
        with Image.open(Path("keys") / name) as given, Image.open(Path("masks") / name) as made:
            assert given.tobytes() == made.tobytes()
        assert (Path("masks") / name).read_bytes()[24] == 2
    assert capsys.readouterr().err.startswith(f"wrote masks/: {COUNT} frames, {WIDTH}x{HEIGHT}, ")


def test_frames_before_the_only_key_get_it_too() -> None:
    assert propagate("in", "--masks", keys(4), "-o", "masks/") == 0
    check_masks("masks")


def frames_of(path: str) -> list[np.ndarray]:
    with open_source(path) as source:
        return [frame.image for frame in source]


@pytest.mark.slow
def test_all_kinds_of_outputs() -> None:
    folder = keys(0, 3)
    outs = {"m.mkv": "masks", "o/": "overlay.png", "cut/": "alpha", "cut.mov": "alpha", "a/": "npz", "c/": "confidence"}
    words = [word for target, kind in outs.items() for word in ("-o", target, "--as", kind)]
    assert propagate("in", "--masks", folder, *words) == 0
    for target in outs:
        count = len(names(target)) if target.endswith("/") else len(frames_of(target))
        assert count == COUNT, target
    mask = SCENE.mask(3)
    video = frames_of("m.mkv")[3][:HEIGHT, :WIDTH].astype(int)
    assert np.abs(video[mask].mean(0) - (250, 20, 120)).max() < 40
    assert video[~mask].mean() < 10
    image = SCENE.frame(3).image
    overlay = read_picture(Path("o/f03.png"))
    assert np.array_equal(overlay[~mask], image[~mask])
    assert not np.array_equal(overlay[mask], image[mask])
    cut = read_unscaled(Path("cut/f03.png"))
    assert np.array_equal(cut[..., 3] == 255, mask)
    assert np.array_equal(cut[..., :3], image)
    with np.load("a/f03.npz") as arrays:
        assert np.array_equal(arrays["labels"], mask * 3)
    assert (
        (read_unscaled(Path("c/f03.png"))[..., 0] == 255).all()
        if read_unscaled(Path("c/f03.png")).ndim == 3
        else (read_unscaled(Path("c/f03.png")) == 255).all()
    )


@pytest.mark.slow
def test_soft_mattes_stay_soft(capsys: pytest.CaptureFixture[str]) -> None:
    mask = SCENE.mask(0).astype(np.float32)
    ramp = sum(np.roll(mask, shift, 1) for shift in range(-5, 6)) / 11
    write_picture(Path("first.png"), np.rint(ramp * 255).astype(np.uint8))
    assert propagate("in", "--masks", "first.png", "-o", "m/", "-o", "a/", "--as", "masks", "--as", "npz") == 0
    last = read_unscaled(Path("m/f06.png"))
    assert last.ndim == 2
    assert len(np.unique(last)) > 20
    assert np.array_equal(read_unscaled(Path("m/f00.png")), read_unscaled(Path("first.png")))
    with np.load("a/f06.npz") as arrays:
        np.testing.assert_allclose(arrays["mask"], last / 255, atol=1e-6)
    message = "error: --refine-edges is for labels, and these masks are soft"
    assert propagate("in", "--masks", "first.png", "-o", "e/", "--refine-edges") == 2
    assert capsys.readouterr().err.splitlines()[-2] == message
    assert propagate("in", "--masks", "first.png", "-o", "l/", "--content", "labels") == 0
    assert set(np.unique(read_unscaled(Path("l/f06.png")))) <= set(np.unique(read_unscaled(Path("first.png"))))


@pytest.mark.slow
def test_frames_to_paint_next_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    folder = keys(0)
    assert propagate("in", "--masks", folder, "-o", "masks/", "--suggest", "2") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("paint next: ")]
    assert 1 <= len(lines) <= 2
    assert propagate("in", "--masks", folder, "-o", "masks/", "-y", "--suggest", "2", "--json") == 0
    suggested = json.loads(capsys.readouterr().out)["suggested"]
    assert lines == [f"paint next: {each['name']}.png, confidence +{each['gain']:.1%}" for each in suggested]
    assert {each["name"] for each in suggested} <= {f"f{index:02d}" for index in range(1, COUNT)}
    assert propagate("in", "--masks", folder, "-o", "masks/", "-y", "--json") == 0
    assert json.loads(capsys.readouterr().out)["suggested"] == []
    message = "--suggest and --refine-edges are for --masks"
    assert error(capsys, "in", "--net", "x.onnx", "-o", "o/", "--suggest", "2") == (2, message)
    assert error(capsys, "in", "--net", "x.onnx", "-o", "o/", "--refine-edges") == (2, message)


def test_a_cut_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    other = np.random.default_rng(0).integers(150, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for index in range(4, COUNT):
        write_picture(Path("in") / f"f{index:02d}.png", np.roll(other, index, 1))
    assert propagate("in", "--masks", keys(0), "-o", "masks/") == 0
    full = [bool(read_unscaled(Path(f"masks/f{index:02d}.png")).any()) for index in range(COUNT)]
    assert full == [True] * 4 + [False] * 3
    note = "note: no mask reaches 3 frames: give a mask for each shot, or more --ahead"
    assert capsys.readouterr().err.splitlines()[-1] == note


def plain(path: str, height: int = HEIGHT, width: int = WIDTH) -> None:
    write_picture(Path(path), np.zeros((height, width), np.uint8))


def test_errors(capsys: pytest.CaptureFixture[str]) -> None:
    Path("keys").mkdir()
    assert error(capsys, "in", "--masks", "keys", "-o", "m/") == (1, "no masks in keys")
    plain("keys/f00.png", 30, 40)
    sizes = (1, f"masks in keys are 40x30, but frames of in are {WIDTH}x{HEIGHT}")
    assert error(capsys, "in", "--masks", "keys", "-o", "m/") == sizes
    plain("keys/f00.png")
    plain("keys/f09.png")
    lost = (1, f"no frame for mask keys/f09.png, there are {COUNT} frames")
    assert error(capsys, "in", "--masks", "keys", "-o", "m/") == lost
    assert not Path("m").exists()
    assert error(capsys, "in", "--masks", "nowhere", "-o", "m/") == (1, "no such file: nowhere")
    assert error(capsys, "in", "--masks", "keys", "-o", "in") == (1, "output would replace the input: in/")
    assert error(capsys, "in", "--masks", "keys") == (2, "no output is named")


def test_masks_outside_of_a_selection_are_passed_over() -> None:
    assert propagate("in", "--masks", keys(1, 5), "-o", "masks/", "--stop", "4") == 0
    assert names("masks") == [f"f{index:02d}.png" for index in range(4)]


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--refine-edges",), ("--keys", "before"), ("--keys", "after"), ("--ahead", "2")])
def test_ways_to_carry(options: Sequence[str]) -> None:
    assert propagate("in", "--masks", keys(0, 6), "-o", "masks/", *options) == 0
    check_masks("masks")
