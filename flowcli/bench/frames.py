"""A network that makes frames: what a pair costs once and each new frame, beside plain torch and the machine's peak."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from flowcli.bench import machine, plain, random_weights, scene
from flowcli.bench.clock import Call, Clock, by_turns
from flowcli.bench.network import Network, Row
from flowcli.bench.pipeline import memory
from flowcli.engine.precision import choose_device
from flowcli.errors import WeightsError
from flowcli.models.base import FrameModel
from flowcli.models.cost import counting
from flowcli.weights import entries, loading

FACTOR = 4
"""The frames that are made are so many times as high and wide as the pair."""


def find_entry(name: str, folder: Path) -> entries.Entry:
    """The weights of that name, or random ones in `folder`, if it is that of a network that there are none for."""
    try:
        return entries.resolve(name)
    except WeightsError:
        return random_weights(name, folder)


@torch.inference_mode()
def measure(entry: entries.Entry, device: str, height: int, width: int, seconds: float) -> Network:
    """Encoding of a pair, and decoding of one frame of that size.

    The sides of the pair are a FACTOR-th of height and width; for a network along a flow, which is not measured, they
    are the same. Raises WeightsError, DeviceError.
    """
    where = choose_device(device)
    model = loading.load_as(FrameModel, entry).to(where)
    factor = 1 if model.needs_flow else FACTOR
    small = (max(1, height // factor), max(1, width // factor))
    frames = scene.frames(*small, 2)
    first, second = (torch.from_numpy(frame.image).to(where).permute(2, 0, 1)[None].float() / 255 for frame in frames)
    flows = [torch.full_like(first[:, :2], shift) for shift in (4.0, -4.0)] if model.needs_flow else []
    features = model.encode(first, second, *flows)

    def encode() -> object:
        return model.encode(first, second, *flows)

    def decode() -> object:
        return next(model.decode(features, [0.5], height, width))

    def inside(call: Call) -> Call:
        def run() -> object:
            with plain.Fallback():
                return call()

        return run

    calls: dict[str, Call] = {"encode": encode, "decode": decode}
    # Only the encoder has operators of this project.
    references = {"encode, torch fallback": inside(encode)}
    counted = {name: _gmacs(call) for name, call in calls.items()}
    # Before plain torch takes more.
    most = memory(os.getpid(), "VmHWM") if where.type == "cpu" else None
    peak = machine.convolution(where, "fp32")
    taken = by_turns({**calls, **references, "peak": peak.call}, seconds, Clock(where))
    speed = peak.amount / taken["peak"].median
    rows = [
        Row(name, taken[name], None, counted[name], 2e9 * counted[name] / taken[name].median / speed) for name in calls
    ]
    rows += [Row(name, taken[name], taken[name].median / taken["encode"].median) for name in references]
    return Network(speed, rows, most)


def _gmacs(call: Call) -> float:
    with counting() as counter:
        call()
    return float(counter.get_total_flops()) / 2e9
