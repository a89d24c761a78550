"""Cuts in what the commands write: flow across one is unknown in every format, and said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flowcli.cli.main import main
from flowcli.flowfile import open_stack, read_flow
from flowcli.pictures import read_picture, read_unscaled, write_picture
from tests.moving import HEIGHT, WIDTH, camera

CPU = ("--device", "cpu", "--precision", "fp32")
BEFORE = 3
"""The last frame of the first shot."""


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Path) -> None:
    """Two shots of four frames each: in the first nothing moves; in the second all becomes brighter, which is flow."""
    monkeypatch.chdir(tmp_path)
    Path("in/clip").mkdir(parents=True)
    brighter = [np.clip(image.astype(int) + 8 * number, 0, 255) for number, image in enumerate(camera(4, number=2))]
    for index, image in enumerate((*camera(4), *brighter)):
        write_picture(Path(f"in/clip/{index}.png"), image.astype(np.uint8))


def written(*kinds: str) -> list[str]:
    return [word for kind in kinds for word in ("--out", f"{kind.replace('.', '_')}/", "--as", kind)]


def level(folder: str, index: int = BEFORE) -> set[int]:
    return set(np.unique(read_unscaled(next(Path(folder).glob(f"*{index}.png")))).tolist())


def test_every_output_of_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    outs = written("flo", "npz", "tsn", "flow.png", "color.png", "hsv", "magnitude", "warp.png", "occlusion.png")
    outs = [word if word not in ("hsv", "magnitude") else f"{word}.png" for word in outs]
    command = ["estimate", "in/clip", *outs, "--out", "all.npy", "--as", "flow", "--out", "i3d.npy", "--as", "i3d"]
    assert main([*command, *CPU]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-2] == "cuts: 1, at 4: no flow leads there; --cuts off estimates it"
    for folder in ("flo", "npz", "flow_png", "color_png", "hsv", "magnitude", "warp_png", "occlusion_png"):
        assert len(list(Path(folder).iterdir())) == 7, folder
    for folder, suffix in (("flo", "flo"), ("npz", "npz"), ("flow_png", "png")):
        for index in range(7):
            valid = read_flow(f"{folder}/{index}.{suffix}")[1]
            assert (valid is None) == (index != BEFORE)
            assert valid is None or not valid.any()
    stack = [valid for _, valid in (read_flow_of(each) for each in open_stack(Path("all.npy")))]
    assert [known.all() for known in stack] == [index != BEFORE for index in range(7)]
    assert not stack[BEFORE].any()
    # No file of these formats can say that flow is unknown: it is zero.
    assert len(list(Path("tsn").iterdir())) == 14
    for axis in "xy":
        assert set(np.unique(read_picture(Path(f"tsn/flow_{axis}_{BEFORE + 1:05d}.jpg"))).tolist()) == {128}
    assert np.unique(np.load("i3d.npy")[BEFORE]).tolist() == [pytest.approx(1 / 255, abs=1e-6)]
    # Black in pictures, that of magnitude's colours in that style; what the cut hides is all of the frame.
    for folder in ("color_png", "hsv", "magnitude", "warp_png"):
        assert max(level(folder)) <= (4 if folder == "magnitude" else 0), folder
        assert max(level(folder, 6)) > 100, folder
    assert level("occlusion_png") == {255}


def read_flow_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    assert values.shape == (2, HEIGHT, WIDTH)
    return values, np.isfinite(values).all(axis=0)


def test_the_scale_begins_anew_in_a_shot(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "in/clip", "--out", "auto/", "--as", "png", *CPU, "--json"]) == 0
    auto = json.loads(capsys.readouterr().out)
    assert auto["cuts"] == [BEFORE + 1]
    assert auto["pairs"] == 7
    # From 1 pixel, for a still shot, to 8 at once.
    assert auto["outputs"][0]["scale"] == [1, pytest.approx(8, abs=0.2)]
    assert main(["estimate", "in/clip", "--out", "off/", "--as", "flo", *CPU, "--json", "--cuts", "off"]) == 0
    off = json.loads(capsys.readouterr().out)
    assert (off["cuts"], off["pairs"]) == (None, 7)
    assert all(read_flow(path)[1] is None for path in Path("off").iterdir())


def test_batch_writes_cuts_down(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["batch", "in", "--out", "out", "--as", "flo", *CPU]
    assert main(command) == 0
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(" per second); cuts: 1, across which no flow leads; duplicates: 3")
    lines = [json.loads(line) for line in Path("out/manifest.jsonl").read_text().splitlines()]
    assert (lines[-1]["status"], lines[-1]["cuts"], lines[-1]["flows"]) == ("done", [BEFORE + 1], 7)
    valid = read_flow(f"out/clip/{BEFORE}.flo")[1]
    assert valid is not None
    assert not valid.any()
    # What was made with other options is made anew.
    assert main([*command, "--json", "--cuts", "off", "-y"]) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (record["status"], record["cuts"]) == ("done", [])
    assert read_flow(f"out/clip/{BEFORE}.flo")[1] is None
    assert main([*command, "--interpolate", "x2", "--cuts", "off"]) == 2
    assert "--cuts off is for flow: made frames never mix two shots" in capsys.readouterr().err


def test_two_pictures_are_a_pair(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["estimate", "in/clip/0.png", "in/clip/7.png", "--out", "pair.flo", *CPU, "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["cuts"] == []
    assert read_flow("pair.flo")[1] is None


def test_one_scale_for_the_whole_clip(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["estimate", "in/clip", "--out", "a/", "--as", "png", "--out", "v/", "--as", "flo", "--json", *CPU]
    assert main([*command, "--max-flow", "clip"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["pairs"] == 7
    low, high = said["outputs"][0]["scale"]
    assert low == high == pytest.approx(8, abs=0.2)
    flow = ["convert", "v", "--out", "b/", "--as", "png", "--max-flow", "clip", "--json"]
    assert main(flow) == 0
    assert json.loads(capsys.readouterr().out)["outputs"][0]["scale"] == pytest.approx([low, low], abs=0.2)
    # Where stored flow is unknown everywhere, the scale begins anew as it did when the flow was drawn at once.
    assert main([*flow[:2], "--out", "d/", *flow[4:6], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"][0]["scale"] == [1, pytest.approx(8, abs=0.2)]
    assert main(["batch", "in", "--out", "c", "--as", "color.png", "--max-flow", "clip", "-q", *CPU]) == 0
    for index in range(7):
        made = read_picture(Path(f"a/{index}.png"))
        np.testing.assert_array_equal(made, read_picture(Path(f"c/clip/{index}.png")))
    # Of vectors alone there is nothing to measure; and a pipe has one end.
    assert main(["estimate", "in/clip", "--out", "w/", "--max-flow", "clip", "-q", *CPU]) == 0
    for words in (["estimate", "-", "--out", "p.mp4"], ["convert", "-", "--out", "p.mp4"]):
        assert main([*words, "--max-flow", "clip"]) == 2
        assert capsys.readouterr().err.splitlines() == [
            "error: --max-flow clip reads the input twice, and a pipe can be read once",
            "hint: name a file, or give a speed: --max-flow 20",
        ]


def test_the_flow_of_a_second_model_is_unknown_there_too() -> None:
    outs = ["--out", "both/", "--as", "png", "--out", "flo/", "--as", "flo"]
    assert main(["estimate", "in/clip", *outs, "--versus", "dis", "-q", *CPU]) == 0
    for index in range(7):
        drawn = read_picture(Path(f"both/{index}.png"))[:HEIGHT]
        halves = drawn[:, :WIDTH], drawn[:, WIDTH:]
        assert [bool(half.any()) for half in halves] == [index != BEFORE] * 2, index
        assert (read_flow(f"flo/{index}.flo")[1] is None) == (index != BEFORE)


def test_an_input_that_is_read_twice_is_warned_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in/clip/7.png").rename("in/clip/9.png")
    for command in (["estimate", "in/clip", "--out", "a/", "--as", "png"], ["batch", "in", "--out", "b"]):
        assert main([*command, "--max-flow", "clip", *CPU]) == 0
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
        assert len(lines) == 1
        assert lines[0].endswith("in/clip: a gap: after 6.png comes 9.png; no flow leads across, unless --gaps bridge")


def test_nothing_waits_where_the_source_is_live(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["estimate", "in/clip", "--out", "a/", "--as", "png", "--live", "--json", *CPU]
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["cuts"], said["pairs"]) == (None, 7)
    assert main([*command, "--batch", "4"]) == 2
    assert "--live and --batch 4 contradict each other" in capsys.readouterr().err
