"""Writing outputs: each has an effect and a sink, in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from flowcli.output.kinds import suffix_of
from flowcli.output.naming import Output
from flowcli.output.options import FrameOptions, OutputOptions
from flowcli.output.passing import Copies, Deep, Measured, Numbered, Passage
from flowcli.pipeline import Background, Stage, Stopwatch, use_threads
from flowcli.types import FlowPair, Frame, Sink, StreamInfo

if TYPE_CHECKING:
    import numpy as np

    from flowcli.draw.effects import Effect
    from flowcli.video import Soundtrack

Item = TypeVar("Item")

Comment = Callable[[], str]
"""Called at the end, gives the `comment` tag of a video."""
WritePicture = Callable[["Path", "np.ndarray"], None]
"""Writes an image to a picture file."""
End = Callable[[], None]
"""Called after the last item."""
Scale = Callable[[], tuple[float, float]]
"""Returns the lowest and highest scale of the colours so far, in pixels."""


@dataclass(frozen=True, eq=False)
class Writer(Generic[Item]):
    """A sink that writes to an output in another thread."""

    output: Output
    thread: Sink[Item]
    watch: Stopwatch
    """Measures the time for drawing and writing."""
    scale: Scale | None = None
    """The scale of its colours; None if it has none."""

    def write(self, item: Item) -> None:
        self.thread.write(item)

    def close(self) -> None:
        self.thread.close()

    def abort(self) -> None:
        self.thread.abort()


def open_frames(
    output: Output,
    info: StreamInfo,
    options: FrameOptions,
    stdout: BinaryIO,
    *,
    comment: Comment | None = None,
    sound: Soundtrack | None = None,
    write: WritePicture | None = None,
) -> Writer[Frame]:
    """A sink for frames: a video, a folder of pictures, one picture, or y4m on `stdout`.

    info: of the frames that will come: their size, rate, aspect, alpha and bits. comment, sound: for a video; y4m and
    pictures have none. write: writes one picture, None to go by the suffix. Raises OutputError; InputError for sound
    that cannot be read.
    """
    watch = Stopwatch()
    sink = _frame_sink(output, info, options, stdout, comment, sound, write)
    return Writer(output, Background(sink, watch=watch), watch)


def open_flows(
    output: Output,
    info: StreamInfo,
    options: OutputOptions,
    stdout: BinaryIO,
    sound: Soundtrack | None = None,
    passage: Passage | None = None,
) -> Writer[FlowPair]:
    """A sink for pairs: writes their flow to files or a video, or pictures that an effect makes from it.

    info: the source of the pairs. sound: for a video of pictures. passage: where the frames pass, for contents that
    need all of them. Raises OutputError; InputError for sound that cannot be read; ValueError without a passage that is
    needed.
    """
    from flowcli.engine.batches import MOST
    from flowcli.engine.delivery import FlowBackground

    scale: Scale | None = None
    end: End = _nothing_left
    sink: Sink[FlowPair]
    deep, info = output.deep and info.bits > 8, replace(info, bits=8)
    if output.what == "flow":
        sink = Stage(output.view, _flow_sink(output, info, options, stdout))
    elif output.what in ("rgb", "stats"):
        if passage is None:
            raise ValueError(f"{output.what} are made where the frames pass")
        sink = _watching_sink(output, info, options, stdout, sound, passage)
    else:
        sink, scale, end = _drawing_sink(output, info, options, stdout, sound)
        if deep and passage is not None:
            sink = as_they_were = Deep(sink)
            passage.add(as_they_were.watch, deep=True)
    watch = Stopwatch()
    # One thread: a second team of OpenMP threads would compete with the network's for the cores (5 instead of 20 frames
    # per second, measured with colours of 384x256 on two cores).
    # MOST: a queue as long as the largest engine step, so that the next step can begin before this one is drawn.
    thread = FlowBackground(sink, MOST, watch, partial(use_threads, 1), end)
    return Writer(output, thread, watch, scale)


def open_copies(output: Output, info: StreamInfo, options: FrameOptions, stdout: BinaryIO) -> Writer[Frame]:
    """A sink for the frames of a source themselves: the content `rgb`, where no flow is wanted beside it."""
    watch = Stopwatch()
    return Writer(output, Background(_copies_sink(output, info, options, stdout), watch=watch), watch)


def scale_text(scale: Scale) -> str:
    """One line with the range of the colour scale over the video so far."""
    low, high = scale()
    return (
        f"flow colours are full at {high:.4g} px"
        if low == high
        else f"flow colours are full at {low:.4g} to {high:.4g} px"
    )


def _drawing_sink(
    output: Output, info: StreamInfo, options: OutputOptions, stdout: BinaryIO, sound: Soundtrack | None
) -> tuple[Sink[FlowPair], Scale | None, End]:
    """The sink for pictures, the scale of their colours if they have one, and what draws those that wait."""
    from flowcli.draw.ahead import Ahead
    from flowcli.draw.effects import Color
    from flowcli.draw.hold import Hold

    effect = _effect(output, options)
    if not isinstance(effect, Color):
        frames = _frame_sink(output, effect.info(info), options, stdout, None, sound)
        return Stage(lambda pair: effect(output.view(pair)), frames), None, _nothing_left

    def scale() -> tuple[float, float]:
        return effect.scale_range

    frames = _frame_sink(output, effect.info(info), options, stdout, partial(scale_text, scale), sound)
    ahead = Ahead(effect, frames, info.rate) if effect.follows and options.look_ahead else None
    drawn = ahead or Stage(effect, frames)
    # Points of trails would move on by the flow that is held.
    held = Stage(Hold(), drawn) if options.hold and "trails" not in (output.style, output.beside) else drawn
    return Stage(output.view, held), scale, ahead.finish if ahead else _nothing_left


def _nothing_left() -> None:
    """What there is to do after the last item where none waits."""


def _effect(output: Output, options: OutputOptions) -> Effect:
    """The effect that makes the pictures."""
    from flowcli.draw.effects import Color, Warp, confidence, occlusion

    if output.style is None:
        masks: dict[str, Effect] = {"occlusion": occlusion, "confidence": confidence}
        return masks.get(output.what) or Warp(options.holes)
    percentile = options.percentile or Color.percentile
    if options.max_flow == "clip":
        raise ValueError("the scale of the clip is measured first")
    return Color(
        options.max_flow,
        options.legend,
        output.style,
        percentile=percentile,
        dim=options.dim,
        floor=options.floor,
        beside=output.beside,
        versus=options.methods,
    )


def _watching_sink(
    output: Output,
    info: StreamInfo,
    options: OutputOptions,
    stdout: BinaryIO,
    sound: Soundtrack | None,
    passage: Passage,
) -> Sink[FlowPair]:
    """The sink for contents that need all frames, which it watches where they pass."""
    if output.what == "rgb":
        copies = Copies(_copies_sink(output, info, options, stdout, sound))
        passage.add(copies.watch)
        return copies
    import sys

    from flowcli.motion.stats import Meter, Row
    from flowcli.motion.tables import Table, open_table

    meter = Meter()
    passage.add(meter.watch)
    return Measured(meter, open_table(Table(output.path, output.format), Row, options.overwrite, sys.stdout))


def _copies_sink(
    output: Output, info: StreamInfo, options: FrameOptions, stdout: BinaryIO, sound: Soundtrack | None = None
) -> Sink[Frame]:
    sink = _frame_sink(output, info, options, stdout, None, sound)
    return Numbered(sink) if output.folder else sink


def _frame_sink(
    output: Output,
    info: StreamInfo,
    options: FrameOptions,
    stdout: BinaryIO,
    comment: Comment | None,
    sound: Soundtrack | None = None,
    write: WritePicture | None = None,
) -> Sink[Frame]:
    from flowcli.pictures import write_picture
    from flowcli.video import open_picture_sink, open_video_sink, open_y4m_sink

    if output.path is None:
        return open_y4m_sink(stdout, info, fps=options.fps)
    if output.video:
        return open_video_sink(
            output.path,
            info,
            fps=options.fps,
            crf=options.crf,
            overwrite=options.overwrite,
            comment=comment,
            sound=sound,
        )
    return open_picture_sink(
        output.path,
        folder=output.folder,
        suffix=f".{output.format}",
        tag=output.tag,
        overwrite=options.overwrite,
        write=write or write_picture,
    )


def _flow_sink(output: Output, info: StreamInfo, options: OutputOptions, stdout: BinaryIO) -> Sink[FlowPair]:
    if output.path is None:
        from flowcli.video import open_nut_sink

        return open_nut_sink(stdout, info)
    from flowcli.flowfile import open_exr_sink, open_flow_sink, open_stack_sink
    from flowcli.packing import TSN_BOUND
    from flowcli.video import open_flow_video_sink

    path, bound, overwrite = output.path, options.bound, options.overwrite
    if output.video:
        return open_flow_video_sink(path, info, bound=bound, fps=options.fps, overwrite=overwrite)
    if output.format == "i3d":
        return open_stack_sink(path, overwrite=overwrite, bound=bound or TSN_BOUND)
    if output.stack:
        return open_stack_sink(path, overwrite=overwrite)
    if output.format == "exr":
        return open_exr_sink(path, folder=output.folder, layout=options.exr, tag=output.tag, overwrite=overwrite)
    suffix = suffix_of(output.format)
    return open_flow_sink(path, folder=output.folder, suffix=suffix, tag=output.tag, overwrite=overwrite, bound=bound)
