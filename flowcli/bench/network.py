"""The speed of the network, compared with plain variants of it, OpenCV's DIS, and the peak of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from flowcli.bench import Setup, machine, plain, scene
from flowcli.bench.clock import STREAM, Call, Clock, Spread, by_turns
from flowcli.classic import dis
from flowcli.engine.engine import Engine
from flowcli.engine.graphs import STEADY
from flowcli.engine.precision import cpu_has_bf16
from flowcli.types import Frame

TURN = (0, 1, 2, 1)
"""Frame numbers that can be repeated for ever without a jump."""
_CHANGES: dict[str, dict[str, Any]] = {"batch 1": {"batch": 1}, "whole": {}, "without graphs": {"graphs": False}}
"""Engines that are compared on a GPU, by the options in which they differ from the requested one."""
_PTLFLOW = 0.051 * 936e9
"""Bytes that an RTX 3090 (936 GB/s) moves in 51 ms, PTLFlow's published time for PWC-Net at 1000x500."""


@dataclass(frozen=True)
class Row:
    """One measurement. Seconds are per pair."""

    what: str
    seconds: Spread
    ratio: float | None = None
    """For a reference: how many times as long as the network it takes."""
    gmacs: float | None = None
    """Multiply-adds of the convolutions, in 10^9."""
    of_peak: float | None = None
    """Their rate as a fraction of that of a large convolution in the same precision."""
    memory: int | None = None
    """GPU memory in bytes that torch reserves for an engine with weights and graph, in the steady state."""


@dataclass(frozen=True)
class Network:
    flops_per_second: float
    """The rate of a large convolution in the network's precision, channels_last."""
    rows: list[Row]
    """The parts of the network, the whole network, and the references."""
    memory: int | None = None
    """Memory in bytes that the process had at most, for a network that makes frames on a CPU."""


def measure(setup: Setup) -> Network:
    """Measures the network of the setup, which must have weights. Raises WeightsError, DeviceError."""
    engine = setup.open_engine()
    frames = list(scene.frames(setup.height, setup.width, max(TURN) + 1))
    engines, memory = _engines(setup, engine.device, frames)
    float32 = setup.open_engine("fp32", graphs=False)
    # The counter does not know convolutions in int8.
    gmacs = {name: _gmacs(call) / engine.batch for name, call in _parts(float32, frames).items()}
    gmacs["whole"] = sum(gmacs.values())
    float32.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # As in the engine.
    peak = machine.convolution(engine.device, engine.precision)
    calls: dict[str, Call] = {**_parts(engine, frames), "whole": engines.pop("whole")}
    references: dict[str, Call] = {
        **engines,
        "float32, contiguous": steps(float32, frames, plain.Contiguous()),
        "torch fallback": steps(setup.open_engine(graphs=False), frames, plain.Fallback()),
        "OpenCV DIS": lambda: dis(frames[0].image, frames[1].image),
    }
    if engine.precision == "int8":
        floating = setup.open_engine("bf16" if cpu_has_bf16() else "fp32")
        references = {"without int8": steps(floating, frames), **references}
    taken = by_turns({**calls, **references, "peak": peak.call}, setup.seconds, Clock(engine.device, STREAM))
    speed = peak.amount / taken.pop("peak").median
    single = ("OpenCV DIS", "batch 1")
    taken = {name: each if name in single else each.over(engine.batch) for name, each in taken.items()}
    shares = {name: 2e9 * gmacs[name] / taken[name].median / speed for name in calls}
    rows = [Row(name, taken[name], None, gmacs[name], shares[name], memory.get(name)) for name in calls]
    if engine.device.type == "cuda" and (setup.network, setup.height, setup.width) == ("pwcnet", 500, 1000):
        seconds = _PTLFLOW / machine.bandwidth(engine.device)
        taken["PTLFlow, scaled"] = Spread(seconds, seconds, seconds, 0)
    rows += [
        Row(name, each, each.median / taken["whole"].median, memory=memory.get(name))
        for name, each in taken.items()
        if name not in calls
    ]
    return Network(speed, rows)


def steps(engine: Engine, frames: list[Frame], mode: AbstractContextManager[object] | None = None) -> Call:
    """A call that runs the next step of the engine inside `mode`: it encodes a batch and gives as many flows."""
    pairs = engine.pairs(turning(frames))

    def call() -> None:
        with mode or nullcontext():
            for _ in range(engine.batch):
                next(pairs)

    return call


def turning(frames: list[Frame]) -> Iterator[Frame]:
    """The frames repeated for ever, without a jump."""
    return (frames[number] for number in cycle(TURN))


def _engines(setup: Setup, device: torch.device, frames: list[Frame]) -> tuple[dict[str, Call], dict[str, int]]:
    """Steps of the engine, on a GPU also of variants that differ in one option, and the memory of each."""
    if device.type != "cuda":
        return {"whole": steps(setup.open_engine(), frames)}, {}
    calls: dict[str, Call] = {}
    memory: dict[str, int] = {}
    for name, change in _CHANGES.items():
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved(device)
        calls[name] = steps(setup.open_engine(**change), frames)
        for _ in range(STEADY + 2):
            calls[name]()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        calls[name]()
        # Reserved, not allocated: torch counts the memory of a graph as free, though nobody else can use it.
        memory[name] = torch.cuda.max_memory_reserved(device) - before
    return calls, memory


@torch.inference_mode()
def _parts(engine: Engine, frames: list[Frame]) -> dict[str, Call]:
    """Calls of `encode` for the frames of a step, and of `decode` for its pairs."""
    model = engine.model
    image = plain.images(list(islice(turning(frames), engine.batch + 1)), model, engine.device)
    first, second = model.encode(image[:-1]), model.encode(image[1:])
    return {"encode": lambda: model.encode(image[1:]), "decode": lambda: model.decode(first, second)}


@torch.inference_mode()
def _gmacs(call: Call) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    flops: float = counter.get_total_flops()
    return flops / 2e9
