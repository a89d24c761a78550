"""The weights that flowcli carries, against OpenCV's methods: on the project's own clip, and on real pairs."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import flowcli
from flowcli import classic
from flowcli.draw.effects import confidence, occlusion
from flowcli.evaluation.datasets import find_examples
from flowcli.evaluation.scores import evaluate, network, summarise
from flowcli.options import EngineOptions
from flowcli.run import open_engine
from flowcli.types import Precision
from flowcli.video import open_source
from flowcli.weights import entries
from tests import sample

pytestmark = pytest.mark.slow

PRECISIONS: dict[str, Precision] = {"default": "auto", "float32": "fp32"}


def test_sample_clip_against_its_true_flow() -> None:
    errors: dict[str, list[float]] = {"rpwc": [], "farneback": [], "zero": []}
    for index, pair in enumerate(flowcli.estimate(sample.PATH, stop=9, device="cpu")):
        truth, occluded = (tensor.numpy() for tensor in sample.flow(index))
        rival = classic.farneback(pair.first.image, pair.second.image)
        for name, flow in (("rpwc", pair.forward.uv.numpy()), ("farneback", rival), ("zero", 0 * truth)):
            errors[name].append(float(np.linalg.norm(flow - truth, axis=0)[~occluded].mean()))
    assert len(errors["rpwc"]) == 8
    assert np.mean(errors["rpwc"]) < np.mean(errors["farneback"])
    assert np.mean(errors["rpwc"]) < 0.2 * np.mean(errors["zero"])


def test_masks_of_the_sample_clip_against_the_truth() -> None:
    """What is hidden is 6 % of the pixels there."""
    hidden, found, sure = [], [], []
    errors = []
    for index, pair in enumerate(flowcli.estimate(sample.PATH, stop=9, device="cpu", direction="both")):
        truth, occluded = (tensor.numpy() for tensor in sample.flow(index))
        hidden.append(occluded)
        found.append(occlusion(pair).image == 255)
        sure.append(confidence(pair).image > 127)
        errors.append(np.linalg.norm(pair.forward.uv.numpy() - truth, axis=0))
    one, other, agrees, error = map(np.stack, (hidden, found, sure, errors))
    assert (one & other).sum() > 0.8 * one.sum()
    assert (one & other).sum() > 0.7 * (one | other).sum()
    # What comes back along both flows is hidden only where smooth edges take it in.
    assert (other & agrees).sum() < 0.05 * other.sum()
    assert error[~agrees].mean() > 3 * error[agrees].mean()


def test_the_sample_clip_is_the_one_that_the_generator_renders() -> None:
    with open_source(str(sample.PATH)) as source:
        shown = list(source)
    assert len(shown) == sample.FRAMES
    for decoded, rendered in islice(zip(shown, sample.frames(), strict=True), 3):
        assert (decoded.index, decoded.time) == (rendered.index, rendered.time)
        difference = np.abs(decoded.image.astype(int) - rendered.image).mean()
        assert difference < 4, "more than a codec loses"
    assert np.abs(shown[0].image.astype(int) - shown[1].image).mean() > 8, "nothing moves"


@pytest.fixture(scope="module")
def errors(shared: Path) -> dict[str, dict[str, float]]:
    """Mean endpoint error by method and set of real pairs, pixels."""
    entry = entries.resolve("rpwc")
    methods = {
        name: network(open_engine(entry, EngineOptions(device="cpu", precision=precision)))
        for name, precision in PRECISIONS.items()
    }
    found: dict[str, dict[str, float]] = {}
    for each in summarise(evaluate({**methods, "dis": classic.dis}, find_examples(shared / "bench"))):
        found.setdefault(each.method, {})[each.group] = each.values["EPE"]
    return found


@pytest.mark.parametrize(
    ("group", "most"),
    [("middlebury", 1.0), ("flyingchairs", 0.75), ("sintel clean", 1.0), ("sintel final", 1.0), ("kitti2012", 1.1)],
)
def test_against_dis_on_real_pairs(group: str, most: float, errors: dict[str, dict[str, float]]) -> None:
    """At most so many times the error of OpenCV's best; of KITTI there is a single pair."""
    assert errors["default"][group] <= most * errors["dis"][group]


def test_default_precision_is_as_good_as_float32(errors: dict[str, dict[str, float]]) -> None:
    for group, error in errors["float32"].items():
        assert errors["default"][group] <= 1.05 * error, group
