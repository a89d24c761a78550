"""From a source to flow: the one path that the command line and `flowcli.estimate` share."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import tee
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flowcli.errors import InputError, OneFrameError, UsageError, WeightsError
from flowcli.inputs import STDIN
from flowcli.output.naming import Output, flow_direction
from flowcli.types import Cuts, Direction, Duplicates, FlowPair, Frame, FrameSource, Gaps, Last, Precision, Progress
from flowcli.weights import entries

if TYPE_CHECKING:
    from flowcli.continuity import Continuity
    from flowcli.engine.engine import Engine
    from flowcli.models.base import FlowModel
    from flowcli.output.passing import Passage
    from flowcli.pipeline import Stopwatch

Item = TypeVar("Item")


@dataclass(frozen=True)
class SourceOptions:
    """The input; `input` and `second` as for `open_source`. Raises UsageError for what contradicts each other."""

    input: str = ""
    second: str | None = None
    start: int | Fraction | None = None
    stop: int | Fraction | None = None
    every: int = 1
    strict: bool = False
    """Damage is an error."""
    gaps: Gaps = "skip"
    deep: bool = False
    """Frames are uint16 where the source has more than 8 bits."""
    deinterlace: bool = False
    """Make whole pictures of interlaced ones."""
    sample_fps: Fraction | None = None
    """How many frames per second are taken, by their times; None for all."""
    short_side: int | None = None
    """The shorter side that frames get before anything else is done; `resize`: or width and height."""
    resize: tuple[int, int] | None = None

    first_frame: str | None = None
    """What the first frame of a movie is called, a number; those that follow count on, in as many digits."""

    def __post_init__(self) -> None:
        if self.sample_fps is not None and self.every > 1:
            raise UsageError("--sample-fps and --every contradict each other", "leave one out")
        if self.short_side is not None and self.resize is not None:
            raise UsageError("--short-side and --resize contradict each other", "leave one out")
        start, stop = self.start, self.stop
        if stop is not None and (stop <= 0 or (start is not None and type(start) is type(stop) and start >= stop)):
            raise UsageError(
                "--stop is not after --start", "stop is exclusive: --start 10 --stop 12 takes frames 10 and 11"
            )


@dataclass(frozen=True)
class EngineOptions:
    """How flow is estimated."""

    model: str = "rpwc"
    refine: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    max_side: int | None = None
    direction: Direction = "forward"
    last: Last = "drop"
    variational: bool = False
    weights: str | None = None
    """A file of weights for the network `model`, as published, or as saved by `flowcli train`."""
    tile: int | None = None
    """Side of tiles in pixels; 0 for whole frames, None for the engine's choice."""
    batch: int | None = None
    """Frames per step of the network; None for the engine's choice."""
    graphs: bool = True
    """On a GPU, record repeated steps as CUDA graphs and replay them."""
    cuts: Cuts = "auto"
    duplicates: Duplicates = "hold"
    versus: str | None = None
    """Another model, or file of weights, whose flow each pair has beside it."""


@dataclass(frozen=True, eq=False)
class Run:
    """An estimation that is ready to start: `pairs` makes the flow, once."""

    entry: entries.Entry
    engine: Engine
    pairs: Iterator[FlowPair]
    decode: Stopwatch
    """Counts the frames read, and the time for decoding them and for finding cuts."""
    passage: Passage
    """Where the frames pass on their way to the engine, for outputs that need all of them."""
    cuts: list[int] | None = None
    """Numbers of the frames at which shots were found to begin, once all pairs have come; None if none were sought."""
    duplicates: list[int] | None = None
    """Numbers of the frames that were found to repeat the one before, likewise."""
    versus: entries.Entry | None = None
    """The other method whose flow the pairs have too."""


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


def find_weights(options: EngineOptions) -> entries.Entry:
    """The entry of the model and weights in `options`, without importing torch. Raises WeightsError."""
    if options.weights is None:
        return entries.resolve(options.model)
    entry = entries.resolve(options.weights)
    if entry.network not in ("", options.model):
        raise entries.other_network(options.weights, entry.network, options.model)
    return entry


def find_versus(options: EngineOptions) -> entries.Entry | None:
    """The entry of `options.versus`. Raises WeightsError, and UsageError if that is the model itself."""
    if options.versus is None:
        return None
    if options.versus == options.model and options.weights is None:
        raise UsageError(f"--versus {options.versus} is the model itself", "name another one, such as dis")
    return entries.resolve(options.versus)


def open_engine(entry: entries.Entry, options: EngineOptions, model: FlowModel | None = None) -> Engine:
    """An engine for the network of `entry`, which `find_weights` found for `options`.

    model: the network, if it is already loaded.
    """
    from flowcli.engine.engine import Engine

    after: Callable[[FlowPair], FlowPair] | None = None
    if options.variational:
        from flowcli.classic import refined as after
    return Engine(
        model or _model(entry, options),
        options.device,
        options.precision,
        max_side=options.max_side,
        after=after,
        tile=options.tile,
        batch=options.batch,
        graphs=options.graphs,
    )


def _model(entry: entries.Entry, options: EngineOptions) -> FlowModel:
    settings = {} if options.refine is None else {"refine": options.refine}
    if entry.file is not None and entry.network:
        from flowcli.weights import loading

        return loading.load(entry, **settings)
    if entry.file is not None:
        from flowcli.weights import recognition

        return recognition.load(entry.file, None if options.weights is None else options.model, **settings)
    if settings:
        raise WeightsError(f"{entry.name} has nothing to refine", "leave out --refine")
    from flowcli.classic import Classic

    return Classic(entry.name)


