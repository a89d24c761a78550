"""Recording and replaying; here a CPU replays work by doing it again, from and into the same tensors."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from flowcli.engine.engine import Engine
from flowcli.engine.fitting import Fitting
from flowcli.engine.graphs import STEADY, Function, Graphs, NoWaiting, Recording, Tensors, record
from flowcli.engine.schedule import Keyed, Link, Schedule
from flowcli.engine.work import perform, plan_work
from flowcli.models.base import FlowModel
from flowcli.types import Direction
from tests.fakes import DIRECTIONS, SCHEDULES, Hungry, Tiled, Tiny, frame, run, same


class Recorder:
    """Stands for CUDA's graphs: the addresses of what a recording reads and writes stay the same."""

    def __init__(self, fail: Exception | None = None) -> None:
        self.kinds: list[tuple[torch.Size, ...]] = []
        self.replays = 0
        self.results: list[weakref.ref[Tensor]] = []
        self._fail = fail

    def __call__(self, function: Function, inputs: Tensors) -> Recording:
        self.kinds.append(tuple(each.shape for each in inputs))
        if self._fail is not None:
            raise self._fail
        results = tuple(torch.empty_like(each) for each in function(*inputs))
        self.results += map(weakref.ref, results)

        def replay() -> None:
            self.replays += 1
            for own, new in zip(results, function(*inputs), strict=True):
                own.copy_(new)

        return replay, results


def double(*given: Tensor) -> Tensors:
    return tuple(2 * each for each in given)


def feed(graphs: Graphs, count: int, length: int = 3, key: object = None) -> None:
    for number in range(count):
        given = torch.full((length,), float(number))
        (result,) = graphs.run(key, double, (given,))
        assert torch.equal(result, 2 * given)


def test_what_repeats_is_recorded_once() -> None:
    recorder = Recorder()
    graphs = Graphs(recorder)
    feed(graphs, STEADY)
    assert recorder.kinds == []
    feed(graphs, 5)
    assert recorder.kinds == [((3,),)]
    assert recorder.replays == 5


def test_the_tensors_of_a_recording_are_its_own() -> None:
    graphs = Graphs(Recorder())
    feed(graphs, STEADY + 1)
    given = torch.ones(3)
    (first,) = graphs.run(None, double, (given,))
    (second,) = graphs.run(None, double, (torch.zeros(3),))
    assert second.data_ptr() == first.data_ptr()
    assert second.tolist() == [0, 0, 0]
    assert given.tolist() == [1, 1, 1]


def test_what_comes_in_between_does_not_cost_the_graph() -> None:
    recorder = Recorder()
    graphs = Graphs(recorder)
    feed(graphs, STEADY + 1)
    feed(graphs, STEADY, length=4)
    feed(graphs, 2)
    assert recorder.kinds == [((3,),)]
    assert recorder.replays == 3


@pytest.mark.parametrize("other", [{"length": 4}, {"key": "other"}])
def test_another_kind_that_repeats_takes_its_place(other: dict[str, int]) -> None:
    recorder = Recorder()
    graphs = Graphs(recorder)
    feed(graphs, STEADY + 1)
    feed(graphs, STEADY + 2, **other)
    feed(graphs, STEADY + 2)
    assert len(recorder.kinds) == 3
    assert recorder.replays == 1 + 2 + 2


def test_kinds_that_take_turns_are_not_recorded() -> None:
    recorder = Recorder()
    graphs = Graphs(recorder)
    for _ in range(3 * STEADY):
        feed(graphs, 1)
        feed(graphs, 1, length=4)
    assert recorder.kinds == []


def test_where_nothing_can_be_recorded_work_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(RuntimeError("item() waits\nand more"))
    graphs = Graphs(recorder)
    with caplog.at_level(logging.DEBUG, "flowcli"):
        feed(graphs, 3 * STEADY)
        feed(graphs, 3 * STEADY, length=4)
    assert len(recorder.kinds) == 1
    assert caplog.messages == ["no CUDA graph: item() waits"]


def test_memory_is_given_back_and_weights_are_kept_until_then() -> None:
    class Weights:
        pass

    kept: list[weakref.ref[Weights]] = []

    def weights() -> Weights:
        made = Weights()
        kept.append(weakref.ref(made))
        return made

    recorder = Recorder()
    graphs = Graphs(recorder, weights)
    feed(graphs, STEADY + 1)
    assert kept[0]() is not None
    graphs.drop()
    assert kept[0]() is None
    feed(graphs, STEADY)
    assert len(recorder.kinds) == 1
    feed(graphs, 1)
    assert len(recorder.kinds) == 2


