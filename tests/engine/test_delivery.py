"""Pairs that go to another thread. What needs a GPU is skipped where there is none."""

from __future__ import annotations

import threading

import pytest
import torch

from flowcli.engine.delivery import FlowBackground
from flowcli.types import FlowField, FlowPair
from tests.fakes import Tiny, frame, run


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


def test_flow_of_a_cpu_is_delivered_as_it_is() -> None:
    (pair,) = run(Tiny(), [frame(0), frame(1)])
    for end in ("close", "abort"):
        keep = Keep()
        sink = FlowBackground(keep)
        sink.write(pair)
        if end == "close":
            sink.close()
            assert keep.seen == [pair]
        else:
            sink.abort()
        assert keep.ends == [end]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
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

    sink = FlowBackground(Sum())
    busy = torch.rand(4096, 4096, device=device)
    for number in range(20):
        uv = torch.full((2, 512, 512), -1.0, device=device)
        torch.matmul(busy, busy)
        uv.fill_(number)
        first, second = frame(0), frame(1)
        sink.write(FlowPair(first, second, FlowField(uv), at=first))
        del uv
    sink.close()
    assert sums == list(range(20))
    assert len(threads) == 1
