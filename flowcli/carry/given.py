"""From a source and points, painted pictures or tensors of some frames to all frames, for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from flowcli.api import EngineOptions, SourceOptions, open_engine
from flowcli.carry.naming import PICTURES, POINTS, TENSORS, Target, What
from flowcli.carry.run import CarryOptions, CarryRun, open_marked
from flowcli.engine.schedule import Consecutive, Keys
from flowcli.errors import InputError
from flowcli.output.options import FrameOptions
from flowcli.types import FrameSource, StreamInfo
from flowcli.weights import entries

if TYPE_CHECKING:
    from flowcli.carry.stream import Carried
    from flowcli.carry.tracking import Places
    from flowcli.output.opening import Writer


@dataclass(frozen=True)
class GivenOptions:
    """What is given of key frames, if it is no masks; one of these at most."""

    points: str | None = None
    pictures: tuple[str, ...] = ()
    tensors: str | None = None

    @property
    def whats(self) -> tuple[What, ...]:
        """What there is of it to write."""
        return POINTS if self.points else PICTURES if self.pictures else TENSORS


@dataclass(frozen=True, eq=False)
class GivenRun(CarryRun[Any]):
    """A run over what is given, and how its outputs are opened."""

    names: tuple[str, ...]
    """Of points."""

    def open(self, target: Target, info: StreamInfo, options: FrameOptions, stdout: TextIO) -> Writer[Any]:
        from flowcli.carry.pointoutputs import open_point_target

        return open_point_target(target, info, options, stdout, self.names)


@contextmanager
def open_points(
    frames: FrameSource,
    source: SourceOptions,
    path: Path,
    entry: entries.Entry,
    engine_options: EngineOptions,
    options: CarryOptions,
) -> Iterator[GivenRun]:
    """A run over the points of a file; leaving it ends its work.

    Raises InputError for a file that holds none; the run does for a point without a frame, at its end, but where only
    some frames are selected.
    """
    from flowcli.carry.pointfiles import read_points
    from flowcli.carry.points import carry_points
    from flowcli.carry.report import Tally

    points = read_points(path)
    tally = Tally()
    sides: Keys = "both" if options.keys == "auto" else options.keys
    with open_marked(frames, source.input) as (_, marked):
        engine = open_engine(entry, engine_options)
        flows = engine.link(marked, Consecutive("both"))

        def checked() -> Iterator[Carried[Places]]:
            yield from tally.counted(carry_points(flows, points, sides, options.ahead))
            if source.start is source.stop is None and source.every == 1 and points.lost is not None:
                raise InputError(
                    f"no frame {points.lost} for points of {path}, there are {tally.frames} frames",
                    "give the names or the numbers of frames, counted from 0",
                )

        yield GivenRun(entry, engine, checked(), tally, points.names)