# In the engine


def with_graphs(model: FlowModel, recorder: Recorder, batch: int = 1) -> Engine:
    """An engine on the CPU that does with its steps what one on a GPU does."""
    engine = Engine(model, "cpu", "fp32", batch)
    engine._graphs = Graphs(recorder, engine.model.state_dict)
    return engine


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("batch", [1, 3])
def test_flow_is_the_same_with_graphs(direction: Direction, batch: int) -> None:
    frames = [frame(index) for index in range(7 * batch + 2)]
    recorder = Recorder()
    got = list(with_graphs(Tiny(), recorder, batch).pairs(frames, direction))
    # The first step has no frame before it; with batches of three the last one has two frames.
    assert len(recorder.kinds) == 1
    assert recorder.kinds[0][0] == (batch, 65, 97, 3)
    assert recorder.replays == 6 - STEADY + 2 * (batch == 1)
    for pair, other in zip(got, run(Tiny(), frames, direction), strict=True):
        assert pair.first is other.first
        assert same(pair.forward.uv, other.forward.uv)
        assert not pair.forward.uv.is_inference()
        if other.backward is not None:
            assert pair.backward is not None
            assert same(pair.backward.uv, other.backward.uv)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_links_are_the_same_with_graphs(schedule: Schedule) -> None:
    frames = [frame(index) for index in range(16)]
    engine, plain = with_graphs(Tiny(), Recorder()), Engine(Tiny(), "cpu", "fp32")
    # All are kept until the end: a replay that wrote over what is still needed would be seen.
    for got, expected in zip(list(engine.link(frames, schedule)), plain.link(frames, schedule), strict=True):
        for pair, other in zip(got.pairs, expected.pairs, strict=True):
            assert (pair.first, pair.second) == (other.first, other.second)
            assert same(pair.forward.uv, other.forward.uv)
            if other.backward is not None:
                assert pair.backward is not None
                assert same(pair.backward.uv, other.backward.uv)


def test_a_key_in_use_for_long_is_read_by_a_graph() -> None:
    recorder = Recorder()
    list(with_graphs(Tiny(), recorder).link([frame(index) for index in range(20)], Keyed(10, "before")))
    assert [kind[0] for kind in recorder.kinds] == [(1, 65, 97, 3)]
    assert recorder.replays == 2 * 9 - STEADY


def test_streams_that_share_a_graph_do_not_mix() -> None:
    recorder = Recorder()
    engine = with_graphs(Tiny(), recorder)
    ones, others = [frame(index) for index in range(9)], [frame(index) for index in range(20, 29)]
    both = list(zip(engine.pairs(ones), engine.pairs(others), strict=True))
    assert recorder.replays > 8
    for got, expected in zip(both, zip(run(Tiny(), ones), run(Tiny(), others), strict=True), strict=True):
        assert all(same(a.forward.uv, b.forward.uv) for a, b in zip(got, expected, strict=True))


def test_a_change_of_direction_or_size_is_another_graph() -> None:
    recorder = Recorder()
    engine = with_graphs(Tiny(), recorder)
    for direction, height in (("forward", 65), ("both", 65), ("both", 40)):
        list(engine.pairs([frame(index, height) for index in range(8)], direction))  # type: ignore[arg-type]
    assert [kind[0] for kind in recorder.kinds] == [(1, 65, 97, 3), (1, 65, 97, 3), (1, 40, 97, 3)]


def test_too_little_memory_in_a_replay() -> None:
    recorder = Recorder()
    engine = with_graphs(Hungry(9, 9), recorder, 4)
    frames = [frame(index) for index in range(60)]
    got = []
    for pair in engine.pairs(frames):
        got.append(pair)
        if pair.first.index == 30:
            assert recorder.replays > 2
            assert isinstance(engine.model, Hungry)
            engine.model.most_pairs = 2
        if pair.first.index == 33:
            assert [ref() for ref in recorder.results] == [None] * len(recorder.results)
    assert [kind[0][0] for kind in recorder.kinds] == [4, 2]
    for pair, other in zip(got, run(Tiny(), frames), strict=True):
        assert same(pair.forward.uv, other.forward.uv)


