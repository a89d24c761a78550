from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch

from flowcli.errors import LimitError
from flowcli.types import FlowField, FlowPair, Frame, drain


class Record:
    """A sink that notes what is done to it, and fails where it is told to."""

    def __init__(self, fails: str = "") -> None:
        self.done: list[object] = []
        self.fails = fails

    def _note(self, what: object) -> None:
        self.done.append(what)
        if what == self.fails:
            raise OSError(self.fails)

    def write(self, item: str) -> None:
        self._note(item)

    def close(self) -> None:
        self._note("close")

    def abort(self) -> None:
        self._note("abort")


def test_drain_writes_all_to_all_and_closes() -> None:
    sinks = [Record(), Record()]
    assert drain("xyz", sinks) == 3
    assert [sink.done for sink in sinks] == [["x", "y", "z", "close"]] * 2


def test_drain_aborts_all_when_the_items_fail() -> None:
    def items() -> Iterator[str]:
        yield "x"
        raise KeyboardInterrupt

    sinks = [Record(), Record()]
    with pytest.raises(KeyboardInterrupt):
        drain(items(), sinks)
    assert [sink.done for sink in sinks] == [["x", "abort"]] * 2


def test_drain_aborts_all_when_one_cannot_write() -> None:
    sinks = [Record(), Record("y"), Record()]
    with pytest.raises(OSError, match="y"):
        drain("xyz", sinks)
    assert [sink.done for sink in sinks] == [["x", "y", "abort"], ["x", "y", "abort"], ["x", "abort"]]


def test_drain_aborts_the_others_when_one_cannot_close() -> None:
    sinks = [Record(), Record("close"), Record()]
    with pytest.raises(OSError, match="close"):
        drain("x", sinks)
    assert [sink.done for sink in sinks] == [["x", "close"], ["x", "close", "abort"], ["x", "abort"]]


class Limited(Record):
    """Cannot hold "y"."""

    def write(self, item: str) -> None:
        super().write(item)
        if item == "y":
            raise LimitError("no y")


def test_a_limit_ends_only_the_sink_that_has_it() -> None:
    sinks = [Record(), Limited(), Record()]
    with pytest.raises(LimitError, match=r"^no y$"):
        drain("xyz", sinks)
    whole = ["x", "y", "z", "close"]
    assert [sink.done for sink in sinks] == [whole, ["x", "y", "abort"], whole]


def test_a_limit_ends_the_work_if_there_is_no_other_sink() -> None:
    def items() -> Iterator[str]:
        yield from "xy"
        pytest.fail("nobody takes it")

    sinks = [Limited()]
    with pytest.raises(LimitError):
        drain(items(), sinks)
    assert sinks[0].done == ["x", "y", "abort"]


def pair(first: int, second: int, backward: bool) -> FlowPair:
    one, other = (Frame(np.zeros((2, 3, 3), np.uint8), index, Fraction(index)) for index in (first, second))
    forth, back = (FlowField(torch.full((2, 2, 3), value)) for value in (1.0, -1.0))
    return FlowPair(one, other, forth, back if backward else None, at=one)


def test_reversed_pair() -> None:
    forth = pair(0, 1, backward=True)
    back = forth.reversed()
    assert (back.first, back.second) == (forth.second, forth.first)
    assert (back.forward, back.backward) == (forth.backward, forth.forward)
    assert back.at is forth.at is forth.first
    with pytest.raises(ValueError, match=r"^the pair has no backward flow$"):
        pair(0, 1, backward=False).reversed()


def test_unknown_flow_is_nan_in_memory() -> None:
    uv = torch.arange(8, dtype=torch.float32).view(2, 1, 4)
    assert FlowField(uv).numpy().tolist() == uv.tolist()
    uv[0, 0, 1], uv[1, 0, 2] = float("nan"), float("-inf")
    nan = float("nan")
    np.testing.assert_array_equal(FlowField(uv).numpy(), [[[0, nan, nan, 3]], [[4, nan, nan, 7]]])
    masked = FlowField(uv, torch.tensor([[False, True, True, True]])).numpy()
    assert masked.dtype == np.float32
    np.testing.assert_array_equal(masked, [[[nan, nan, nan, 3]], [[nan, nan, nan, 7]]])
    assert uv[:, 0, 0].tolist() == [0, 4]
