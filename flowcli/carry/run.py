"""From a source and the values of some frames to a value for every frame: what the command line and Python share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from flowcli.engine.schedule import AHEAD, Consecutive, Keys
from flowcli.errors import InputError, UsageError
from flowcli.options import EngineOptions, SourceOptions
from flowcli.run import open_engine
from flowcli.types import Frame, FrameSource
from flowcli.weights import entries

if TYPE_CHECKING:
    import torch

    from flowcli.carry.keys import Content, Masks
    from flowcli.carry.report import Tally
    from flowcli.carry.stream import Carried, Kind
    from flowcli.carry.tensors import Known
    from flowcli.engine.engine import Engine

Value = TypeVar("Value")

Sides = Literal["auto", Keys]
"""Which key frames around a frame its value comes from; "auto" is before, if only the first frame is one, else both."""


@dataclass(frozen=True)
class CarryOptions:
    """What is carried, and how."""

    masks: str = ""
    content: Literal["auto", "labels", "soft"] = "auto"
    keys: Sides = "auto"
    ahead: int = AHEAD
    """Frames that wait for the key frame after them."""
    check: bool = False
    """Estimates the flow the other way as well, where only one is needed: hidden places are found more surely."""
    refine_edges: bool = False
    """Moves borders between labels to edges of the picture nearby."""
    suggest: int = 0
    """How many frames to name that are worth painting next."""


@dataclass(frozen=True, eq=False)
class CarryRun(Generic[Value]):
    """A run that is ready to go: `frames` carries the values, once."""

    entry: entries.Entry
    engine: Engine
    frames: Iterator[Carried[Value]]
    tally: Tally


@dataclass(frozen=True, eq=False)
class MaskRun(CarryRun["torch.Tensor"]):
    """The same for masks: (H, W) int32 labels, or (1, H, W) float32 from 0 to 1."""

    content: Content


@contextmanager
def open_marked(frames: Iterable[Frame], name: str) -> Iterator[tuple[Frame, Iterator[Frame]]]:
    """The first frame, and all of them, with cuts marked, read ahead. Raises InputError if there are none in `name`."""
    from flowcli.pipeline import prefetch
    from flowcli.shots import compare

    with prefetch(change.marked for change in compare(frames)) as ahead:
        first = next(ahead, None)
        if first is None:
            raise InputError(f"no frames in {name}", "check the input")
        yield first, chain((first,), ahead)


@contextmanager
def open_carrying(
    frames: Iterable[Frame],
    name: str,
    entry: entries.Entry,
    engine_options: EngineOptions,
    options: CarryOptions,
    key: Callable[[Frame, torch.device], Value | None],
    kind: Kind[Value],
    single: bool,
    engine: Engine | None = None,
) -> Iterator[CarryRun[Value]]:
    """A CarryRun over `frames`, in which cuts are found; leaving it ends its work. `name`: theirs in messages.

    key: tells the value of a key frame, on the device that it is given; asked once for each frame, in order. single:
    there is only one key frame. engine: for `entry` and `engine_options`, if it is already open. Raises InputError if
    there is no frame.
    """
    from flowcli.carry.report import Tally
    from flowcli.carry.stream import carry

    tally = Tally()
    with open_marked(frames, name) as (first, marked):
        engine = engine or open_engine(entry, engine_options)
        value = key(first, engine.device)
        sides: Keys = "before" if single and value is not None else "both"
        if options.keys != "auto":
            sides = options.keys
        schedule = Consecutive("backward" if sides == "before" and not options.check else "both")
        flows = engine.link(marked, schedule)

        def known(frame: Frame) -> Value | None:
            return value if frame is first else key(frame, engine.device)

        yield CarryRun(entry, engine, tally.counted(carry(flows, known, kind, sides, options.ahead)), tally)


@contextmanager
def open_maps(
    frames: Iterable[Frame],
    name: str,
    entry: entries.Entry,
    engine_options: EngineOptions,
    options: CarryOptions,
    key: Callable[[Frame, torch.device], torch.Tensor | None],
    single: bool,
    engine: Engine | None = None,
) -> Iterator[CarryRun[torch.Tensor]]:
    """As `open_carrying`, for label maps (H, W) int32, or mattes (1, H, W) float32."""
    from flowcli.carry.edges import refine_edges
    from flowcli.carry.report import Tally
    from flowcli.carry.ways import Chained, Settling, Ways, begin

    def start(frame: Frame, device: torch.device) -> Ways | None:
        labels = key(frame, device)
        return None if labels is None else begin(labels, frame)

    kind = Chained()
    with open_carrying(frames, name, entry, engine_options, options, start, kind, single, engine) as run:
        # That of the run counts how sure the ways are, not the labels.
        tally = Tally()
        labelled: Iterator[Carried[torch.Tensor]] = map(Settling(), run.frames)
        if options.refine_edges:
            labelled = refine_edges(labelled)
        yield CarryRun(run.entry, run.engine, tally.counted(labelled), tally)


@contextmanager
def open_arrays(
    frames: Iterable[Frame],
    name: str,
    entry: entries.Entry,
    engine_options: EngineOptions,
    options: CarryOptions,
    key: Callable[[Frame, torch.device], Known | None],
    single: bool,
) -> Iterator[CarryRun[Known]]:
    """As `open_carrying`, for arrays by name."""
    from flowcli.carry.tensors import Arrays, SettlingArrays

    with open_carrying(frames, name, entry, engine_options, options, key, Arrays(), single) as run:
        yield CarryRun(run.entry, run.engine, map(SettlingArrays(), run.frames), run.tally)


@contextmanager
def open_masks(
    frames: FrameSource,
    source: SourceOptions,
    masks: Masks,
    entry: entries.Entry,
    engine_options: EngineOptions,
    options: CarryOptions,
    engine: Engine | None = None,
) -> Iterator[MaskRun]:
    """A MaskRun over `frames`; leaving it ends its work. engine: as for `open_carrying`.

    Raises InputError for masks of another size, and damaged ones. So does the run for a mask without a frame, at its
    end; where only some frames are selected, such masks are passed over. UsageError for edges of soft masks.
    """
    from flowcli.carry.keys import check_size, check_used, find_content

    check_size(masks, frames.info.height, frames.info.width, source.input)
    content = find_content(masks) if options.content == "auto" else options.content
    if options.refine_edges and content == "soft":
        raise UsageError("--refine-edges is for labels, and these masks are soft", "leave it out")
    seen: set[Path] = set()
    places = count()

    def key(frame: Frame, device: torch.device) -> torch.Tensor | None:
        path = masks.find(frame, first=next(places) == 0)
        if path is None:
            return None
        seen.add(path)
        return masks.read(path, content).to(device)

    single = len(masks.files) == 1
    with open_maps(frames, source.input, entry, engine_options, options, key, single, engine) as run:

        def checked() -> Iterator[Carried[torch.Tensor]]:
            yield from run.frames
            if source.start is source.stop is None and source.every == 1:
                check_used(masks, seen, run.tally.frames)

        yield MaskRun(run.entry, run.engine, checked(), run.tally, content)
