"""From a source and a network to the network's outputs for every frame: what the command line and Python share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from flowcli.carry.run import CarryRun, open_marked
from flowcli.engine.schedule import AHEAD, Keyed, Keys
from flowcli.options import EngineOptions
from flowcli.run import open_engine
from flowcli.types import Frame, FrameFlows
from flowcli.weights import entries

if TYPE_CHECKING:
    from flowcli.carry.agreement import Agreement
    from flowcli.carry.features import Times
    from flowcli.carry.stream import Carried
    from flowcli.engine.engine import Engine
    from flowcli.nets.net import Net
    from flowcli.nets.outputs import Meaning, Outputs


@dataclass(frozen=True)
class WhenNeeded:
    """The network runs on a frame as soon as `missing` of the one before it cannot be found in the last key frame."""

    missing: float = 0.2
    """A share of its pixels, 0 to 1."""


@dataclass(frozen=True)
class NetOptions:
    """Which network runs on which frames."""

    net: str | None = None
    split: str | None = None
    """Names of tensors where one ONNX file is cut; what is there is carried, and the rest runs on every frame."""
    interval: int | WhenNeeded = 10
    """Every how many frames the network runs."""
    preset: str | None = None
    """What its input is, one of PRESETS; None: what a TOML file beside it says, else 0 to 1."""
    compare: int = 0
    """On how many frames more it runs, to say how far what was carried agrees with it."""
    show_splits: bool = False
    """Only says where the network is cut well."""


@dataclass(frozen=True, eq=False)
class NetRun(CarryRun["Outputs"]):
    """A run that is ready to go: `frames` carries the outputs, once."""

    net: Net
    meaning: Meaning
    classes: int
    """How many the outputs tell apart, as far as the first frame tells."""
    times: Times
    agreement: Agreement

    def speed_up(self, seconds: float) -> float | None:
        """How many times as long the network alone would take on every frame. seconds: what this run took."""
        spent = seconds - self.agreement.watch.seconds
        each = self.milliseconds["net"] + self.milliseconds["head"]
        return self.tally.frames * each / 1000 / spent if spent > 0 else None

    @property
    def milliseconds(self) -> dict[str, float]:
        """Of the network for each key frame; of flow, of carrying, and of the network behind the cut for each frame."""
        flow = self.engine.watch.seconds / max(self.tally.frames, 1)
        parts = {"net": self.times.net, "carry": self.times.carry, "head": self.times.head}
        means = {name: watch.seconds / max(watch.items, 1) for name, watch in parts.items()}
        return {name: 1000 * each for name, each in (*means.items(), ("flow", flow))}


@contextmanager
def open_network(
    frames: Iterable[Frame],
    name: str,
    entry: entries.Entry,
    engine_options: EngineOptions,
    options: NetOptions,
    sides: Keys = "both",
    ahead: int = AHEAD,
    total: int | None = None,
) -> Iterator[NetRun]:
    """A NetRun over `frames`, in which cuts are found: each shot begins with a key frame. Leaving it ends its work.

    name: of the frames, in messages. sides: the key frames around a frame that it is linked with. ahead: the most
    frames from one key frame to the next, if they come when they are needed. total: how many frames there are, if that
    is known. Raises InputError if there are none, or the network cannot be opened.
    """
    from flowcli.carry.agreement import Agreement, compared
    from flowcli.carry.features import Runs, Times, carry_network
    from flowcli.carry.report import Tally
    from flowcli.carry.said import carry_said
    from flowcli.nets.net import open_net
    from flowcli.nets.outputs import as_map, find_meaning

    net = open_net(options.net or "", options.split, options.preset, engine_options.device)
    tally, times, agreement = Tally(), Times(), Agreement()
    runs = Runs(net, times)
    with open_marked(frames, name) as (begin, marked):
        given = runs.first(begin)
        meaning = None if net.cut else find_meaning(given, net.convention, net.parts.port.layout, net.name)
        interval = options.interval
        if isinstance(interval, WhenNeeded):
            # What the flow of a frame says has to be known before the next one comes.
            engine_options = replace(engine_options, batch=1)
        engine = open_engine(entry, engine_options)
        carried: Iterator[Carried[Outputs]]
        if isinstance(interval, WhenNeeded):
            from flowcli.carry.adaptive import link_when_needed

            carried = carry_network(link_when_needed(engine, marked, interval.missing, ahead, sides), runs)
        elif meaning in ("classes", "probability"):
            carried = carry_said(engine, marked, runs, meaning, interval, sides)
        else:
            carried = carry_network(_linked(engine, marked, Keyed(interval, sides)), runs)
        if options.compare:
            carried = compared(carried, net, agreement, options.compare, total)
        counted = tally.counted(carried)
        first = next(counted, None)
        assert first is not None
        assert first.value is not None
        meaning = first.value.meaning
        shape = (first.value.tensors[0] if first.value.tensors else as_map(given[0], net.layout, net.name)).shape
        classes = shape[1] if meaning == "classes" else 1
        yield NetRun(entry, engine, chain((first,), counted), tally, net, meaning, classes, times, agreement)


def _linked(engine: Engine, frames: Iterable[Frame], schedule: Keyed) -> Iterator[FrameFlows]:
    from flowcli.shots import shots

    for shot in shots(frames):
        yield from engine.link(shot, schedule)
