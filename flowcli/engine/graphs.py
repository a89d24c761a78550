"""CUDA graphs: work that repeats with tensors of the same shapes is recorded once, then replayed.

A network is hundreds of short kernels. Launching them one by one keeps the CPU busy and the GPU waiting; a graph is
launched as a whole. It reads and writes its own tensors, always at the same addresses.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Tensors = tuple[Tensor, ...]
Function = Callable[..., Tensors]
Recording = tuple[Callable[[], None], Tensors]
"""A function that replays the work, and the tensors with its results."""
Record = Callable[[Function, Tensors], Recording]

STEADY = 3
"""Calls of one kind in a row that run as usual before a graph is recorded, which short inputs never pay for."""

_READS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
_capturing = threading.Lock()
_log = logging.getLogger("flowcli")


class Graphs:
    """Runs functions of tensors: directly at first, and from a graph when calls of one kind repeat.

    Only one graph is kept, to save memory. If recording fails, functions run directly from then on.
    record: makes a recording, as the function `record` does. weights: returns what functions read besides their
    arguments; it is kept as long as the graph, which knows only its addresses.
    """

    def __init__(self, record: Record, weights: Callable[[], object] = lambda: None) -> None:
        self._record = record
        self._weights = weights
        self._graph: _Graph | None = None
        self._kind: Hashable = None
        """The kind of call that the graph replays."""
        self._last: Hashable = None
        self._streak = 0
        self._impossible = False

    def run(self, key: Hashable, function: Function, inputs: Tensors) -> Tensors:
        """The result of `function(*inputs)`; the next call may overwrite it.

        key: everything that the function depends on besides its arguments.
        """
        kind = key, *((each.shape, each.dtype, each.device) for each in inputs)
        self._streak = self._streak + 1 if kind == self._last else 1
        self._last = kind
        if kind != self._kind and self._streak > STEADY and not self._impossible:
            self._replace(kind, function, inputs)
        if self._graph is None or kind != self._kind:
            return function(*inputs)
        return self._graph(inputs)

    def drop(self) -> None:
        """Frees the memory of the graph."""
        self._graph = self._kind = self._last = None

    def _replace(self, kind: Hashable, function: Function, inputs: Tensors) -> None:
        self.drop()
        try:
            self._graph = _Graph(self._record, function, inputs, self._weights())
            self._kind = kind
        except Exception as error:  # noqa: BLE001 - it ran before without a graph, and goes on to
            self._impossible = True
            _log.debug("no CUDA graph: %s", str(error).partition("\n")[0])


class _Graph:
    """A recording with the tensors that it reads."""

    @torch.inference_mode()
    def __init__(self, record: Record, function: Function, inputs: Tensors, weights: object) -> None:
        self._weights = weights
        self._inputs = tuple(each.clone() for each in inputs)
        self._replay, self._outputs = record(function, self._inputs)

    @torch.inference_mode()
    def __call__(self, inputs: Tensors) -> Tensors:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._replay()
        return self._outputs


def record(function: Function, inputs: Tensors) -> Recording:
    """A CUDA graph of `function(*inputs)`. Raises RuntimeError if it does what a graph cannot.

    Source: the steps that PyTorch's documentation asks for, "CUDA semantics", section "CUDA Graphs".
    """
    # One at a time in a process; other threads may go on with what is no recording (thread_local).
    with _capturing, torch.cuda.device(inputs[0].device):
        # torch has 32 streams of a priority and hands them out again: with this one nobody else gets the same.
        here, side, graph = torch.cuda.current_stream(), torch.cuda.Stream(priority=-1), torch.cuda.CUDAGraph()
        # What was cached for this stream cannot be used on the other one.
        torch.cuda.empty_cache()
        side.wait_stream(here)
        try:
            # A recording that fails would leave torch's allocator in disorder (pytorch#180395): look first.
            with torch.cuda.stream(side), NoWaiting():  # type: ignore[no-untyped-call]
                function(*inputs)
            with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                outputs = function(*inputs)
        finally:
            # torch.cuda.graph leaves its stream behind if it fails.
            torch.cuda.set_stream(here)
            here.wait_stream(side)
        return graph.replay, outputs


class NoWaiting(TorchDispatchMode):
    """A context in which everything that makes the CPU wait for the GPU raises RuntimeError, as in a graph it must not.

    These are: reading a value, a shape that depends on values, and copies between devices, including new tensors made
    from numbers.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else torch imports its compiler here, for a second.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        if _READS.intersection(func.tags) or func is torch.ops.aten.lift_fresh.default:
            raise RuntimeError(f"{func} waits for the GPU")
        result = func(*args, **kwargs)
        leaves = tree_leaves((args, kwargs, result))
        if len({each.device for each in leaves if isinstance(each, Tensor)}) > 1:
            raise RuntimeError(f"{func} copies between devices")
        return result
