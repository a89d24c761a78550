"""`flowcli interpolate --model videoinr` with random weights: its frames compared with those of the network alone."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import flowcli
from flowcli.bench import random_weights
from flowcli.cli.main import main
from flowcli.models.base import FrameModel
from flowcli.video import open_source
from flowcli.weights import entries, loading
from tests.moving import as_frames, camera, write

QUARTERS = (0, 0.25, 0.5, 0.75)


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def weights(small_videoinr: None) -> Path:
    """Random weights where fetched ones would lie."""
    folder = entries.home()
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    made = random_weights("videoinr", folder).file
    assert made is not None
    return made.rename(folder / "videoinr.safetensors")


@pytest.fixture
def images() -> np.ndarray:
    return camera(3, pan=2)[:, :33, :50].copy()


@pytest.fixture
def clip(images: np.ndarray, tmp_path: Path) -> Path:
    return write(tmp_path / "in.mkv", images)


def run(*arguments: object) -> None:
    assert main(["interpolate", *map(str, arguments), "-q"]) == 0


def shown(path: str) -> list[np.ndarray]:
    with open_source(path) as source:
        return [frame.image for frame in source]


@torch.inference_mode()
def alone(weights: Path, first: np.ndarray, second: np.ndarray, height: int, width: int) -> list[np.ndarray]:
    """Frames of the network at QUARTERS, in bytes."""
    model = loading.load_as(FrameModel, entries.resolve(str(weights)))
    pair = [torch.from_numpy(each / np.float32(255)).permute(2, 0, 1)[None] for each in (first, second)]
    frames = model.decode(model.encode(*pair), QUARTERS, height, width)
    return [np.rint(255 * frame[0].permute(1, 2, 0).clamp(0, 1).numpy()).astype(np.uint8) for frame in frames]


def near(one: np.ndarray, other: np.ndarray) -> None:
    """Equal up to rounding."""
    assert one.shape == other.shape
    assert np.abs(one.astype(int) - other).max() <= 1


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each pair that the network encodes."""
    from flowcli.models.frame import videoinr

    calls: list[int] = []
    encode = videoinr.VideoINR.encode

    def counting(self: videoinr.VideoINR, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        calls.append(len(first))
        return encode(self, first, second)

    monkeypatch.setattr(videoinr.VideoINR, "encode", counting)
    return calls


@pytest.mark.slow
def test_four_times_the_rate_and_twice_the_size(
    weights: Path, clip: Path, images: np.ndarray, encoded: list[int]
) -> None:
    """All frames are the network's, also those at the time of a given one, so that none stands out."""
    run(clip, "--model", "videoinr", "--fps", "x4", "--size", "x2", "--out", "out/")
    made = shown("out")
    assert len(made) == 12
    # A run for each pair, and one for the last frame, which is held.
    assert encoded == [1, 1, 1]
    for number in range(2):
        expected = alone(weights, images[number], images[number + 1], 66, 100)
        for one, other in zip(made[4 * number :], expected, strict=False):
            near(one, other)
    for image in made[8:]:
        near(image, alone(weights, images[2], images[2], 66, 100)[0])


@pytest.mark.slow
def test_frames_of_the_same_size_stay_as_they_are(
    weights: Path, clip: Path, images: np.ndarray, encoded: list[int]
) -> None:
    run(clip, "--model", weights, "--fps", "x4", "--out", "out/")
    made = shown("out")
    assert encoded == [1, 1]
    for number in range(3):
        np.testing.assert_array_equal(made[4 * number], images[number])
    for one, other in zip(made[1:4], alone(weights, images[0], images[1], 33, 50)[1:], strict=True):
        near(one, other)


@pytest.mark.slow
def test_another_size_alone(weights: Path, clip: Path, images: np.ndarray, encoded: list[int]) -> None:
    run(clip, "--model", "videoinr", "--size", "75x50", "--out", "out/")
    made = shown("out")
    assert len(made) == 3
    assert len(encoded) == 3
    near(made[1], alone(weights, images[1], images[2], 50, 75)[0])


@pytest.mark.slow
def test_nothing_is_seen_across_a_cut(weights: Path, images: np.ndarray) -> None:
    given = as_frames(images)
    given[1] = flowcli.Frame(given[1].image, 1, given[1].time, cut=True)
    times = [Fraction(number, 40) for number in range(8)]
    made = [frame.image for frame in flowcli.interpolate(given, times, model="videoinr", size=(66, 100))]
    for number in (0, 1, 2):
        near(made[number], alone(weights, images[0], images[0], 66, 100)[0])
    near(made[3], alone(weights, images[1], images[1], 66, 100)[0])
    for one, other in zip(made[4:], alone(weights, images[1], images[2], 66, 100), strict=True):
        near(one, other)


def test_the_mode_of_inference_is_not_left_on(weights: Path, images: np.ndarray) -> None:
    made = flowcli.interpolate(as_frames(images), [Fraction(1, 40), Fraction(3, 40)], model="videoinr")
    for _ in made:
        assert not torch.is_inference_mode_enabled()


def test_frames_of_several_sizes(weights: Path, images: np.ndarray) -> None:
    given = as_frames(images)
    given[1] = flowcli.Frame(images[1, :-1], 1, given[1].time)
    with pytest.raises(flowcli.FlowcliError, match=r"^frame 1 is 50x32, the one before it is 50x33$"):
        list(flowcli.interpolate(given, [Fraction(1, 20)], model="videoinr"))


def test_summary(weights: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--model", "videoinr", "--times", "0.05", "--out", "middle.png", "--json", "--device", "cpu")
    assert main(["interpolate", str(clip), *arguments]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["model"], summary["flow"]) == ("videoinr", None)
    assert (summary["device"], summary["precision"]) == ("cpu", "fp32")
    assert summary["weights"] == {
        "short": summary["weights"]["sha256"][:8],
        "sha256": entries.resolve("videoinr").sha256,
    }


@pytest.mark.parametrize(
    ("model", "message", "hint"),
    [
        (
            "videoinr",
            "model videoinr is listed, but its weights are not fetched yet",
            "add --fetch, or run: flowcli models fetch videoinr (licence: none stated, so all rights are reserved)",
        ),
        ("splatt", "unknown model: splatt", "did you mean splat?"),
        ("gone", "unknown model: gone", "there are: splat, blend, nearest; or name a .safetensors file"),
        ("rpwc", "rpwc makes flow, not frames", "for frames along its flow: --flow rpwc"),
        ("dis", "dis makes flow, not frames", "for frames along its flow: --flow dis"),
    ],
)
def test_models_that_there_are_not(
    model: str, message: str, hint: str, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["interpolate", str(clip), "--fps", "x2", "--out", "out.mp4", "--model", model]) == 1
    assert capsys.readouterr().err == f"error: {message}\nhint: {hint}\n"
    assert os.listdir() == ["in.mkv"]


@pytest.fixture
def along(tmp_path: Path) -> Path:
    """Random weights of the network that makes frames along a flow."""
    torch.manual_seed(0)
    made = random_weights("synthesis", tmp_path).file
    assert made is not None
    return made


@torch.inference_mode()
def synthesised(weights: Path, images: np.ndarray, height: int, width: int) -> np.ndarray:
    """The frame in the middle between two, along the flow of DIS."""
    model = loading.load_as(FrameModel, entries.resolve(str(weights)))
    (pair,) = flowcli.estimate(as_frames(images), model="dis", direction="both")
    assert pair.backward is not None
    given = [torch.from_numpy(each / np.float32(255)).permute(2, 0, 1)[None] for each in images]
    flows = [each.known[None] for each in (pair.forward, pair.backward)]
    (frame,) = model(*given, (0.5,), height, width, *flows)
    levels: np.ndarray = np.rint(255 * frame[0].permute(1, 2, 0).clamp(0, 1).numpy())
    return levels.astype(np.uint8)


@pytest.mark.slow
def test_along_a_flow(along: Path, clip: Path, images: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    dis = ("--model", along, "--flow", "dis", "--device", "cpu")
    run(clip, *dis, "--fps", "x2", "--out", "out/", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["flow"]) == ("synthesis-random", {"model": "dis", "weights": None})
    made = shown("out")
    for number in range(3):
        np.testing.assert_array_equal(made[2 * number], images[number])
    near(made[1], synthesised(along, images[:2], 33, 50))
    run(clip, *dis, "--fps", "x2", "--size", "x2", "--out", "large/")
    large = shown("large")
    assert all(image.shape == (66, 100, 3) for image in large)
    near(large[1], synthesised(along, images[:2], 66, 100))
    # In a still, no other frame has a say.
    near(large[5], large[4])
