"""The weights that flowcli carries, against OpenCV's Farneback: on the project's own clip, and on real pairs."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

import flowcli
from flowcli.video import open_source
from tests import bench, sample


def test_sample_clip_against_its_true_flow() -> None:
    errors: dict[str, list[float]] = {"rpwc": [], "farneback": [], "zero": []}
    for index, pair in enumerate(flowcli.estimate(sample.PATH, stop=9, device="cpu")):
        truth, occluded = (tensor.numpy() for tensor in sample.flow(index))
        rival = bench.farneback(pair.first.image, pair.second.image).transpose(2, 0, 1)
        for name, flow in (("rpwc", pair.forward.uv.numpy()), ("farneback", rival), ("zero", 0 * truth)):
            errors[name].append(float(np.linalg.norm(flow - truth, axis=0)[~occluded].mean()))
    assert len(errors["rpwc"]) == 8
    assert np.mean(errors["rpwc"]) < np.mean(errors["farneback"])
    assert np.mean(errors["rpwc"]) < 0.2 * np.mean(errors["zero"])


def test_the_sample_clip_is_the_one_that_the_generator_renders() -> None:
    with open_source(str(sample.PATH)) as source:
        shown = list(source)
    assert len(shown) == sample.FRAMES
    for decoded, rendered in islice(zip(shown, sample.frames(), strict=True), 3):
        assert (decoded.index, decoded.time) == (rendered.index, rendered.time)
        difference = np.abs(decoded.image.astype(int) - rendered.image).mean()
        assert difference < 4, "more than a codec loses"
    assert np.abs(shown[0].image.astype(int) - shown[1].image).mean() > 8, "nothing moves"


def test_better_than_farneback_on_every_set_of_real_pairs(shared: Path) -> None:
    assert (shared / "bench").is_dir()
    table = bench.table({"farneback": bench.farneback, "rpwc": bench.network("rpwc")})
    worse = [group for group in bench.SETS if not table["rpwc"][group] < table["farneback"][group]]
    assert worse == [], table
