"""`flowcli propagate --net`: networks of the user, from the command line to files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from flowcli.cli.main import main
from flowcli.pictures import read_picture, read_unscaled, write_picture
from tests.carry.known import Scene

SCENE = Scene(pan=1, step=(2, 1), side=25)
COUNT = 7
NETWORKS = """
import torch
import torch.nn.functional as F

CALLS = []

def classes():
    def run(image):
        CALLS.append(1)
        red, green, blue = image.unbind(1)
        return torch.stack([red, green, blue, torch.full_like(red, 0.4)], 1)
    return run

def soft():
    return lambda image: image.mean(1, keepdim=True)

def picture():
    return lambda image: 1 - image

def halves():
    return (lambda image: F.avg_pool2d(image, 2)), (lambda features: features.mean(1, keepdim=True))

def tensors():
    return lambda image: (F.avg_pool2d(image, 4), F.avg_pool2d(image, 8))
"""


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("nets_of_tests.py").write_text(NETWORKS, encoding="utf-8")
    Path("in").mkdir()
    for index in range(COUNT):
        write_picture(Path("in") / f"f{index:02d}.png", SCENE.frame(index).image)
    yield
    sys.modules.pop("nets_of_tests", None)


def propagate(*arguments: str) -> int:
    return main(["propagate", *arguments])


def carry(capsys: pytest.CaptureFixture[str], net: str, *arguments: str) -> dict[str, object]:
    """What --json says of a run with the network, every third frame a key frame."""
    code = propagate("in", "--net", f"nets_of_tests:{net}", "--every", "3", "--device", "cpu", "--json", *arguments)
    out, err = capsys.readouterr()
    assert code == 0, err
    summary: dict[str, object] = json.loads(out)
    return summary


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = propagate(*arguments)
    return code, capsys.readouterr().err.splitlines()[0].removeprefix("error: ")


def own_classes(index: int) -> np.ndarray:
    image = SCENE.frame(index).image / 255
    scores = np.concatenate([image, np.full((*image.shape[:2], 1), 0.4)], 2)
    labels: np.ndarray = scores.argmax(2)
    return labels


def test_key_frames_have_the_networks_own_classes(capsys: pytest.CaptureFixture[str]) -> None:
    summary = carry(capsys, "classes", "--out", "labels/", "--compare", "2")
    assert (summary["frames"], summary["keys"], summary["meaning"]) == (COUNT, 3, "classes")
    for index in range(COUNT):
        found = read_unscaled(Path("labels") / f"f{index:02d}.png")
        equal = (found == own_classes(index)).mean()
        assert equal == 1 if index % 3 == 0 else equal > 0.7, index
    compared = summary["compared"]
    assert isinstance(compared, dict)
    assert compared["frames"] == 2
    assert 0.5 < compared["miou"] <= compared["pixel_accuracy"] <= 1
    milliseconds = summary["milliseconds"]
    assert isinstance(milliseconds, dict)
    assert set(milliseconds) == {"net", "carry", "head", "flow"}
    assert len(sys.modules["nets_of_tests"].CALLS) == 3 + 2


def test_a_probability_is_a_soft_mask(capsys: pytest.CaptureFixture[str]) -> None:
    summary = carry(
        capsys, "soft", "--keys", "before", "--out", "masks/", "--out", "over/", "--as", "masks", "--as", "overlay.png"
    )
    assert (summary["meaning"], summary["keys"]) == ("probability", 3)
    found = read_unscaled(Path("masks") / "f03.png")
    assert np.abs(found - SCENE.frame(3).image.mean(2)).max() <= 1
    assert read_picture(Path("over") / "f03.png").shape == SCENE.frame(3).image.shape


def test_the_network_runs_when_it_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    """The camera moves on by a hundredth of the picture, and the square by two, in each frame."""
    keys: list[Any] = []
    for every in ("auto:99", "auto:5%", "auto:1"):
        summary = carry(capsys, "soft", "--every", every, "--model", "dis", "--out", f"{every}/")
        keys.append(summary["keys"])
        assert summary["frames"] == COUNT
    assert keys[0] == 2
    assert keys == sorted(keys)
    assert keys[-1] > 2
    assert carry(capsys, "soft", "--every", "auto:99", "--ahead", "3", "--model", "dis", "--out", "m/")["keys"] == 3
    assert carry(capsys, "soft", "--every", "auto", "--keys", "before", "--model", "dis", "--out", "n/")["keys"] == 1


@pytest.mark.parametrize("word", ["0", "auto:0", "auto:100", "auto:x", "-1", "automatic"])
def test_intervals_that_make_no_sense(capsys: pytest.CaptureFixture[str], word: str) -> None:
    message = f"{word!r} is not a number of frames above 0, auto, or auto with a percentage (auto:15)"
    code, line = error(capsys, "in", "--net", "x.onnx", "--every", word, "--out", "o/")
    assert (code, message in line) == (2, True)


def test_a_picture_is_carried(capsys: pytest.CaptureFixture[str]) -> None:
    assert carry(capsys, "picture", "--out", "out/", "--as", "png")["meaning"] == "picture"
    assert np.abs(read_picture(Path("out") / "f06.png").astype(int) - (255 - SCENE.frame(6).image)).max() <= 1


def test_a_network_in_two_parts_is_finished_on_every_frame(capsys: pytest.CaptureFixture[str]) -> None:
    summary = carry(capsys, "halves", "--out", "masks/")
    assert summary["meaning"] == "probability"
    milliseconds = summary["milliseconds"]
    assert isinstance(milliseconds, dict)
    assert milliseconds["head"] > 0


def test_several_maps_are_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    assert carry(capsys, "tensors", "--out", "arrays/", "--as", "npz")["meaning"] == "picture"
    with np.load(Path("arrays") / "f00.npz") as found:
        assert [found[name].shape for name in sorted(found)] == [(1, 3, 16, 24), (1, 3, 8, 12)]


def test_what_a_picture_cannot_be_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("in", "--net", "nets_of_tests:picture", "--every", "3", "--out", "o/", "--as", "overlay.png")
    assert error(capsys, *arguments) == (2, "the network gives a picture: --as overlay needs masks")
    assert not Path("o").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--net", "x.onnx", "--out", "o/"), "no input"),
        (("in", "--out", "o/"), "nothing to carry"),
        (("in", "--net", "x.onnx", "--masks", "m", "--out", "o/"), "--masks and --net contradict each other"),
        (
            ("in", "--masks", "m", "--split", "a", "--out", "o/"),
            "--split, --every, --net-input and --compare are for --net",
        ),
        (("in", "--net", "x.pth", "--out", "o/"), "not a network: x.pth"),
        (("--show-splits",), "--show-splits needs --net"),
        (("--net", "nets_of_tests:soft", "--show-splits"), "only one ONNX file can be cut: nets_of_tests:soft"),
    ],
)
def test_what_does_not_go_together(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert error(capsys, *arguments) == (2, message)


def test_a_missing_network_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert error(capsys, "in", "--net", "x.onnx", "--out", "o/") == (1, "no such network: x.onnx")


@pytest.mark.slow
def test_an_onnx_file_is_cut_and_carried(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx", reason="needs onnx")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    from flowcli.nets import sessions
    from tests.nets import small

    # Not by XDG_CACHE_HOME: native kernels would be built anew.
    monkeypatch.setattr(sessions, "cache_folder", lambda: tmp_path / "cache")

    small.save(small.segmenter(), Path("net.onnx"))
    labels = {}
    for split in ((), ("--split", "deep")):
        name = f"labels{len(split)}"
        assert propagate("in", "--net", "net.onnx", *split, "--every", "3", "--out", f"{name}/", "--device", "cpu") == 0
        err = capsys.readouterr().err
        assert "network on 3 frames, " in err
        labels[split] = [read_unscaled(Path(name) / f"f{index:02d}.png") for index in range(COUNT)]
    whole, cut = labels.values()
    for index in range(0, COUNT, 3):
        assert (whole[index] == cut[index]).mean() > 0.999


def test_splits_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx", reason="needs onnx")
    from tests.nets import small

    small.save(small.segmenter(), Path("net.onnx"))
    assert propagate("--net", "net.onnx", "--show-splits") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["cost", "before", "stride", "channels", "--split"]
    assert [row[1:] for row in rows[1:]] == [["2", "8", "stem"], ["4", "16", "deep"]]
    assert propagate("--net", "net.onnx", "--show-splits", "--json") == 0
    first, _ = json.loads(capsys.readouterr().out)
    assert (first["names"], first["strides"]) == (["stem"], [2.0])


@pytest.mark.slow
def test_the_flow_of_the_paper(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    """FlowNetS at half size, and features on a grid of 1/16: its weights are random, and those of the zoo run alike."""
    torch.manual_seed(0)
    names = json.loads((root / "tests/models/flow/keys/flownets.json").read_text())["keys"]
    torch.save({key: 0.01 * torch.randn(shape) for key, shape in names}, "flownets.pth")
    Path("nets_of_tests.py").write_text(
        "import torch.nn.functional as F\n"
        "def sixteenth():\n"
        "    return (lambda image: F.avg_pool2d(image, 16)), (lambda features: features.mean(1, keepdim=True))\n"
    )
    summary = carry(capsys, "sixteenth", "--model", "flownets.pth", "--max-side", "48", "--out", "masks/")
    assert (summary["frames"], summary["keys"], summary["meaning"]) == (COUNT, 3, "probability")
    for index in (0, 3, 6):
        image = torch.from_numpy(SCENE.frame(index).image).permute(2, 0, 1)[None].float()
        cells = F.avg_pool2d(image, 16).mean(1, keepdim=True)
        expected = F.interpolate(cells, image.shape[2:], mode="bilinear", align_corners=False)[0, 0].round().numpy()
        assert np.abs(read_unscaled(Path("masks") / f"f{index:02d}.png") - expected).max() <= 1
