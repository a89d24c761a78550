"""Every network against flows that this project computed itself, when test_parity.py had found the networks right.

`python -m tests.models.flow.test_goldens` makes goldens.npz anew, for a network that is new, changed on purpose, or
has new weights (rpwc); test_parity.py has to pass before.
"""

from __future__ import annotations

import gc
import re
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.functional import interpolate

from flowcli import models
from flowcli.engine.engine import Engine
from flowcli.models.base import FlowModel
from flowcli.types import Frame
from flowcli.weights import entries, loading
from tests.formula import noise, pictures

pytestmark = pytest.mark.slow

PATH = Path(__file__).with_name("goldens.npz")
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "flownets": ("flownets", {}),
    "flownets-bn": ("flownets", {"norm": True}),
    "flownetc": ("flownetc", {}),
    **{f"flownet2-{variant}": ("flownet2", {"variant": variant}) for variant in ("c", "s", "sd", "cs", "css", "full")},
    "spynet": ("spynet", {}),
    "pwcnet": ("pwcnet", {}),
    "rpwc": ("rpwc", {}),
}
SIZES = {"spynet": ((100, 150), (33, 520))}
"""Of the pictures; SpyNet uses all of its six networks only if one side is longer than 512."""
SIZE = ((100, 150),)
"""Of all others: no multiple of anything that a network wants."""
KEPT = (slice(None), slice(None, None, 5), slice(None, None, 7))
"""What the file holds of a flow: rows and columns that fall on every phase of upsampling by 2, 4 and 8."""
MEAN, LARGEST = 5e-4, 2e-3
"""Pixels of difference that are rounding. The most, of any network, was 1.3e-4 and 4.7e-4 in double precision, and less
with other kernels, instruction sets and numbers of threads."""
GAINS = (
    (r"flownets_d\.predict_flow2", 8.0),
    (r"upsampled_flow|deconv\d\.weight", 8.0),
    (r"(flownetc|net)\.conv3\.0", 6.0),
    (r"^conv[2-6]b|^conv6_0", 5.0),
    (r"^conv[3-6]a\.", 0.5),
    (r"", 1.4),
)
"""The first whose pattern is in the name of a weight; so that every tensor matters, and flows are some pixels long."""


def formula(key: str, tensor: Tensor) -> Tensor:
    """A tensor of that shape, of numbers that follow from the key."""
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    start = np.roll(noise(), -zlib.crc32(key.encode()))[: tensor.numel()]
    values = np.resize(start, tensor.shape)
    if values.ndim == 1:
        scale = key.endswith(("weight", "running_var"))
        values = 1 + 0.2 * np.abs(values) if scale else 0.2 * values
    else:
        # Filters whose weights sum to zero answer to differences, of which activations have less than they share.
        values -= values.mean((1, 2, 3), keepdims=True)
        gain = next(gain for pattern, gain in GAINS if re.search(pattern, key))
        values *= np.float32(gain / np.sqrt(values[0].size))
    return torch.from_numpy(values)


def network(case: str) -> FlowModel:
    """The network, ours with its own weights, others with the formula's."""
    name, settings = CASES[case]
    if name == "rpwc":
        return loading.load(entries.resolve(name))
    with torch.device("meta"):
        model = models.create(name, **settings)
    model.load_state_dict({key: formula(key, tensor) for key, tensor in model.state_dict().items()}, assign=True)
    return model


def estimated(engine: Engine, images: list[np.ndarray]) -> np.ndarray:
    frames = (Frame(image, index, Fraction(index)) for index, image in enumerate(images))
    return next(engine.pairs(frames)).forward.uv[KEPT].numpy()


def with_corners_swapped(image: Tensor, size: Any, mode: str, align_corners: bool | None, **_: Any) -> Tensor:
    swapped = None if align_corners is None else not align_corners
    return interpolate(image, size, mode=mode, align_corners=swapped)


def keys(case: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Names in the file, and the size of pictures that each is of."""
    for height, width in SIZES.get(case, SIZE):
        yield f"{case}_{width}x{height}", (height, width)


LARGE = tuple(name for name in CASES if name.startswith("flownet2"))


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in CASES]
)
def case(request: pytest.FixtureRequest) -> Iterator[tuple[str, Engine]]:
    yield request.param, Engine(network(request.param), device="cpu", precision="fp32")
    gc.collect()


@pytest.mark.parametrize("device", ["torch", "cpp"], indirect=True)
def test_flow_is_the_golden_one(case: tuple[str, Engine], device: str) -> None:
    name, engine = case
    for key, size in keys(name):
        difference = estimated(engine, pictures(*size)) - np.load(PATH)[key]
        assert np.linalg.norm(difference, axis=0).mean() <= MEAN, key
        assert np.abs(difference).max() <= LARGEST, key


def test_typical_mistakes_are_far_from_the_golden_one(
    case: tuple[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, engine = case
    for key, size in keys(name):
        right = pictures(*size)
        wrong = {
            "BGR for RGB": estimated(engine, [image[..., ::-1] for image in right]),
            "second picture first": estimated(engine, right[::-1]),
            "first picture twice": estimated(engine, right[:1] * 2),
        }
        with monkeypatch.context() as patch:
            patch.setattr(F, "interpolate", with_corners_swapped)
            wrong["align_corners swapped"] = estimated(engine, right)
        golden = np.load(PATH)[key]
        distance = {mistake: np.linalg.norm(flow - golden, axis=0).mean() for mistake, flow in wrong.items()}
        assert min(distance.values()) > 50 * MEAN, distance


if __name__ == "__main__":
    made: dict[str, Any] = {}
    for each in CASES:
        engine = Engine(network(each), device="cpu", precision="fp32")
        made |= {key: estimated(engine, pictures(*size)) for key, size in keys(each)}
    np.savez_compressed(PATH, **made)
