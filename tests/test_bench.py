from __future__ import annotations

import itertools
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flowcli import bench, models
from flowcli.bench import busy, clock, endurance, kernels, machine, network, pipeline, plain, scene
from flowcli.bench.clock import Clock, Spread
from flowcli.engine import engine as engine_module
from flowcli.engine.batches import FittingBatches
from flowcli.engine.engine import Engine
from flowcli.errors import FlowcliError, InputError
from flowcli.models.base import Features, FlowModel
from flowcli.models.conv import int8_works
from flowcli.ops.correlation import correlation
from flowcli.ops.library import FALLBACKS
from flowcli.options import EngineOptions
from flowcli.run import find_weights

_torch_library: Any = torch.library
CPU = torch.device("cpu")
SPYNET = 49 * (8 * 32 + 32 * 64 + 64 * 32 + 32 * 16 + 16 * 2) * (64 * 64 + 32 * 32) / 1e9
"""10^9 multiply-adds for pictures of 64x64: five 7x7 convolutions there and at half of it; its encoder has none."""


def setup(model: str = "rpwc", batch: int | None = 1, **options: Any) -> bench.Setup:
    engine = EngineOptions(model, device="cpu", precision="fp32", batch=batch)
    return bench.Setup(find_weights(engine), engine, height=64, width=96, seconds=0, **options)


def random_setup(network: str, folder: Path, batch: int | None = None) -> bench.Setup:
    entry = bench.random_weights(network, folder)
    engine = EngineOptions(str(entry.file), device="cpu", batch=batch)
    return bench.Setup(entry, engine, height=64, width=64, seconds=0)


def test_spread_of_numbers_that_one_can_sort_by_hand() -> None:
    assert Spread.of([10, 1, 4, 2, 3]) == Spread(3, 2, 4, 5)
    assert Spread.of([2.0, 1.0]).median == 1.5
    assert Spread.of([2, 4, 6]).over(2) == Spread(2, 1.5, 2.5, 3)


