"""From a source and points, painted pictures or tensors of some frames to all frames, for the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from flowcli.carry.naming import PICTURES, POINTS, TENSORS, Target, What
from flowcli.carry.run import CarryOptions, CarryRun, open_arrays, open_carrying, open_marked
from flowcli.engine.schedule import Consecutive, Keys
from flowcli.errors import InputError
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.options import FrameOptions
from flowcli.run import open_engine
from flowcli.types import Frame, FrameSource, StreamInfo
from flowcli.weights import entries

if TYPE_CHECKING:
    import torch

    from flowcli.carry.sheets import Laid
    from flowcli.carry.stream import Carried
    from flowcli.output.opening import Writer

Value = TypeVar("Value")
OpenTarget = Callable[[Target, StreamInfo, FrameOptions, TextIO], "Writer[Any]"]


@dataclass(frozen=True)
class GivenOptions:
    """What is given of key frames, if it is no masks; one of these at most."""

    points: str = ""
    pictures: tuple[str, ...] = ()
    tensors: str = ""

    @property
    def whats(self) -> tuple[What, ...]:
        """What there is of it to write."""
        return POINTS if self.points else PICTURES if self.pictures else TENSORS


@dataclass(frozen=True, eq=False)
class GivenRun(CarryRun[Any]):
    """A run over what is given, and how its outputs are opened."""

    open_target: OpenTarget


@contextmanager
def open_given_run(
    frames: FrameSource,
    source: SourceOptions,
    given: GivenOptions,
    entry: entries.Entry,
    engine_options: EngineOptions,
    options: CarryOptions,
) -> Iterator[GivenRun]:
    """A run over `frames`; leaving it ends its work.

    Raises InputError for what cannot be read or does not fit. The run does at its end for what has no frame, unless
    only some frames are selected.
    """
    open_run = _open_points if given.points else _open_pictures if given.pictures else _open_tensors
    with open_run(frames, source, given, entry, engine_options, options) as run:
        yield run


@contextmanager
def _open_points(
    frames: FrameSource,
    source: SourceOptions,
    given: GivenOptions,
    entry: entries.Entry,
    engine_options: EngineOptions,
    options: CarryOptions,
) -> Iterator[GivenRun]:
    from flowcli.carry.pointfiles import read_points
    from flowcli.carry.pointoutputs import open_point_target
    from flowcli.carry.points import carry_points
    from flowcli.carry.report import Tally

    points = read_points(Path(given.points))
    tally = Tally()
    sides: Keys = "both" if options.keys == "auto" else options.keys
    with open_marked(frames, source.input) as (_, marked):
        engine = open_engine(entry, engine_options)
        carried = carry_points(engine.link(marked, Consecutive("both")), points, sides, options.ahead)

        def open_target(target: Target, info: StreamInfo, options: FrameOptions, stdout: TextIO) -> Writer[Any]:
            return open_point_target(target, info, options, stdout, points.names)

        checked = _checked(tally.counted(carried), source, lambda: points.lost, f"points of {given.points}")
        yield GivenRun(entry, engine, checked, tally, open_target)


@contextmanager
def _open_pictures(
    frames: FrameSource,
    source: SourceOptions,
    given: GivenOptions,
    entry: entries.Entry,
    engine_options: EngineOptions,
    options: CarryOptions,
) -> Iterator[GivenRun]:
    from flowcli.carry.paintings import find_paintings, open_painting_target, read_painting
    from flowcli.carry.sheets import Sheets, lay

    paintings = find_paintings(given.pictures, frames.info.height, frames.info.width, source.input)
    left = dict(paintings.named)
    places = count()

    def key(frame: Frame, device: torch.device) -> Laid | None:
        name = paintings.find(frame, first=next(places) == 0)
        return None if name is None else lay(read_painting(left.pop(name)), frame.image, device)

    checking = replace(options, check=True)
    single = len(left) == 1
    with open_carrying(frames, source.input, entry, engine_options, checking, key, Sheets(), single) as run:
        checked = _checked(run.frames, source, lambda: next(iter(left), None), "a picture")
        yield GivenRun(run.entry, run.engine, checked, run.tally, open_painting_target)


@contextmanager
def _open_tensors(
    frames: FrameSource,
    source: SourceOptions,
    given: GivenOptions,
    entry: entries.Entry,
    engine_options: EngineOptions,
    options: CarryOptions,
) -> Iterator[GivenRun]:
    from flowcli.carry.arrayfiles import find_arrays
    from flowcli.carry.arrayoutputs import open_array_target
    from flowcli.carry.tensors import Known, as_known

    files = find_arrays(given.tensors)
    left = dict(files.files)
    places = count()

    def key(frame: Frame, device: torch.device) -> Known | None:
        name = files.find(frame, first=next(places) == 0)
        if name is None:
            return None
        left.pop(name, None)
        return as_known(files.read(name), frame, device)

    def open_target(target: Target, info: StreamInfo, options: FrameOptions, stdout: TextIO) -> Writer[Any]:
        return open_array_target(target, info, options, stdout, files)

    single = len(files.files) == 1
    with open_arrays(frames, source.input, entry, engine_options, options, key, single) as run:
        checked = _checked(run.frames, source, lambda: next(iter(left), None), given.tensors)
        yield GivenRun(run.entry, run.engine, checked, run.tally, open_target)


def _checked(
    frames: Iterable[Carried[Value]], source: SourceOptions, lost: Callable[[], str | None], what: str
) -> Iterator[Carried[Value]]:
    """The same frames; raises InputError at their end if all were read, and one is missing, which `lost` tells."""
    number = 0
    for each in frames:
        number += 1
        yield each
    missing = lost()
    if missing is not None and source.start is source.stop is None and source.every == 1:
        raise InputError(
            f"no frame {missing} for {what}, there are {number} frames",
            "give the name of a frame, or its number, counted from 0",
        )
