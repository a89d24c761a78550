"""The engine's promises: one encode per frame, the same flow at any batch size, flow of the frame's own size."""

from __future__ import annotations

import functools
import itertools
import logging
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from flowcli.engine.engine import TILE, Engine
from flowcli.engine.precision import DTYPES, cpu_has_bf16
from flowcli.engine.schedule import Consecutive, Keyed, Schedule
from flowcli.errors import DeviceError, InputError
from flowcli.shots import shots
from flowcli.types import Direction, Frame, Last
from tests.fakes import DIRECTIONS, SCHEDULES, Hungry, Tiled, Tiny, frame, run, same

BATCHES = [1, 2, 3, 5]


# The promise of the cache


@functools.cache
def alone(first: int, second: int) -> Tensor:
    """Flow between two frames, of an engine that sees no others."""
    (pair,) = run(Tiny(), [frame(first), frame(second)])
    return pair.forward.uv


@pytest.mark.parametrize("cuts", [(), (4,), (1, 2, 7)])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_frame_is_encoded_once_and_flow_is_that_of_the_pair_alone(
    schedule: Schedule, batch: int, cuts: tuple[int, ...]
) -> None:
    frames = [replace(frame(index), cut=index in cuts) for index in range(11)]
    model = Tiny()
    engine = Engine(model, "cpu", "fp32", batch)
    got = [each for shot in shots(frames) for each in engine.link(shot, schedule)]
    wanted = [
        (start + each.at, [(start + link.first, start + link.second, link.both) for link in each.links])
        for start, stop in itertools.pairwise((0, *cuts, len(frames)))
        for step in schedule.plan(frames[start:stop])
        for each in step.ready
    ]
    assert [
        (each.frame.index, [(pair.first.index, pair.second.index, pair.backward is not None) for pair in each.pairs])
        for each in got
    ] == wanted
    pairs = [pair for each in got for pair in each.pairs]
    assert sum(shape[0] for shape in model.encoded) == len(frames)
    assert max(shape[0] for shape in model.encoded) <= batch
    assert max(model.decoded, default=0) <= batch
    assert sum(model.decoded) == sum(1 + (pair.backward is not None) for pair in pairs)
    for each in got:
        assert each.frame is frames[each.frame.index]
        for pair in each.pairs:
            assert pair.at is each.frame
            assert same(pair.forward.uv, alone(pair.first.index, pair.second.index))
            if pair.backward is not None:
                assert same(pair.backward.uv, alone(pair.second.index, pair.first.index))


def test_flow_may_tell_where_the_next_key_is() -> None:
    keys = {0}
    linked = Engine(Tiny(), "cpu", "fp32", 1).link(
        (frame(index) for index in range(6)), Keyed(lambda each: each.index in keys, "before")
    )
    seconds = []
    for each in linked:
        seconds.append([pair.second.index for pair in each.pairs])
        if each.frame.index == 2:
            keys.add(3)
    assert seconds == [[], [0], [0], [], [3], [3]]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_pairs_are_those_of_neighbours(direction: Direction) -> None:
    frames = [frame(index) for index in range(4)]
    for number, pair in enumerate(run(Tiny(), frames, direction)):
        ends = frames[number : number + 2]
        assert [pair.first, pair.second] == (ends[::-1] if direction == "backward" else ends)
        assert pair.at is frames[number]
        assert (pair.backward is not None) == (direction == "both")


def test_flows_of_unlike_pairs_differ() -> None:
    """Guards the test above: the tiny model tells pairs and their order apart."""
    (one,) = run(Tiny(), [frame(0), frame(1)])
    (two,) = run(Tiny(), [frame(1), frame(0)])
    (three,) = run(Tiny(), [frame(0), frame(2)])
    assert not same(one.forward.uv, two.forward.uv)
    assert not same(one.forward.uv, three.forward.uv)


def test_batches_are_as_full_as_they_can_be() -> None:
    model = Tiny()
    run(model, [frame(index) for index in range(8)], batch=3)
    assert [shape[0] for shape in model.encoded] == [3, 3, 2]
    assert model.decoded == [2, 3, 2]


def test_an_engine_serves_several_streams() -> None:
    engine = Engine(Tiny(), "cpu", "fp32")
    one = [pair.forward.uv for pair in engine.pairs([frame(0), frame(1)])]
    two = [pair.forward.uv for pair in engine.pairs([frame(0, 20, 30), frame(1, 20, 30)])]
    again = [pair.forward.uv for pair in engine.pairs([frame(0), frame(1)])]
    assert torch.equal(one[0], again[0])
    assert two[0].shape == (2, 20, 30)


# Device and precision