def test_calls_take_turns() -> None:
    seen: list[str] = []
    taken = clock.by_turns({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, 0, Clock(CPU))
    assert "".join(seen) == "ab" * (1 + clock.LEAST)
    assert taken["a"].rounds == taken["b"].rounds == clock.LEAST
    assert 0 < taken["a"].low <= taken["a"].median <= taken["a"].high


def test_rounds_last_as_long_as_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    # The clock is read once at the start, then once in each round but the first ones, which are taken anyway.
    assert len(list(clock.rounds(10))) == clock.LEAST + 9


def test_work_that_one_can_count_by_hand() -> None:
    work = machine.convolution(CPU, "fp32", channels=8)
    result = work.call()
    assert isinstance(result, Tensor)
    assert result.shape == (1, 8, 64, 64)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert work.amount == 2 * (64 * 64 * 8) * (8 * 3 * 3)
    if int8_works():
        whole = machine.convolution(CPU, "int8", channels=8)
        found = whole.call()
        assert isinstance(found, Tensor)
        assert (found.shape, whole.amount) == (result.shape, work.amount)
    assert machine.multiplication(CPU).amount == 2 * (64 * 64) * 512 * 512


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Native kernels that cannot be called."""

    def native(*arguments: Any) -> Any:
        raise AssertionError("the native kernel was called")

    with _torch_library._scoped_library("flowcli", "IMPL") as override:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Warning only once for all operators", UserWarning)
            for name in FALLBACKS:
                override.impl(name, native, "CPU", allow_override=True)
        yield


def test_inside_fallback_no_native_kernel_runs(poisoned: None) -> None:
    first, second = torch.rand(2, 1, 3, 5, 7)
    with pytest.raises(AssertionError, match="the native kernel was called"):
        correlation(first, second, 2)
    with plain.Fallback():
        volume = correlation(first, second, 2)
    assert torch.equal(volume, FALLBACKS["correlation"](first, second, 2, 1))


def test_a_whole_network_with_the_fallback(poisoned: None) -> None:
    engine = setup().open_engine()
    frames = list(scene.frames(64, 96, 3))
    network.steps(engine, frames, plain.Fallback())()
    with pytest.raises(AssertionError, match="the native kernel was called"):
        network.steps(engine, frames)()


def test_the_network_is_the_same_with_the_fallback() -> None:
    engine = setup().open_engine()
    flows = []
    for mode in (None, plain.Fallback()):
        with mode or torch.no_grad():
            pair = next(engine.pairs(scene.frames(64, 96, 2)))
        flows.append(pair.forward.uv)
    assert flows[0].abs().max() > 1
    torch.testing.assert_close(*flows, atol=1e-3, rtol=0)


def layouts(call: Any, model: nn.Module) -> set[bool]:
    """Whether what the convolutions give is contiguous."""
    found: set[bool] = set()
    hooks = [
        each.register_forward_hook(lambda module, given, result: found.add(result.is_contiguous()))
        for each in model.modules()
        if isinstance(each, nn.Conv2d)
    ]
    call()
    for hook in hooks:
        hook.remove()
    return found


def test_layout_of_the_references() -> None:
    engine = setup().open_engine()
    frames = list(scene.frames(64, 96, 3))
    reference = Engine(engine.model, "cpu", "fp32")
    assert layouts(network.steps(reference, frames), reference.model) == {False}
    reference.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    assert layouts(network.steps(reference, frames, plain.Contiguous()), reference.model) == {True}


def encodes(model: FlowModel, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """A list that from now on gets the shape of everything that is encoded."""
    shapes: list[tuple[int, ...]] = []
    encode = model.encode

    def noted(image: Tensor) -> Features:
        shapes.append(tuple(image.shape))
        return encode(image)

    monkeypatch.setattr(model, "encode", noted)
    return shapes


def test_a_step_encodes_as_many_frames_as_the_engine_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = setup(batch=2).open_engine()
    assert engine.batch == 2
    encoded = encodes(engine.model, monkeypatch)
    step = network.steps(engine, list(scene.frames(64, 96, 3)))
    step()
    encoded.clear()
    for _ in range(3):
        step()
    assert [shape[0] for shape in encoded] == [2, 2, 2]


def test_frames_move_as_they_say() -> None:
    first, second = (frame.image for frame in scene.frames(90, 120, 2))
    (u, v), (disc_u, disc_v) = scene.MOTIONS
    np.testing.assert_array_equal(second[1 + v : 11 + v, 1 + u : 11 + u], first[1:11, 1:11])
    inner = second[40 + disc_v : 50 + disc_v, 55 + disc_u : 65 + disc_u]
    np.testing.assert_array_equal(inner, first[40:50, 55:65])
    assert first.std() > 20


def test_every_operator_has_a_count() -> None:
    left_out = {"cell_means", "crowded_out", "quantise", "elect", "sample_labels", "splat", "sum_alike", "warp"}
    assert set(kernels.FLOPS) == {name for name in FALLBACKS if not name.endswith("_backward")} - left_out


def test_counts_of_arithmetic() -> None:
    first, flow = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4)
    assert kernels.FLOPS["correlation"](first, first, 1, 2) == 2 * 9 * (2 * 3 * 4)
    # Four by four dot products of two channels; twelve blends across and nine down, of three operations each.
    offsets, weight = torch.zeros(1, 12, 3, 4), torch.zeros(5, 2, 1, 3)
    # Three taps that look twenty operations each; for each of them two channels, of seven operations and five sums.
    known = first, offsets[:, :6], offsets[:, :3], weight, torch.zeros(5)
    assert kernels.FLOPS["deform_conv"](*known) == 12 * (3 * 20 + 3 * 2 * (7 + 10))
    assert kernels.FLOPS["lookup_correlation"](first, first, flow, 1) == 12 * (2 * 16 * 2 + 3 * (12 + 9))


@pytest.mark.slow
def test_kernels() -> None:
    result = kernels.measure(setup(batch=2))
    assert result.flops_per_second > 0
    assert result.bytes_per_second > 0
    seen = {(each.network, each.operator) for each in result.kernels}
    assert {("rpwc", "lookup_correlation"), ("pwcnet", "correlation"), ("flownetc", "correlation")} <= seen
    for each in result.kernels:
        assert each.shape[0] == 2
        assert each.ratio == each.fallback.median / each.seconds.median
        assert each.of_bound == each.bound / each.seconds.median
        assert each.of_bound_again == each.bound / each.again.median
        limits = {"arithmetic": each.flops / result.flops_per_second, "memory": each.bytes / result.bytes_per_second}
        assert each.bound == limits[each.bound_by] == max(limits.values())
    (finest,) = (each for each in result.kernels if each.network == "rpwc" and each.settings == "radius 3")
    # A quarter of 64x96, 32 channels of two maps, two of flow and 49 of costs, four bytes each.
    assert (finest.shape, finest.dtype, finest.calls) == ((2, 32, 16, 24), "float32", 1)
    assert finest.bytes == 2 * (16 * 24) * (32 + 32 + 2 + 49) * 4
    (colours,) = (each for each in result.kernels if each.network == "colours")
    # Two of flow, four bytes each, and three of colour for a pixel; and those of the wheel.
    assert (colours.operator, colours.shape, colours.bytes) == ("paint_flow", (2, 64, 96), 64 * 96 * 11 + 165)
    coarse = [each for each in result.kernels if each.network == "rpwc" and each.settings == "radius 4"]
    assert [(each.shape[2:], each.calls) for each in coarse] == [((2, 2), 2), ((2, 3), 2), ((4, 6), 2), ((8, 12), 2)]


@pytest.mark.slow
def test_network(tmp_path: Path) -> None:
    result = network.measure(random_setup("spynet", tmp_path))
    rows = {row.what: row for row in result.rows}
    assert list(rows) == ["encode", "decode", "whole", "float32, contiguous", "torch fallback", "OpenCV DIS"]
    assert [rows[name].gmacs for name in ("encode", "decode", "whole")] == pytest.approx([0, SPYNET, SPYNET])
    assert result.flops_per_second > 1e8
    assert {row.memory for row in result.rows} == {None}
    for name in ("encode", "decode", "whole"):
        row = rows[name]
        assert row.ratio is None
        assert row.gmacs is not None
        share = 2e9 * row.gmacs / row.seconds.median / result.flops_per_second
        assert row.of_peak == pytest.approx(share)
    for name in ("float32, contiguous", "torch fallback", "OpenCV DIS"):
        assert rows[name].ratio == rows[name].seconds.median / rows["whole"].seconds.median
        assert rows[name].gmacs is None


@pytest.mark.slow
def test_engines_on_a_gpu_are_measured_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With made-up memory: each engine finds 100 bytes more taken than the one before, and takes 7 at its peak."""
    opened: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 100 * len(opened))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 100 * (len(opened) - 1) + 7)
    open_engine = bench.Setup.open_engine

    def opening(self: bench.Setup, **others: Any) -> Engine:
        opened.append(others)
        return open_engine(self, **others)

    monkeypatch.setattr(bench.Setup, "open_engine", opening)
    frames = list(scene.frames(64, 96, 3))
    calls, memory = network._engines(setup(batch=2), torch.device("cuda"), frames)
    assert opened == [{"batch": 1}, {}, {"graphs": False}]
    assert memory == {"batch 1": 7, "whole": 7, "without graphs": 7}
    for call in calls.values():
        call()


