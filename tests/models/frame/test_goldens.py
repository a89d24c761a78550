"""VideoINR against frames that this project computed itself, when test_parity.py had found the network right.

`python -m tests.models.frame.test_goldens` makes goldens.npz anew, for a network that is changed on purpose;
test_parity.py has to pass before.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli import models
from flowcli.models.base import FrameModel
from flowcli.models.frame import _alignment, _decoder, _siren
from tests.formula import noise, pictures

pytestmark = pytest.mark.slow

PATH = Path(__file__).with_name("goldens.npz")
HEIGHT, WIDTH = 29, 38
"""Of the pictures: no multiple of anything that a network wants."""
CASES = {"x2": (58, 76), "2.5": (72, 95), "x4": (116, 152)}
"""Sizes of frames; many pixels of the second one lie just between two of the input."""
TIMES = (0.0, 0.375, 1.0)
KEPT = (slice(None), slice(None, None, 5), slice(None, None, 7))
"""What the file holds of a frame."""
MEAN, LARGEST = 1e-4, 2e-3
"""Of the range of RGB: difference that is rounding."""
GAINS = (
    (r"(content|motion|colour)\.layers\.0\.", 0.15),
    (r"content\.layers\.3|motion\.layers\.3|colour\.layers\.4", 0.5),
    (r"(content|motion|colour)\.layers\.", 0.05),
    (r"\.places\.", 0.5),
    (r"(front|trunk)\.\d+\.conv2", 0.15),
    (r"encoder\.first", 3.0),
    (r"", 1.4),
)
"""The first whose pattern is in the name of a weight; so that every tensor matters and sines stay in their range."""


def formula(key: str, tensor: Tensor) -> Tensor:
    """A tensor of that shape, of numbers that follow from the key."""
    values = np.resize(np.roll(noise(), -zlib.crc32(key.encode()))[: tensor.numel()], tensor.shape)
    if values.ndim == 1:
        return torch.from_numpy(0.1 * values)
    gain = next(gain for pattern, gain in GAINS if re.search(pattern, key))
    return torch.from_numpy(values * np.float32(gain / np.sqrt(values[0].size)))


@pytest.fixture(scope="module")
def model() -> FrameModel:
    return network()


def network() -> FrameModel:
    with torch.device("meta"):
        model = models.create_frame("videoinr")
    model.load_state_dict({key: formula(key, tensor) for key, tensor in model.state_dict().items()}, assign=True)
    # Pixels look some way off, in other directions for the two frames.
    with torch.no_grad():
        model.get_parameter("decoder.motion.layers.3.weight").mul_(8)
    return model.eval()


def pair() -> tuple[Tensor, Tensor]:
    first, second = (torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 for image in pictures(HEIGHT, WIDTH))
    return first, second


@torch.inference_mode()
def made(model: FrameModel, first: Tensor, second: Tensor, cases: dict[str, tuple[int, int]]) -> dict[str, np.ndarray]:
    """The frames at all times, by the name of the case."""
    features = model.encode(first, second)
    return {
        name: np.stack([frame[0][KEPT].numpy() for frame in model.decode(features, TIMES, *size)])
        for name, size in cases.items()
    }


@pytest.mark.parametrize("device", ["torch", "cpp"], indirect=True)
def test_frames_are_the_golden_ones(model: FrameModel, device: str) -> None:
    goldens = np.load(PATH)
    model.train()
    found = {f"training {name}": frames for name, frames in made(model, *pair(), {"x2": CASES["x2"]}).items()}
    model.eval()
    found |= made(model, *pair(), CASES)
    assert found.keys() == set(goldens)
    for name, frames in found.items():
        difference = np.abs(frames - goldens[name])
        assert difference.mean() <= MEAN, name
        assert difference.max() <= LARGEST, name


Given = tuple[Tensor, Tensor]
Patch = pytest.MonkeyPatch


def nearest_for_bilinear(patch: Patch) -> None:
    sample = F.grid_sample

    def nearest(image: Tensor, grid: Tensor, mode: str, **others: Any) -> Tensor:
        return sample(image, grid, "nearest", **others)

    patch.setattr(F, "grid_sample", nearest)


MISTAKES: dict[str, tuple[Callable[[Given], Given], Callable[[Patch], None]]] = {
    "frames exchanged": (lambda pair: (pair[1], pair[0]), lambda patch: None),
    "BGR for RGB": (lambda pair: (pair[0].flip(1), pair[1].flip(1)), lambda patch: None),
    "padding by the border": (
        lambda pair: (F.pad(pair[0], (0, 2, 0, 3), "replicate"), F.pad(pair[1], (0, 2, 0, 3), "replicate")),
        lambda patch: None,
    ),
    "omega 20": (lambda pair: pair, lambda patch: patch.setattr(_siren, "OMEGA", 20.0)),
    "slope 0.2": (lambda pair: pair, lambda patch: patch.setattr(_alignment, "SLOPE", 0.2)),
    "not clamped": (lambda pair: pair, lambda patch: patch.setattr(_decoder, "EDGE", -1e6)),
    "nearest samples": (lambda pair: pair, nearest_for_bilinear),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_typical_mistakes_are_far_from_the_golden_ones(
    model: FrameModel, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    given, patch = MISTAKES[mistake]
    patch(monkeypatch)
    first, second = given(pair())
    # Larger pictures make larger frames: the part that the usual ones show is compared.
    size = 2 * first.shape[2], 2 * first.shape[3]
    wrong = made(model, first, second, {"x2": size})["x2"][:, :, :12, :11]
    assert np.abs(wrong - np.load(PATH)["x2"]).mean() > 20 * MEAN


def test_the_golden_frames_differ_from_each_other() -> None:
    goldens = np.load(PATH)
    for name, frames in goldens.items():
        assert np.isfinite(frames).all()
        assert np.abs(frames[0] - frames[1]).mean() > 20 * MEAN, name
        assert frames.std() > 0.05, name
    assert np.abs(goldens["x2"] - goldens["training x2"]).mean() > 2 * MEAN


if __name__ == "__main__":
    videoinr = network()
    arrays: dict[str, Any] = dict(made(videoinr, *pair(), CASES))
    arrays |= {
        f"training {name}": frames for name, frames in made(videoinr.train(), *pair(), {"x2": CASES["x2"]}).items()
    }
    np.savez_compressed(PATH, **arrays)
