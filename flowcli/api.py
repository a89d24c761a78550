"""`flowcli.estimate`, and the frames that Python code names or hands over."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike, fspath
from typing import Any, TypeVar

from flowcli.options import EngineOptions
from flowcli.run import count_pairs, find_weights, open_run
from flowcli.types import Cuts, Direction, Duplicates, FlowPair, Frame, Gaps, Last, Precision, Progress

Item = TypeVar("Item")


def estimate(
    source: str | PathLike[str] | Iterable[Any],
    second: str | PathLike[str] | None = None,
    *,
    model: str = "rpwc",
    refine: int | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    start: int | Fraction | None = None,
    stop: int | Fraction | None = None,
    every: int = 1,
    gaps: Gaps = "skip",
    max_side: int | None = None,
    direction: Direction = "forward",
    last: Last = "drop",
    variational: bool = False,
    tile: int | None = None,
    batch: int | None = None,
    cuts: Cuts = "auto",
    duplicates: Duplicates = "hold",
    progress: Progress | None = None,
) -> Generator[FlowPair]:
    """The flow between neighbouring frames, one FlowPair at a time, in constant memory.

    source: a video file, a folder or glob of pictures, "-" for stdin, a picture (the other one is `second`), frames, or
    pictures as `flowcli.flow` takes them. No flow is estimated to a frame that is marked as a cut.
    start, stop (exclusive): frame numbers, or seconds as Fraction; every: takes every nth frame.
    gaps: "skip" leads no flow across gaps in the numbers of pictures, nor from one sequence to another; "bridge" does;
    "error" raises InputError.
    max_side: larger frames are scaled down to this longer side; the flow has full size.
    last: what the last frame of each shot gets, which has no next frame: "drop" nothing, "repeat" the flow before it,
    "zero" flow.
    variational: refines each flow with OpenCV's variational method.
    tile: side in pixels of the tiles in which larger frames are processed, if the network can: less memory, same flow.
    None for the engine's choice, 0 for whole frames.
    batch: frames per step of the network, at most 8; their flow is ready at the same time. Small frames are faster that
    way. None for a number that suits the size on a CPU, or the memory of a GPU.
    cuts: "auto" finds cuts, reading two frames ahead: the pair of the frames beside one has flow that is not valid
    anywhere, and is not estimated. Two frames alone are a pair, whatever they show. "off" estimates all flow.
    duplicates: frames that repeat the one before are marked, and so are their pairs (`repeats`). "hold" and "keep"
    leave the flow as it is estimated, "zero" makes it zero; "skip" leaves the frames out, but for the last one of a
    still scene. With "keep", and "off" for cuts, nothing is sought, and no frame is read ahead for it.
    progress: called before each pair is handed out, with their number so far and how many there will be, which may be
    fewer where cuts or gaps are; None if that is not known.
    The generator opens the source at the first pair. Closing it closes the source, and frames that have a `close`.
    Raises FlowcliError: InputError for fewer than two frames, WeightsError, DeviceError and others.
    """
    options = EngineOptions(
        model,
        refine,
        device,
        precision,
        max_side,
        direction,
        last,
        variational,
        tile=tile,
        batch=batch,
        cuts=cuts,
        duplicates=duplicates,
    )
    with (
        open_given(source, second, start=start, stop=stop, every=every, gaps=gaps) as given,
        open_run(given.frames, given.name, find_weights(options), options) as run,
    ):
        yield from reported(run.pairs, progress, count_pairs(given.count, options))


@dataclass(frozen=True, eq=False)
class Given:
    """Frames that Python code names or hands over."""

    frames: Iterable[Frame]
    name: str
    """Theirs in messages."""
    count: int | None
    """How many there are, None if that is not known beforehand."""


@contextmanager
def open_given(
    source: str | PathLike[str] | Iterable[Any],
    second: str | PathLike[str] | None = None,
    *,
    start: int | Fraction | None = None,
    stop: int | Fraction | None = None,
    every: int = 1,
    gaps: Gaps = "skip",
    deep: bool = False,
) -> Iterator[Given]:
    """The frames that `source` names or is; leaving it closes them if they can be closed.

    Pictures without numbers and times are frames as `given.as_frames` makes them. Raises InputError; ValueError for a
    selection of frames that are given.
    """
    if isinstance(source, str | PathLike):
        from flowcli.video import open_source

        name = fspath(source)
        other = None if second is None else fspath(second)
        with open_source(name, other, start=start, stop=stop, every=every, gaps=gaps, deep=deep) as frames:
            yield Given(frames, name, frames.info.frames)
        return
    if second is not None or every != 1 or (start, stop) != (None, None):
        raise ValueError("second, start, stop and every are for sources that are named")
    from flowcli.given import as_frames

    try:
        count = len(source) if isinstance(source, Sized) else None
        yield Given(as_frames(source), "the frames that were given", count)
    finally:
        if hasattr(source, "close"):
            source.close()


def reported(items: Iterable[Item], progress: Progress | None, total: int | None) -> Iterator[Item]:
    """The same items, each of which `progress` is told of before it is handed out. total: how many will come."""
    for done, item in enumerate(items, 1):
        if progress is not None:
            progress(done, total)
        yield item