def test_bandwidth_of_a_memory_that_one_can_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """An RTX 3090: 9751 MHz, 384 bits, 936 GB/s."""
    card = SimpleNamespace(memory_clock_rate=9_751_000, memory_bus_width=384)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    assert machine.bandwidth(torch.device("cuda")) == pytest.approx(936e9, rel=1e-3)


def test_the_batch_is_settled_by_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "link", None)
    asked = setup(batch=3)
    assert asked.settled() is asked
    small = setup(batch=None)
    assert small.settled() == replace(small, engine=replace(small.engine, batch=8))


def test_the_batch_is_settled_by_a_pair_where_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Knowing(FittingBatches):
        @contextmanager
        def full_step(self) -> Iterator[None]:
            yield
            self.settled, self.size = True, 2

    monkeypatch.setattr(engine_module, "open_batches", lambda device, asked, together: Knowing(device))
    assert setup(batch=None).settled().engine.batch == 2


@pytest.mark.slow
def test_numbers_are_those_of_one_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def eight(self: Clock, call: clock.Call) -> float:
        call()
        return 8.0

    monkeypatch.setattr(Clock, "seconds", eight)
    result = network.measure(random_setup("spynet", tmp_path, batch=4))
    assert [row.gmacs for row in result.rows[:3]] == pytest.approx([0, SPYNET, SPYNET])
    # OpenCV takes one pair at a time.
    assert [row.seconds.median for row in result.rows] == [2, 2, 2, 2, 2, 8]


