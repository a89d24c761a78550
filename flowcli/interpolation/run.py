"""From a source to frames at other times: what the command line, a batch and Python share."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any, get_args

from flowcli import models
from flowcli.errors import InputError, WeightsError
from flowcli.interpolation.options import ALONG_FLOW, Duplicates, InterpolationOptions, Rule
from flowcli.options import EngineOptions
from flowcli.run import find_weights, open_engine
from flowcli.types import Frame, FrameSource, StreamInfo
from flowcli.weights import entries

if TYPE_CHECKING:
    from flowcli.engine.engine import Engine
    from flowcli.interpolation.making import Synthesiser
    from flowcli.models.base import FlowModel
    from flowcli.pipeline import Stopwatch


@dataclass(frozen=True)
class Method:
    """A way to make frames between frames, and what it needs."""

    name: str
    weights: entries.Entry | None = None
    """Those of a network that makes frames."""
    flow: entries.Entry | None = None
    """The model that estimates the flow."""


@dataclass(frozen=True, eq=False)
class Tools:
    """What makes frames, and the engine that estimates the flow, if it needs one."""

    synthesiser: Synthesiser
    engine: Engine | None

    def described(self) -> dict[str, str]:
        """Device, precision, and which kernels ran so far, where there is a network: that for frames, else for flow."""
        from flowcli.ops import native

        found: Any = next((each for each in (self.synthesiser, self.engine) if hasattr(each, "precision")), None)
        if found is None:
            return {}
        kernel = native.status(found.device.type).kernel
        return {"device": str(found.device), "precision": found.precision, "kernel": kernel}


@dataclass(frozen=True, eq=False)
class Making:
    """An interpolation that is ready to start: `frames` makes them, once."""

    info: StreamInfo
    """Of the frames that are made."""
    frames: Iterator[Frame]
    decode: Stopwatch
    """Counts the frames read, and the time for decoding them."""


def find_method(name: str, options: EngineOptions, *, along: bool = False) -> Method:
    """The method of that name, without importing torch; `options` name the model for flow.

    name: a Rule, or a network that makes frames, or a file of its weights. along: or a model that estimates flow, along
    which frames are moved as by "splat". Raises WeightsError.
    """
    if name in get_args(Rule):
        return Method(name, flow=find_weights(options) if name == "splat" else None)
    entry = entries.resolve(
        name, [*get_args(Rule), *(each.name for each in entries.imported()[0] if _makes_frames(each))]
    )
    if _makes_frames(entry) or (entry.file is not None and not entry.network):
        flow = find_weights(options) if entry.network in ALONG_FLOW else None
        return Method(entry.name, weights=entry, flow=flow)
    if along:
        return Method(entry.name, flow=entry)
    raise WeightsError(f"{entry.name} makes flow, not frames", f"for frames along its flow: --flow {name}")


def _makes_frames(entry: entries.Entry) -> bool:
    return entry.network in models.frame_names()


def open_method(method: Method, options: EngineOptions, model: FlowModel | None = None) -> Tools:
    """What makes frames by that method, which `find_method` found for `options`.

    model: the network for flow, if it is already loaded. Raises WeightsError, DeviceError.
    """
    from flowcli.interpolation.baselines import Blend, Nearest

    engine = None if method.flow is None else open_engine(method.flow, options, model)
    if method.weights is not None:
        return Tools(_network(method.weights, options), engine)
    if engine is not None:
        from flowcli.interpolation.splat import Splat

        return Tools(Splat(), engine)
    return Tools(Blend() if method.name == "blend" else Nearest(), None)


def _network(entry: entries.Entry, options: EngineOptions) -> Synthesiser:
    from flowcli.engine.precision import choose_device
    from flowcli.interpolation.networks import Network
    from flowcli.models.base import FrameModel
    from flowcli.weights import loading, recognition

    if entry.network or entry.file is None:
        model = loading.load_as(FrameModel, entry)
    else:
        model = recognition.recognise(entry.file).build(FrameModel)
    return Network(model, choose_device(options.device), options.precision)


def mark_frames(frames: Iterable[Frame], duplicates: Duplicates) -> Iterator[Frame]:
    """The frames with cuts marked, and without duplicates where they are skipped."""
    from flowcli.interpolation.duplicates import mark_cuts

    return mark_cuts(frames, skip=duplicates == "skip")


@contextmanager
def open_making(
    frames: FrameSource, tools: Tools, options: InterpolationOptions, *, pair: bool = False
) -> Iterator[Making]:
    """A Making of the frames that `options` ask for; leaving it ends its work. `frames` are read ahead from now on.

    Frames keep their names where their times stay; else those made of numbered ones are numbered from the first one
    on. pair: the frames are two pictures. Raises UsageError for a size that cannot be; and InputError, when frames are
    taken, if there are none.
    """
    from flowcli.pipeline import Stopwatch, prefetch

    height, width = options.shape(frames.info)
    rate = options.rate(frames.info) or frames.info.rate
    info = replace(frames.info, height=height, width=width, rate=rate, frames=options.count(frames.info))
    decode = Stopwatch()
    with prefetch(frames if pair else mark_frames(frames, options.duplicates), watch=decode) as ahead:
        yield Making(info, _retimed(ahead, frames.info, options, tools, pair), decode)


def _retimed(
    frames: Iterable[Frame], info: StreamInfo, options: InterpolationOptions, tools: Tools, pair: bool
) -> Iterator[Frame]:
    from flowcli.interpolation.gaps import regular
    from flowcli.interpolation.making import make_frames
    from flowcli.video import numbered

    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise InputError("there are no frames", "choose another input")
    step = options.step(info)
    offsets: Iterable[Fraction] | None = options.times if step is None else regular(step)
    if pair and options.times is not None:
        offsets = (time / info.rate for time in options.times)
    taken = chain((first,), rest)
    names: deque[str | None] = deque()
    made = make_frames(
        _noting_names(taken, names) if offsets is None else taken,
        None if offsets is None else (first.time + each for each in offsets),
        tools.synthesiser,
        tools.engine,
        size=options.shape(info),
        shutter=options.shutter,
        hold=None if step is None else 1 / info.rate,
    )
    if offsets is None:
        yield from (replace(frame, name=names.popleft()) for frame in made)
    else:
        # Two pictures are the ends of a row that has no numbers yet.
        yield from made if pair or first.name is None else numbered(made, first.name)


def _noting_names(frames: Iterable[Frame], names: deque[str | None]) -> Iterator[Frame]:
    for frame in frames:
        names.append(frame.name)
        yield frame