def test_tiles_of_another_size_are_another_graph() -> None:
    recorder = Recorder()
    engine = with_graphs(Tiled(1024), recorder)
    frames = [frame(index) for index in range(20)]
    engine.model.tile = 1024
    got = []
    for pair in engine.pairs(frames):
        got.append(pair)
        if pair.first.index == 8:
            assert isinstance(engine.model, Tiled)
            engine.model.tile = engine.model.most = 512
    assert len(recorder.kinds) == 2
    for pair, other in zip(got, run(Tiny(), frames), strict=True):
        assert same(pair.forward.uv, other.forward.uv)


def test_a_network_that_cannot_be_recorded_still_gives_flow(caplog: pytest.LogCaptureFixture) -> None:
    frames = [frame(index) for index in range(9)]
    with caplog.at_level(logging.DEBUG, "flowcli"):
        got = list(with_graphs(Tiny(), Recorder(ValueError("no"))).pairs(frames))
    assert caplog.messages == ["no CUDA graph: no"]
    for pair, other in zip(got, run(Tiny(), frames), strict=True):
        assert same(pair.forward.uv, other.forward.uv)


# What a graph cannot hold


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.sum().item(),
        lambda x: x if x.sum() > 0 else -x,
        lambda x: float(x.max()),
        lambda x: x.nonzero(),
        lambda x: x[x > 0.5],
        lambda x: x.unique(),
        lambda x: torch.where(x > 0.5),
        lambda x: x.new_tensor((1.0, 2.0)),
        lambda x: torch.tensor(3.0) * x,
        lambda x: x.to("meta"),
        lambda x: torch.empty_like(x, device="meta").copy_(x),
    ],
)
@pytest.mark.parametrize("inference", [False, True])
def test_waiting_is_found(work: Callable[[Tensor], object], inference: bool) -> None:
    given = torch.rand(3, 4)
    work(given)
    with torch.inference_mode(inference), NoWaiting(), pytest.raises(RuntimeError, match="aten"):  # type: ignore[no-untyped-call]
        work(given)


class TinyResized(Tiny):
    fit: Literal["pad", "resize"] = "resize"


@pytest.mark.parametrize("model", [Tiny(), TinyResized()])
def test_nor_is_there_any_in_what_the_engine_does(model: Tiny) -> None:
    fitting = Fitting(Engine(model, "cpu", "fp32").model, 65, 97, max_side=49)
    pixels = torch.randint(0, 256, (2, 65, 97, 3), dtype=torch.uint8)
    held = perform(plan_work([], [], [0, 1], {1}, 2), fitting, pixels)
    work = plan_work([Link(1, 2, both=True), Link(2, 3, both=True)], [1], [2, 3], {3}, 2)
    with NoWaiting():  # type: ignore[no-untyped-call]
        forward, backward, *_ = perform(work, fitting, pixels, *held)
    assert forward.shape == backward.shape == (2, 2, 65, 97)


# Recording itself, with streams and a graph that only note what is done to them


@pytest.mark.parametrize("problem", [None, "waits", "invalid"])
def test_streams_of_a_recording(monkeypatch: pytest.MonkeyPatch, problem: str | None) -> None:
    calls: list[str] = []

    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def wait_stream(self, other: Stream) -> None:
            calls.append(f"{self.name} waits for {other.name}")

    here, side = Stream("here"), Stream("side")

    @contextmanager
    def capturing(graph: object, stream: object, capture_error_mode: str) -> Iterator[None]:
        assert (stream, capture_error_mode) == (side, "thread_local")
        calls.append("begin")
        yield
        if problem == "invalid":
            raise RuntimeError("operation failed due to a previous error during capture")
        calls.append("end")

    stand_ins: dict[str, Any] = {
        "device": lambda device: nullcontext(),
        "current_stream": lambda: here,
        "Stream": lambda priority: side,
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: calls.append("replay")),
        "empty_cache": lambda: None,
        "stream": lambda stream: nullcontext(),
        "graph": capturing,
        "set_stream": lambda stream: calls.append(f"to {stream.name}"),
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    work: Function = double if problem != "waits" else lambda x: (x * x.sum().item(),)
    after = ["to here", "here waits for side"]
    if problem is None:
        replay, (result,) = record(work, (torch.ones(2),))
        replay()
        assert result.tolist() == [2, 2]
        assert calls == ["side waits for here", "begin", "end", *after, "replay"]
    else:
        with pytest.raises(RuntimeError, match="waits for the GPU" if problem == "waits" else "previous error"):
            record(work, (torch.ones(2),))
        # What waits is found before anything is captured.
        assert calls == ["side waits for here", *(["begin"] if problem == "invalid" else []), *after]