def test_random_weights_are_of_the_network(tmp_path: Path) -> None:
    entry = bench.random_weights("pwcnet", tmp_path)
    assert (entry.name, entry.network) == ("pwcnet-random", "pwcnet")
    assert entry.parameters == sum(each.numel() for each in models.create("pwcnet").parameters())


def test_pwcnet_as_others_run_it(monkeypatch: pytest.MonkeyPatch, poisoned: None) -> None:
    model = models.create("pwcnet")
    monkeypatch.setattr(models, "create", {"pwcnet": model}.__getitem__)
    encoded = encodes(model, monkeypatch)
    first, second = scene.frames(60, 100, 2)
    call = plain.pwcnet(first, second, CPU)
    assert layouts(torch.inference_mode()(call), model) == {True}
    # Both frames, as large as the network wants them, in float32.
    assert encoded == [(2, 3, 64, 128)]
    assert {each.dtype for each in model.parameters()} == {torch.float32}


@pytest.mark.slow
def test_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "LEAST", 2)
    monkeypatch.setattr(pipeline, "_WHILE", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = pipeline.measure(setup(frames=8))
    assert result.frames == 8
    assert list(result.stages) == ["decode", "network", "encode"]
    bounds = {f"{name} alone": stage.alone.median for name, stage in result.stages.items()}
    bounds["CPU time"] = result.cpu_seconds.median / result.cores
    assert result.bound == bounds[result.bound_by] == max(bounds.values())
    assert result.over_bound == result.seconds.median / result.bound
    for name, spread in result.references.items():
        assert result.ratios[name] == spread.median / result.seconds.median
    assert list(result.references) == ["PWC-Net, plain torch", "OpenCV DIS"]
    assert all(stage.together.low > 0 for stage in result.stages.values())
    assert result.seconds.low > 0
    assert result.first_flow.low > 0
    # With torch in it, and a small network.
    assert result.memory is None or 100e6 < result.memory < 5e9
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_endurance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endurance, "MINUTE", 4)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    began = time.perf_counter()
    result = endurance.measure(setup(frames=15))
    took = time.perf_counter() - began
    # The fifteen frames make fourteen pairs, which are three minutes and two.
    assert len(result.minutes) == 3
    assert 0 < sum(4 / each.pairs_per_second for each in result.minutes) < took
    assert all(each.memory is None or 100e6 < each.memory < 5e9 for each in result.minutes)
    with pytest.raises(InputError, match="9 frames are less than two minutes"):
        endurance.measure(setup(frames=9))


@pytest.mark.slow
def test_a_command_that_fails(tmp_path: Path) -> None:
    with pytest.raises(FlowcliError, match=r"^flowcli estimate failed: no such file: .*clip.mp4$"):
        pipeline._run_command(setup(), tmp_path / "clip.mp4")


@pytest.mark.slow
def test_a_network_is_not_measured_twice(tmp_path: Path) -> None:
    result = kernels.measure(random_setup("pwcnet", tmp_path))
    assert [each.network for each in result.kernels] == ["pwcnet"] * 6 + ["flownetc"] * 2 + ["colours"]


@pytest.mark.parametrize(
    ("threads", "programs", "cores", "expected"),
    [(2, 2, 2, 2.0), (2, 4, 2, 3.0), (1, 1, 2, 1.0), (2, 1, 4, 1.0), (4, 4, 4, 2.0), (8, 2, 4, 1.25)],
)
def test_a_fair_share(threads: int, programs: int, cores: int, expected: float) -> None:
    assert busy.fair_share(threads, programs, cores) == expected


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_beside_spinning_programs() -> None:
    def spinners() -> int:
        lines = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline"))
        return sum(b"while os.getppid() == parent" in line for line in lines)

    before = spinners()
    with busy.spinning(2):
        assert spinners() == before + 2
    assert spinners() == before
    found = busy.measure(setup(), 1)
    assert found.programs == 1
    assert found.quiet.rounds == found.beside.rounds == clock.LEAST
    assert found.over_fair == pytest.approx(found.beside.median / (found.fair * found.quiet.median))