@pytest.mark.parametrize("precision", list(DTYPES))
def test_flow_is_an_ordinary_float32_tensor_in_any_precision(precision: str) -> None:
    engine = Engine(Tiny(), "cpu", precision)
    assert engine.precision == precision
    weight = next(engine.model.parameters())
    assert weight.dtype == DTYPES[precision]
    assert weight.is_contiguous(memory_format=torch.channels_last)
    (pair,) = engine.pairs([frame(0), frame(1)])
    uv = pair.forward.uv
    assert uv.dtype == torch.float32
    assert uv.is_contiguous()
    assert not uv.is_inference()
    assert uv.untyped_storage().nbytes() == 2 * 65 * 97 * 4
    exact = run(Tiny(), [frame(0), frame(1)])[0].forward.uv
    assert (uv - exact).abs().max() < {"fp32": 1e-6, "bf16": 0.2, "fp16": 0.02}[precision]


def test_evaluation_mode_and_defaults() -> None:
    model = Tiny().train()
    engine = Engine(model, "cpu")
    assert not engine.model.training
    assert model.training
    assert engine.device == torch.device("cpu")
    assert engine.batch == 1
    assert engine.precision == ("bf16" if cpu_has_bf16() else "fp32")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"max_side": -5}, "max_side must be at least 1, got -5"),
        ({"tile": -1}, "tile must be at least 0, got -1"),
        ({"precision": "int4"}, r"precision must be one of \('auto', 'int8', 'bf16', 'fp16', 'fp32'\), got 'int4'"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Engine(Tiny(), "cpu", **settings)


@pytest.mark.parametrize("words", [{"direction": "up"}, {"last": "keep"}])
def test_unknown_words_are_told_at_once(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        Engine(Tiny(), "cpu").pairs([], **words)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_flow_of_a_gpu_is_that_of_the_cpu(direction: Direction) -> None:
    frames = [frame(index) for index in range(6)]
    engine = Engine(Tiny(), "cuda", "fp32")
    for there, here in zip(engine.pairs(frames, direction), run(Tiny(), frames, direction), strict=True):
        assert there.forward.uv.device == engine.device
        assert torch.allclose(there.forward.uv.cpu(), here.forward.uv, atol=1e-2)
    assert engine.watch.items == 6
    assert engine.watch.seconds > 0


# The stream


def endless(alive: list[weakref.ref[Frame]] | None = None) -> Iterator[Frame]:
    for index in itertools.count():
        made = frame(index, 8, 8)
        if alive is not None:
            alive.append(weakref.ref(made))
        yield made
        del made


@pytest.mark.parametrize("batch", BATCHES)
def test_pairs_come_as_soon_as_their_batch_is_full(batch: int) -> None:
    alive: list[weakref.ref[Frame]] = []
    pairs = Engine(Tiny(), "cpu", "fp32", batch).pairs(endless(alive))
    assert alive == []
    next(pairs)
    assert len(alive) == max(batch, 2)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(
    ("schedule", "kept"),
    [
        (Consecutive("both"), 1),
        (Keyed(4, "before"), 1),
        (Keyed(4), 5),
        (Keyed(lambda each: each.index == 0, ahead=5), 7),
    ],
)
def test_frames_are_let_go(schedule: Schedule, kept: int, batch: int) -> None:
    alive: list[weakref.ref[Frame]] = []
    linked = Engine(Tiny(), "cpu", "fp32", batch).link(endless(alive), schedule)
    for _ in range(40):
        next(linked)
        assert sum(ref() is not None for ref in alive) <= batch + kept + 1


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("last", get_args(Last))
def test_one_frame_has_no_flow(last: Last, batch: int) -> None:
    assert run(Tiny(), [], last=last, batch=batch) == []
    assert run(Tiny(), [frame(7)], last=last, batch=batch) == []


@pytest.mark.parametrize("batch", BATCHES)
def test_a_change_of_size_names_the_frame_and_both_sizes(batch: int) -> None:
    with pytest.raises(InputError) as caught:
        run(Tiny(), [frame(0), frame(1), frame(2, 64, 97, "c")], batch=batch)
    assert caught.value.message == "frame 2, c is 97x64, the frames before it are 97x65"
    assert caught.value.hint == "give frames of one size"


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_last_adds_a_still_pair(direction: Direction, batch: int) -> None:
    frames = [frame(index) for index in range(4)]
    plain = run(Tiny(), frames, direction, batch=batch)
    for last in ("repeat", "zero"):
        pairs = run(Tiny(), frames, direction, last, batch=batch)
        assert len(pairs) == len(plain) + 1
        still, before = pairs[-1], pairs[-2]
        assert still.first is frames[-1]
        assert still.second is frames[-1]
        assert still.at is frames[-1]
        share = 1.0 if last == "repeat" else 0.0
        assert torch.equal(still.forward.uv, before.forward.uv * share)
        assert (still.backward is None) == (direction != "both")
        if still.backward is not None and before.backward is not None:
            assert torch.equal(still.backward.uv, before.backward.uv * share)


def test_the_watch_counts_frames_and_the_networks_seconds_only() -> None:
    engine = Engine(Tiny(), "cpu", "fp32", 2)
    list(engine.pairs([frame(index) for index in range(5)]))
    assert engine.watch.items == 5
    assert 0 < engine.watch.seconds < 5


# Too little memory


@pytest.mark.parametrize(("images", "pairs", "left"), [(2, 9, 2), (9, 2, 2), (1, 1, 1), (9, 4, 4), (8, 9, 8)])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_smaller_batches_when_memory_is_short(
    caplog: pytest.LogCaptureFixture, direction: Direction, images: int, pairs: int, left: int
) -> None:
    frames = [frame(index) for index in range(19)]
    engine = Engine(Hungry(images, pairs), "cpu", "fp32", 8)
    with caplog.at_level(logging.WARNING, "flowcli"):
        got = list(engine.pairs(frames, direction))
    assert engine.batch == left
    expected = run(Tiny(), frames, direction)
    assert [pair.at.index for pair in got] == list(range(18))
    for pair, other in zip(got, expected, strict=True):
        assert same(pair.forward.uv, other.forward.uv)
    said = ["not enough memory on cpu for 8 frames at once: taking fewer"] if left < 8 else []
    assert caplog.messages == said


@pytest.mark.parametrize(("images", "pairs"), [(9, 2), (3, 1)])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_any_links_when_memory_is_short(schedule: Schedule, images: int, pairs: int) -> None:
    frames = [frame(index) for index in range(13)]
    got = list(Engine(Hungry(images, pairs), "cpu", "fp32", 8).link(frames, schedule))
    assert [each.frame for each in got] == frames
    for each, other in zip(got, Engine(Tiny(), "cpu", "fp32").link(frames, schedule), strict=True):
        for one, expected in zip(each.pairs, other.pairs, strict=True):
            assert (one.first, one.second) == (expected.first, expected.second)
            assert same(one.forward.uv, expected.forward.uv)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("images", "pairs"), [(0, 9), (9, 0)])
def test_too_little_memory_for_one_frame_is_an_error(batch: int, images: int, pairs: int) -> None:
    with pytest.raises(DeviceError) as caught:
        run(Hungry(images, pairs), [frame(index) for index in range(6)], batch=batch)
    assert caught.value.message == "not enough memory on cpu for frames of 97x65"
    assert caught.value.hint == "pass --max-side with less than 97, or --device cpu"


@pytest.mark.parametrize(
    ("start", "most", "said"),
    [
        # As on a GPU, where whole frames come first.
        (0, 2048, [2048]),
        (0, 300, [2048, 1024, 512, 256]),
        (1000, 500, [500]),
        (500, 500, []),
    ],
)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_smaller_tiles_when_memory_is_short(
    caplog: pytest.LogCaptureFixture, direction: Direction, start: int, most: int, said: list[int]
) -> None:
    frames = [frame(index) for index in range(3)]
    engine = Engine(Tiled(most), "cpu", "fp32")
    engine.model.tile = start
    with caplog.at_level(logging.WARNING, "flowcli"):
        got = list(engine.pairs(frames, direction))
    assert caplog.messages == [f"not enough memory on cpu: working in tiles of {tile}" for tile in said]
    assert engine.model.tile == (said or [start])[-1]
    for pair, other in zip(got, run(Tiny(), frames, direction), strict=True):
        assert same(pair.forward.uv, other.forward.uv)


def test_batches_shrink_before_tiles(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "flowcli"):
        run(Tiled(1024), [frame(index) for index in range(6)], batch=4)
    assert caplog.messages == [
        "not enough memory on cpu for 4 frames at once: taking fewer",
        "not enough memory on cpu: working in tiles of 1024",
    ]


@pytest.mark.parametrize(("settings", "left"), [({}, 256), ({"tile": 0}, 0), ({"tile": 300}, 300)])
def test_tiles_shrink_only_so_far(settings: dict[str, Any], left: int) -> None:
    engine = Engine(Tiled(100), "cpu", "fp32", **settings)
    with pytest.raises(DeviceError, match=r"^not enough memory on cpu for frames of 97x65$"):
        list(engine.pairs([frame(0), frame(1)]))
    assert engine.model.tile == left


def test_only_networks_that_can_get_tiles() -> None:
    assert Engine(Tiled(9), "cpu").model.tile == TILE
    assert Engine(Tiled(9), "cpu", tile=64).model.tile == 64
    assert Engine(Tiled(9), "cpu", tile=0).model.tile == 0
    assert Engine(Tiny(), "cpu").model.tile == 0
    assert Engine(Tiny(), "cpu", tile=0).model.tile == 0
    with pytest.raises(DeviceError) as caught:
        Engine(Tiny(), "cpu", tile=64)
    assert caught.value.message == "this network cannot work in tiles"
    assert caught.value.hint == "leave out --tile; --max-side saves memory too"
