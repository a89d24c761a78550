"""What an engine has besides the network on a GPU. What needs one is skipped where there is none."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli import models
from flowcli.engine.cuda import Uploads, free_memory, measured
from flowcli.engine.engine import Engine
from flowcli.engine.graphs import STEADY
from flowcli.models.base import Features
from flowcli.types import Direction
from tests.fakes import DIRECTIONS, Tiny, frame, run

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")


@on_a_gpu
def test_uploads_are_not_mixed_up() -> None:
    device = torch.device("cuda", 0)
    upload = Uploads(device)
    images = [np.full((2, 300, 400, 3), number, np.uint8) for number in range(40)]
    there = [upload(list(each)) for each in images]
    for pixels, number in zip(there, range(40), strict=True):
        assert pixels.shape == (2, 300, 400, 3)
        assert (pixels == number).all()


@on_a_gpu
def test_memory_is_measured() -> None:
    device = torch.device("cuda", 0)
    with measured(device) as need:
        first = torch.empty(2**26, dtype=torch.uint8, device=device)
        del first
        second = torch.empty(2**24, dtype=torch.uint8, device=device)
    assert 2**26 <= need.bytes < 2**27
    assert free_memory(device) > 0
    del second


@on_a_gpu
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("batch", [1, 3])
def test_replayed_flow_is_that_of_an_eager_engine(direction: Direction, batch: int) -> None:
    frames = [frame(index, 100, 140) for index in range((STEADY + 4) * batch + 2)]
    torch.manual_seed(0)
    model = models.create("rpwc")
    eager = list(Engine(model, "cuda", "fp32", batch, graphs=False).pairs(frames, direction))
    engine = Engine(model, "cuda", "fp32", batch)
    # All are kept until the end: a replay that wrote over the flow of the one before would be seen.
    replayed = list(engine.pairs(frames, direction))
    assert engine._graphs is not None
    assert engine._graphs._graph is not None
    for one, other in zip(replayed, eager, strict=True):
        torch.testing.assert_close(one.forward.uv, other.forward.uv, atol=1e-3, rtol=1e-3)
        if other.backward is not None:
            assert one.backward is not None
            torch.testing.assert_close(one.backward.uv, other.backward.uv, atol=1e-3, rtol=1e-3)


@on_a_gpu
def test_two_engines_and_two_streams() -> None:
    ones, others = [frame(index) for index in range(12)], [frame(index) for index in range(20, 32)]
    engines = [Engine(Tiny(), "cuda", "fp32", 1) for _ in range(2)]
    both = list(zip(engines[0].pairs(ones), engines[0].pairs(others), engines[1].pairs(ones), strict=True))
    expected = [run(Tiny(), frames) for frames in (ones, others, ones)]
    for number, pairs in enumerate(zip(*both, strict=True)):
        for pair, other in zip(pairs, expected[number], strict=True):
            assert torch.allclose(pair.forward.uv.cpu(), other.forward.uv, atol=1e-2)


class Talking(Tiny):
    """Reads a value of the GPU in each step."""

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        assert first[0].mean().item() < 1e9
        return super().decode(first, second)


@on_a_gpu
def test_a_network_that_waits_is_never_recorded(caplog: pytest.LogCaptureFixture) -> None:
    frames = [frame(index) for index in range(3 * STEADY)]
    with caplog.at_level(logging.DEBUG, "flowcli"):
        pairs = list(Engine(Talking(), "cuda", "fp32", 1).pairs(frames))
    assert caplog.messages == ["no CUDA graph: aten._local_scalar_dense.default waits for the GPU"]
    assert torch.allclose(pairs[-1].forward.uv.cpu(), run(Tiny(), frames)[-1].forward.uv, atol=1e-2)