def open_input(source: SourceOptions) -> FrameSource:
    """The frames that `source` names, in the size that it asks for. Raises InputError, as `open_source` does."""
    from flowcli.video import number_frames, open_source, resize_short_side, resize_to

    frames: FrameSource = open_source(
        source.input,
        source.second,
        start=source.start,
        stop=source.stop,
        every=source.every,
        rate=source.sample_fps,
        gaps=source.gaps,
        strict=source.strict,
        deep=source.deep,
        deinterlace=source.deinterlace,
    )
    if source.first_frame is not None:
        frames = number_frames(frames, source.first_frame)
    if source.short_side is not None:
        return resize_short_side(frames, source.short_side)
    return frames if source.resize is None else resize_to(frames, *source.resize)


def check_read_twice(name: str) -> None:
    """Raises UsageError if the input called `name` can be read only once, and the scale of a clip takes two passes."""
    path = Path(name)
    if name == STDIN or (path.exists() and not (path.is_file() or path.is_dir())):
        hint = "name a file, or give a speed: --max-flow 20"
        raise UsageError("--max-flow clip reads the input twice, and a pipe can be read once", hint)


def find_clip_scale(
    source: SourceOptions,
    entry: entries.Entry,
    options: EngineOptions,
    engine: Engine,
    percentile: float | None = None,
    over: Callable[[Iterator[FlowPair], int | None], Iterator[FlowPair]] = lambda pairs, total: pairs,
) -> float:
    """The speed that suits the colours of all flow of a clip, in pixels; the flow is estimated and dropped.

    engine: for `entry` and `options`. percentile: of the speeds; None for the default. over: is given the pairs and
    their number, if it is known, and passes them on.
    """
    from flowcli.draw.effects import Color
    from flowcli.draw.scale import clip_scale

    options = replace(options, versus=None, direction="forward" if options.direction == "both" else options.direction)
    with open_input(source) as frames, open_run(frames, source.input, entry, options, engine) as run:
        return clip_scale(over(run.pairs, count_pairs(frames.info.frames, options)), percentile or Color.percentile)


def count_pairs(frames: int | None, options: EngineOptions) -> int | None:
    """The number of pairs that so many frames give, None if it is unknown."""
    if options.duplicates == "skip":
        return None
    return frames and max(frames - (options.last == "drop"), 0)


@contextmanager
def open_run(
    frames: Iterable[Frame],
    name: str,
    entry: entries.Entry,
    options: EngineOptions,
    engine: Engine | None = None,
    outputs: Sequence[Output] = (),
) -> Iterator[Run]:
    """A Run over `frames`, which are read ahead from now on. Leaving the context ends its work.

    name: the name of the frames in messages. engine: the engine for `entry` and `options`, if it is already open.
    outputs: the outputs for the pairs, which hold flow both ways if one of the outputs needs it.
    """
    from flowcli.output.passing import Passage
    from flowcli.pipeline import Stopwatch, prefetch

    decode = Stopwatch()
    continuity = _continuity(options)
    with prefetch(continuity.watch(frames) if continuity else frames, watch=decode) as ahead:
        engine = engine or open_engine(entry, options)
        direction = flow_direction(outputs, options.direction)
        passage = Passage()
        passing = passage.through(two_or_more(ahead, name))
        versus = find_versus(options)
        other = None if versus is None else open_engine(versus, replace(options, refine=None, weights=None))
        pairs = _pairs(engine, other, passing, direction, options.last)
        cuts = duplicates = None
        if continuity is not None:
            pairs = continuity.fill(pairs, direction, engine.device, versus=other is not None)
            cuts, duplicates = continuity.cuts if options.cuts == "auto" else None, continuity.duplicates
        yield Run(entry, engine, pairs, decode, passage, cuts, duplicates, versus)


def watched(frames: Iterable[Frame], options: EngineOptions) -> Iterable[Frame]:
    """The frames of which `open_run` makes flow: those that are left where duplicates are skipped."""
    continuity = _continuity(options) if options.duplicates == "skip" else None
    return frames if continuity is None else continuity.watch(frames)


def _continuity(options: EngineOptions) -> Continuity | None:
    """What finds cuts and duplicates; None if neither matters."""
    from flowcli.continuity import Continuity

    sought = options.cuts == "auto" or options.duplicates != "keep"
    return Continuity(options.cuts, options.duplicates) if sought else None


def _pairs(
    engine: Engine, other: Engine | None, frames: Iterable[Frame], direction: Direction, last: Last
) -> Iterator[FlowPair]:
    """The pairs of each shot. other: of whose flow each has that too."""
    from flowcli.shots import shots

    for shot in shots(frames):
        if other is None:
            yield from engine.pairs(shot, direction=direction, last=last)
            continue
        # One is ahead of the other by at most a batch, so that few frames wait.
        ways = (each.pairs(part, direction, last) for each, part in zip((engine, other), tee(shot), strict=True))
        for pair, versus in zip(*ways, strict=True):
            yield replace(pair, versus=versus)


def two_or_more(frames: Iterable[Frame], name: str) -> Iterator[Frame]:
    """The same frames. Raises InputError at the end if there were fewer than two, OneFrameError if there was one."""
    count = 0
    for frame in frames:
        count += 1
        yield frame
    if count == 1:
        from flowcli.pictures import PICTURE_SUFFIXES

        picture = Path(name).suffix.lower() in PICTURE_SUFFIXES
        more = "; name the next picture too, or the folder of the sequence" if picture else ""
        raise OneFrameError(f"only one frame in {name}", f"flow needs two frames{more}")
    if not count:
        raise InputError(f"no frames in {name}", "flow needs two frames")
