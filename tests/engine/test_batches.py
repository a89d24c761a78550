"""How many frames go through a network at once: by size on a CPU, by memory on a GPU, which is made up here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from flowcli.engine import cuda
from flowcli.engine.batches import MOST, FittingBatches, choose_batch
from flowcli.engine.cuda import Need
from flowcli.engine.engine import Engine
from tests.fakes import Hungry, Tiny, frame, run, same


@pytest.mark.parametrize(
    ("together", "options", "batch"),
    [
        (0, {}, 1),
        (64 * 96 - 1, {}, 1),
        (64 * 96, {}, 1),
        (5 * 64 * 96, {}, 4),
        (99 * 64 * 96, {}, 8),
        (5 * 64 * 96, {"batch": 2}, 2),
        (64 * 96, {"max_side": 48}, 4),
        (64 * 96, {"max_side": 96}, 1),
    ],
)
def test_a_cpu_takes_as_many_frames_as_keep_it_busy(together: int, options: dict[str, Any], batch: int) -> None:
    model = Tiny()
    model.together = together
    engine = Engine(model, "cpu", "fp32", **options)
    frames = [frame(index, 64, 96) for index in range(9)]
    pairs = list(engine.pairs(frames))
    assert engine.batch == batch
    assert [shape[0] for shape in model.encoded] == [batch] * (9 // batch) + [9 % batch] * (9 % batch > 0)
    for pair, other in zip(pairs, run(Tiny(), frames, max_side=engine.max_side), strict=True):
        assert same(pair.forward.uv, other.forward.uv)


def test_the_batch_of_a_cpu_follows_the_size() -> None:
    model = Tiny()
    model.together = 4 * 64 * 96
    engine = Engine(model, "cpu", "fp32")
    for height, width, batch in ((64, 96, 4), (128, 192, 1), (64, 192, 2)):
        list(engine.pairs([frame(index, height, width) for index in range(3)]))
        assert engine.batch == batch


@pytest.mark.parametrize(
    ("free", "need", "batch"),
    [(10**9, 10**8, 4), (10**9, 10**9, 1), (0, 10**6, 1), (10**12, 10**6, MOST), (10**6, 0, MOST), (799, 100, 2)],
)
def test_the_batch_takes_half_of_the_memory_at_most(free: int, need: int, batch: int) -> None:
    assert choose_batch(free, need) == batch


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that are free, and those that a step takes, on a GPU that is made up."""
    numbers = [10**6, 10**5]

    @contextmanager
    def measured(device: torch.device) -> Iterator[Need]:
        need = Need()
        yield need
        need.bytes = numbers[1]

    monkeypatch.setattr(cuda, "measured", measured)
    monkeypatch.setattr(cuda, "free_memory", lambda device: numbers[0])
    return numbers


def choosing(model: Tiny) -> Engine:
    """An engine on the CPU that chooses its batch as one on a GPU does."""
    engine = Engine(model, "cpu", "fp32")
    engine.batches = FittingBatches(engine.device)
    return engine


def test_batches_grow_when_it_is_known_what_a_frame_takes(memory: list[int]) -> None:
    model = Tiny()
    engine = choosing(model)
    frames = [frame(index) for index in range(14)]
    got = list(engine.pairs(frames))
    # The first frame has none before it; the second shows what a whole step takes.
    assert [shape[0] for shape in model.encoded] == [1, 1, 4, 4, 4]
    for pair, other in zip(got, run(Tiny(), frames), strict=True):
        assert same(pair.forward.uv, other.forward.uv)
    model.encoded.clear()
    list(engine.pairs(frames))
    assert [shape[0] for shape in model.encoded] == [4, 4, 4, 2]


def test_frames_of_another_size_are_measured_anew(memory: list[int]) -> None:
    engine = choosing(Tiny())
    list(engine.pairs([frame(index) for index in range(3)]))
    assert engine.batch == 4
    memory[1] *= 2
    list(engine.pairs([frame(index) for index in range(3)]))
    assert engine.batch == 4
    list(engine.pairs([frame(index, 130, 97) for index in range(3)]))
    assert engine.batch == 2


def test_what_runs_out_of_memory_all_the_same_stays_small(memory: list[int]) -> None:
    model = Hungry(2, 2)
    engine = choosing(model)
    frames = [frame(index) for index in range(14)]
    assert len(list(engine.pairs(frames))) == 13
    assert engine.batch == 2


def test_a_batch_that_is_asked_for_is_kept(memory: list[int]) -> None:
    engine = Engine(Tiny(), "cpu", "fp32", 3)
    list(engine.pairs([frame(index) for index in range(5)]))
    assert engine.batch == 3
