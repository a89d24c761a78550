"""From a source to flow: the one path that the command line and Python share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING

from flowcli.errors import InputError, OneFrameError, UsageError, WeightsError
from flowcli.inputs import STDIN
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.naming import Output, flow_direction
from flowcli.types import Direction, FlowPair, Frame, FrameSource, Last
from flowcli.weights import entries

if TYPE_CHECKING:
    from flowcli.continuity import Continuity
    from flowcli.engine.engine import Engine
    from flowcli.models.base import FlowModel
    from flowcli.output.passing import Passage
    from flowcli.pipeline import Stopwatch


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
