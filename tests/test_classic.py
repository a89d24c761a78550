from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch

from flowcli import classic
from flowcli.engine.engine import Engine
from flowcli.errors import WeightsError
from flowcli.options import EngineOptions
from flowcli.run import open_engine
from flowcli.types import FlowField, FlowPair, Frame
from flowcli.weights import entries, loading


@pytest.mark.parametrize("name", classic.METHODS)
def test_a_picture_that_is_shifted(name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 52, 3)).astype(np.float32)
    large = cv2.resize(noise, (260, 200), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    first, second = large[10:-10, 10:-10], large[12:-8, 7:-13]
    flow = classic.METHODS[name](first, second)
    assert flow.shape == (2, 180, 240)
    assert flow.dtype == np.float32
    inner = flow[:, 20:-20, 20:-20]
    assert np.median(inner[0]) == pytest.approx(3, abs=0.1)
    assert np.median(inner[1]) == pytest.approx(-2, abs=0.1)


def frames(*images: np.ndarray) -> list[Frame]:
    return [Frame(image, index, Fraction(index)) for index, image in enumerate(images)]


def moved(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures, the second shifted by (1.5, -0.75) pixels."""
    noise = np.random.default_rng(1).integers(0, 256, (height // 4, width // 4, 3)).astype(np.float32)
    first = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    shift = np.array([[1, 0, 1.5], [0, 1, -0.75]], np.float32)
    second = cv2.warpAffine(first, shift, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return first.astype(np.uint8), second.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", classic.METHODS)
def test_in_the_place_of_a_network(name: str) -> None:
    first, second = moved(80, 120)
    engine = Engine(classic.Classic(name), device="cpu", precision="bf16")
    pairs = list(engine.pairs(frames(first, second, first), direction="both"))
    for pair, images in zip(pairs, ((first, second), (second, first)), strict=True):
        np.testing.assert_array_equal(pair.forward.uv.numpy(), classic.METHODS[name](*images))
        assert pair.backward is not None
        np.testing.assert_array_equal(pair.backward.uv.numpy(), classic.METHODS[name](*reversed(images)))


@pytest.mark.parametrize("name", classic.METHODS)
def test_pictures_of_any_size(name: str) -> None:
    for height, width in ((1, 1), (7, 40), (33, 65)):
        images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
        (pair,) = Engine(classic.Classic(name), device="cpu").pairs(frames(*images))
        assert pair.forward.uv.shape == (2, height, width)
        assert pair.forward.uv.isfinite().all()


def test_variational_refinement_comes_nearer_to_the_truth() -> None:
    first, second = moved(96, 128)
    true = torch.tensor([1.5, -0.75])[:, None, None].expand(2, 96, 128)
    rough = true + 0.4 * torch.sin(torch.arange(128) / 3)
    back = -rough
    one, other = frames(first, second)
    pair = classic.refined(FlowPair(one, other, FlowField(rough), FlowField(back), at=one))
    assert pair.backward is not None
    for flow, before, truth in ((pair.forward, rough, true), (pair.backward, back, -true)):
        inside = (slice(None), slice(12, -12), slice(12, -12))
        assert (flow.uv - truth)[inside].abs().mean() < 0.5 * (before - truth)[inside].abs().mean()
    assert rough[0, 0, 5] == true[0, 0, 5] + 0.4 * np.sin(np.float32(5 / 3)), "what was given is not changed"


def test_every_method_has_a_name_that_is_known_without_opencv() -> None:
    for name in entries.CLASSIC:
        entry = entries.resolve(name)
        assert (entry.name, entry.file, entry.parameters) == (name, None, 0)
        engine = open_engine(entry, EngineOptions(device="cpu", variational=True))
        assert engine.after is classic.refined
    with pytest.raises(WeightsError) as caught:
        open_engine(entry, EngineOptions(refine=2))
    assert caught.value.message == "farneback has nothing to refine"
    with pytest.raises(WeightsError, match=r"^dis has no weights$"):
        loading.load(entries.resolve("dis"))
