"""What a batch makes of an item: flow, frames between its frames, or masks of all of them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flowcli.carry.naming import Target, carried_kind
from flowcli.carry.run import CarryOptions, open_masks
from flowcli.errors import NoMasksError
from flowcli.interpolation.options import InterpolationOptions
from flowcli.interpolation.run import find_method, open_making, open_method
from flowcli.interpolation.sound import find_sound
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.naming import Output
from flowcli.output.opening import Writer, open_copies, open_flows, open_frames
from flowcli.output.options import OutputOptions
from flowcli.pipeline import Stopwatch, prefetch
from flowcli.run import count_pairs, find_clip_scale, find_weights, open_engine, open_run, two_or_more, watched
from flowcli.types import FlowPair, FrameSource, open_all

if TYPE_CHECKING:
    from flowcli.engine.engine import Engine
    from flowcli.models.base import FlowModel

Item = TypeVar("Item")
Watch = Callable[[int, int | None], None]
"""Called with the flows or frames made of an item so far and their total, if known; an exception ends the item."""
_LOG = logging.getLogger("flowcli")


@dataclass(frozen=True, eq=False)
class Making:
    """The work on an item that is ready to start: `items` for all `writers`, once."""

    items: Iterator[Any]
    total: int | None
    """How many will come, if that is known."""
    writers: list[Writer[Any]]
    decode: Stopwatch
    """Counts the frames read."""
    cuts: list[int] = field(default_factory=list)
    """Frames at which shots were found to begin, across which no flow is estimated; complete after the last item."""
    duplicates: list[int] = field(default_factory=list)
    """Frames that were found to repeat the one before, likewise."""


class Maker(Protocol):
    """Makes outputs of one item after the other."""

    model: FlowModel | None
    """The network for flow, which makers on one device can share."""

    def open(
        self, name: str, frames: FrameSource, source: SourceOptions, outputs: tuple[Output, ...], watch: Watch
    ) -> AbstractContextManager[Making]:
        """The work on the frames of `source`; leaving the context ends it.

        name: that of the item. watch: is called now and then before.
        """
        ...

    def arithmetic(self) -> str:
        """What decides the last bits of the flow, beside weights and options; "" without flow."""
        ...


class FlowMaker:
    """Flow between the frames."""

    def __init__(self, options: EngineOptions, output: OutputOptions, model: FlowModel | None) -> None:
        self._entry, self._options = find_weights(options), options
        self._output = replace(output, hold=options.duplicates == "hold")
        self._engine = open_engine(self._entry, options, model)
        self.model: FlowModel | None = self._engine.model

    @contextmanager
    def open(
        self, name: str, frames: FrameSource, source: SourceOptions, outputs: tuple[Output, ...], watch: Watch
    ) -> Iterator[Making]:
        info, stdout, options = frames.info, sys.stdout.buffer, self._output
        if all(each.what == "rgb" for each in outputs):
            decode = Stopwatch()
            with prefetch(watched(frames, self._options), watch=decode) as ahead:
                copies = open_all(outputs, lambda each: open_copies(each, info, options, stdout))
                # Of a clip without flow no frames either.
                yield Making(two_or_more(ahead, source.input), info.frames, copies, decode)
            return
        if options.max_flow == "clip" and any(each.style for each in outputs):
            options = replace(options, max_flow=self._clip_scale(source, watch))
        with open_run(frames, source.input, self._entry, self._options, self._engine, outputs) as run:
            writers = open_all(outputs, lambda each: open_flows(each, info, options, stdout, passage=run.passage))
            found = ([] if each is None else each for each in (run.cuts, run.duplicates))
            yield Making(run.pairs, count_pairs(info.frames, self._options), writers, run.decode, *found)

    def arithmetic(self) -> str:
        return _arithmetic(self._engine)

    def _clip_scale(self, source: SourceOptions, watch: Watch) -> float:
        def over(pairs: Iterator[FlowPair], total: int | None) -> Iterator[FlowPair]:
            for pair in pairs:
                watch(0, total)
                yield pair

        return find_clip_scale(source, self._entry, self._options, self._engine, self._output.percentile, over)


class FrameMaker:
    """Frames between the frames; sound is copied where the pace stays."""

    def __init__(
        self, options: EngineOptions, wanted: InterpolationOptions, output: OutputOptions, model: FlowModel | None
    ) -> None:
        self._wanted, self._output = wanted, output
        self._tools = open_method(find_method(wanted.method, options, along=True), options, model)
        self.model: FlowModel | None = None if self._tools.engine is None else self._tools.engine.model

    @contextmanager
    def open(
        self, name: str, frames: FrameSource, source: SourceOptions, outputs: tuple[Output, ...], watch: Watch
    ) -> Iterator[Making]:
        path = Path(source.input)
        sound, why = find_sound(path, frames.info, self._wanted, "copy")
        if why and any(each.video for each in outputs):
            _LOG.warning("%s: %s", path, why)
        stored = replace(self._output, fps=self._wanted.rate(frames.info))
        with open_making(frames, self._tools, self._wanted) as run:
            writers = open_all(
                outputs, lambda each: open_frames(each, run.info, stored, sys.stdout.buffer, sound=sound)
            )
            yield Making(run.frames, run.info.frames, writers, run.decode)

    def arithmetic(self) -> str:
        return "" if self._tools.engine is None else _arithmetic(self._tools.engine)


class MaskMaker:
    """Masks of some frames, carried to all."""

    def __init__(
        self, options: EngineOptions, carrying: CarryOptions, output: OutputOptions, model: FlowModel | None
    ) -> None:
        self._entry, self._options, self._carrying, self._output = find_weights(options), options, carrying, output
        self._engine = open_engine(self._entry, options, model)
        self.model: FlowModel | None = self._engine.model

    @contextmanager
    def open(
        self, name: str, frames: FrameSource, source: SourceOptions, outputs: tuple[Output, ...], watch: Watch
    ) -> Iterator[Making]:
        from flowcli.carry.keys import find_masks
        from flowcli.carry.outputs import open_target

        info, options = frames.info, self._output
        masks = find_masks(str(masks_of(Path(self._carrying.masks), name)))
        targets = [Target(carried_kind(each.what)[0], replace(each, what="frames")) for each in outputs]
        with open_masks(frames, source, masks, self._entry, self._options, self._carrying, self._engine) as run:
            writers = open_all(
                targets, lambda each: open_target(each, info, options, sys.stdout.buffer, masks.form, run.content)
            )
            decode = Stopwatch()
            yield Making(_noted(run.frames, decode), info.frames, writers, decode)

    def arithmetic(self) -> str:
        return _arithmetic(self._engine)


def _noted(items: Iterator[Item], watch: Stopwatch) -> Iterator[Item]:
    """The items, as `watch` counts them."""
    for each in items:
        watch.items += 1
        yield each


def masks_of(folder: Path, name: str) -> Path:
    """The masks of an item: a folder with its name, with or without suffix, or one .png for its first frame.

    Raises NoMasksError.
    """
    stem = PurePosixPath(name).with_suffix("")
    places = [folder / name, folder / stem, folder / stem.with_suffix(".png")]
    for place in dict.fromkeys(places):
        if place.is_dir() or (place.suffix == ".png" and place.is_file()):
            return place
    raise NoMasksError(f"no masks {places[1]}/ or {places[2].name}", "leave the video out, or paint a frame of it")


def _arithmetic(engine: Engine) -> str:
    """In words: precision, frames per step, device, threads, instructions, kernels, and the version of torch."""
    import torch

    from flowcli.ops import native

    where = str(engine.device)
    if engine.device.type == "cpu":
        where += f" with {torch.get_num_threads()} threads of {torch.backends.cpu.get_cpu_capability()}"
    kernel = native.status(engine.device.type).kernel
    return f"{engine.precision}, {engine.batch} at once, {where}, {kernel} kernels, torch {torch.__version__}"
