"""The network alone, beside itself without what makes it fast, OpenCV, and the peak of the machine."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import cycle, islice

import torch
from torch.utils.flop_counter import FlopCounterMode

from flowcli.bench import Setup, machine, plain, scene
from flowcli.bench.clock import STREAM, Call, Clock, Spread, by_turns
from flowcli.classic import dis
from flowcli.engine import DTYPES, Engine
from flowcli.types import Frame

TURN = (0, 1, 2, 1)
"""Numbers of frames that go on for ever without a jump."""


@dataclass(frozen=True)
class Row:
    """What was measured. Seconds are those of one pair."""

    what: str
    seconds: Spread
    ratio: float | None = None
    """Of a reference: how many times as long as the network it takes."""
    gmacs: float | None = None
    """10^9 multiply-adds of the convolutions."""
    of_peak: float | None = None
    """Their rate over that of a large convolution in the same precision."""


@dataclass(frozen=True)
class Network:
    flops_per_second: float
    """Of a large convolution in the network's precision, channels_last."""
    memory: int | None
    """Bytes that torch has taken at most for the network, None on a CPU."""
    rows: list[Row]
    """The parts of the network, the whole, and the references."""


def measure(setup: Setup) -> Network:
    """The network of the setup, which must have weights. Raises WeightsError, DeviceError."""
    engine = setup.open_engine()
    frames = list(scene.frames(setup.height, setup.width, max(TURN) + 1))
    whole = steps(engine, frames)
    memory = _peak_memory(engine.device, whole)
    encode, decode = _parts(engine, frames)
    gmacs = {"encode": _gmacs(encode) / engine.batch, "decode": _gmacs(decode) / engine.batch}
    gmacs["whole"] = sum(gmacs.values())
    peak = machine.convolution(engine.device, DTYPES[engine.precision])
    calls: dict[str, Call] = {"encode": encode, "decode": decode, "whole": whole}
    references = {
        "float32, contiguous": _float32(engine, frames),
        "torch fallback": steps(engine, frames, plain.Fallback()),
        "OpenCV DIS": lambda: dis(frames[0].image, frames[1].image),
    }
    taken = by_turns({**calls, **references, "peak": peak.call}, setup.seconds, Clock(engine.device, STREAM))
    speed = peak.amount / taken.pop("peak").median
    taken = {name: each if name == "OpenCV DIS" else each.over(engine.batch) for name, each in taken.items()}
    rows = [Row(name, taken[name], None, gmacs[name], 2e9 * gmacs[name] / taken[name].median / speed) for name in calls]
    rows += [Row(name, taken[name], taken[name].median / taken["whole"].median) for name in references]
    return Network(speed, memory, rows)


def steps(engine: Engine, frames: list[Frame], mode: AbstractContextManager[object] | None = None) -> Call:
    """The engine's next step, inside `mode`: it encodes as many frames as it takes at once, and gives as many flows."""
    pairs = engine.pairs(turning(frames))

    def call() -> None:
        with mode or nullcontext():
            for _ in range(engine.batch):
                next(pairs)

    return call


def turning(frames: list[Frame]) -> Iterator[Frame]:
    """The same frames over and over, without a jump."""
    return (frames[number] for number in cycle(TURN))


def _peak_memory(device: torch.device, call: Call) -> int | None:
    if device.type != "cuda":
        return None
    call()
    torch.cuda.reset_peak_memory_stats(device)
    call()
    return torch.cuda.max_memory_allocated(device)


@torch.inference_mode()
def _parts(engine: Engine, frames: list[Frame]) -> tuple[Call, Call]:
    """`encode` of the frames of a step, and `decode` of its pairs."""
    model = engine.model
    image = plain.images(list(islice(turning(frames), engine.batch + 1)), model, engine.device)
    first, second = model.encode(image[:-1]), model.encode(image[1:])
    return lambda: model.encode(image[1:]), lambda: model.decode(first, second)


@torch.inference_mode()
def _gmacs(call: Call) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    flops: float = counter.get_total_flops()
    return flops / 2e9


def _float32(engine: Engine, frames: list[Frame]) -> Call:
    reference = Engine(copy.deepcopy(engine.model), str(engine.device), "fp32", engine.batch)
    reference.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # As in the engine.
    return steps(reference, frames, plain.Contiguous())
