"""What an engine has besides the network on a GPU. What needs one is skipped where there is none."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli import models
from flowcli.engine.cuda import Received, Uploads, free_memory, hand_over, measured
from flowcli.engine.engine import Engine
from flowcli.engine.graphs import STEADY
from flowcli.models.base import Features
from flowcli.pipeline import Background
from flowcli.types import Direction, FlowField, FlowPair
from tests.fakes import DIRECTIONS, Tiny, frame, run

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")


class Keep:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.seen: list[FlowPair] = []
        self.ends: list[str] = []

    def write(self, item: FlowPair) -> None:
        self.seen.append(item)

    def close(self) -> None:
        self.ends.append("close")

    def abort(self) -> None:
        self.ends.append("abort")


def test_flow_of_a_cpu_is_handed_over_as_it_is() -> None:
    (pair,) = run(Tiny(), [frame(0), frame(1)])
    keep = Keep()
    received = Received(keep)
    handed = hand_over(pair)
    assert handed.ready is None
    received.write(handed)
    received.close()
    received.abort()
    assert keep.seen[0] is pair
    assert keep.ends == ["close", "abort"]


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


@on_a_gpu
def test_other_threads_see_flow_when_it_is_ready() -> None:
    """The flow is written late, behind much other work; its memory is let go by this thread at once."""
    device = torch.device("cuda", 0)
    sums: list[float] = []
    threads: set[str] = set()

    class Sum(Keep):
        def write(self, item: FlowPair) -> None:
            threads.add(threading.current_thread().name)
            assert torch.cuda.current_stream() != torch.cuda.default_stream()
            sums.append(item.forward.uv.double().mean().item())

    sink = Background(Received(Sum()))
    busy = torch.rand(4096, 4096, device=device)
    for number in range(20):
        uv = torch.full((2, 512, 512), -1.0, device=device)
        torch.matmul(busy, busy)
        uv.fill_(number)
        first, second = frame(0), frame(1)
        sink.write(hand_over(FlowPair(first, second, FlowField(uv), at=first)))
        del uv
    sink.close()
    assert sums == list(range(20))
    assert len(threads) == 1
