"""Handing flow to another thread while the GPU may still be working on it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from flowcli.pipeline import Background, Stopwatch
from flowcli.types import FlowPair, Sink


@dataclass(frozen=True, eq=False)
class Delivery:
    """A pair for another thread. `ready`: the event after which its flow can be read, None on a CPU."""

    pair: FlowPair
    ready: torch.cuda.Event | None


class FlowBackground:
    """A `Background` for pairs: GPU work of the sink runs in a stream of its own.

    The flow of a pair is read after the GPU has finished what the writing thread had queued.
    """

    def __init__(
        self,
        sink: Sink[FlowPair],
        depth: int = 4,
        watch: Stopwatch | None = None,
        begin: Callable[[], None] = lambda: None,
        end: Callable[[], None] = lambda: None,
    ) -> None:
        receiver = _Receiver(sink)
        self._thread = Background(receiver, depth, watch, begin, lambda: receiver.finish(end))

    def write(self, pair: FlowPair) -> None:
        uv = pair.forward.uv
        ready = None
        if uv.is_cuda:
            ready = torch.cuda.Event()
            ready.record(torch.cuda.current_stream(uv.device))
        self._thread.write(Delivery(pair, ready))

    def close(self) -> None:
        self._thread.close()

    def abort(self) -> None:
        self._thread.abort()


class _Receiver:
    """The receiving end of a FlowBackground, in its thread."""

    def __init__(self, sink: Sink[FlowPair]) -> None:
        self._sink = sink
        self._stream: torch.cuda.Stream | None = None

    def write(self, item: Delivery) -> None:
        if item.ready is None:
            self._sink.write(item.pair)
            return
        self._stream = self._stream or torch.cuda.Stream(item.pair.forward.uv.device)
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(item.ready)
            for tensor in item.pair.tensors:
                # Its memory is not reused before this stream is done with it.
                tensor.record_stream(self._stream)
            self._sink.write(item.pair)

    def finish(self, end: Callable[[], None]) -> None:
        """Calls `end` where pairs are written."""
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            end()

    def close(self) -> None:
        self._sink.close()

    def abort(self) -> None:
        self._sink.abort()
