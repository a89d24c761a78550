"""`flowcli convert`: existing flow in another format."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import click

from flowcli.cli.grouping import grouped
from flowcli.cli.help import HelpedCommand
from flowcli.cli.options import TalkOptions, direction_options, first_frame_option, talk_options
from flowcli.cli.outputs import whole_output_options
from flowcli.cli.streams import echo
from flowcli.cli.words import Choice
from flowcli.cli.writing import check_stdout, described, note_legend, told, write_all
from flowcli.errors import UsageError
from flowcli.matching import match_frames
from flowcli.once import warned_once
from flowcli.options import SourceOptions
from flowcli.output.kinds import NEED_ALL, NEED_FRAMES
from flowcli.output.naming import Output, flow_direction, name_outputs, plan
from flowcli.output.opening import open_flows
from flowcli.output.options import OutputOptions
from flowcli.output.passing import Passage
from flowcli.run import check_read_twice, open_input
from flowcli.targets import check_target
from flowcli.types import Direction, FlowKind, FrameSource, open_all


@dataclass(frozen=True)
class ReadingOptions:
    """What is read, and in which direction."""

    inputs: tuple[str, ...]
    kind: FlowKind | None = None
    direction: Direction = "forward"
    over: str | None = None
    """The frames that the flow belongs to, None for none."""
    first_frame: str | None = None
    """Of these frames, as of SourceOptions."""


@click.command("convert", cls=HelpedCommand)
@grouped(
    "reading",
    ReadingOptions,
    click.argument("inputs", metavar="IN...", nargs=-1, required=True),
    click.option(
        "--from",
        "kind",
        type=Choice(get_args(FlowKind)),
        help="What an .npy (N, H, W, 2) holds: I3D's clipped and scaled flow, or pixels.",
    ),
    click.option(
        "--over",
        metavar="INPUT",
        help="The video or pictures that the flow was estimated on, to draw on them, or to warp them.",
    ),
    first_frame_option,
    *direction_options,
)
@whole_output_options
@talk_options
@warned_once()
def command(reading: ReadingOptions, output: OutputOptions, talk: TalkOptions) -> None:
    """Convert flow to other formats, to colours, and to videos.

    IN is one or more flow files, folders or quoted globs of them, a video of flow (.mkv, .nut), or - for NUT on stdin:
    .flo .png (KITTI) .pfm .flo5 .npy .npz .exr, and flow_x_*.jpg with flow_y_*.jpg (tsn).

    \b
    OUT and KIND are as for `flowcli estimate`; kinds that show the frames need --over:
      flow/                     a folder of .flo files; with --as exr, npy, tsn, ... of others
      flow.mp4                  a video of colour-coded flow; --style arrows, trails, ... draws it on black
      flow.mkv  with --as flow  a video of the flow itself, in 16 bits
      flow.npy                  one array, (N, 2, H, W); with --as i3d (N, H, W, 2), clipped and scaled
      ab.exr                    one file, for one flow
      -  with --as flow         raw floats on stdout, as NUT

    Of files X and X_bwd (the backward flow), X is read; --backward reads X_bwd, and --both reads both. Occlusion and
    confidence need both.

    --over INPUT takes the frames that the flow was estimated on, a video or pictures: flow in files of its own belongs
    to the frame whose name or number the file has, other flow to one frame after the other.

    \b
    flowcli convert flow/ -o flow.mp4 --max-flow 20
    flowcli convert flow/ --over in.mp4 -o arrows.mp4 --style arrows
    flowcli convert exr/ --over plates/ -o warped/ --as warp.png
    flowcli convert flow/ -o exr/ --as exr --both
    flowcli convert 'kitti/*.png' -o flo/
    """
    check_stdout(output)
    # Finds what is wrong whatever the inputs are.
    named = name_outputs(output, direction=reading.direction, pair=True)
    for each in named:
        if each.what in NEED_ALL:
            raise UsageError(f"{each.what} need all frames: {each}", "use flowcli estimate, which has them")
        if each.what in NEED_FRAMES and reading.over is None:
            raise UsageError(f"{each.what} needs the frames: {each}", "add --over with what the flow was estimated on")
    if reading.first_frame is not None and reading.over is None:
        raise UsageError("--first-frame is for the movie of --over", "add --over, or leave it out")
    direction = flow_direction(named, reading.direction, read=True)

    from flowcli.flowsource import open_flow_source, same_size
    from flowcli.pipeline import prefetch

    if output.max_flow == "clip":
        for name in reading.inputs:
            check_read_twice(name)
    began = time.perf_counter()
    opening = open_flow_source(reading.inputs, direction=direction, bound=output.bound, kind=reading.kind)
    with opening as source, ExitStack() as stack:
        over = None if reading.over is None else stack.enter_context(_open_over(reading.over, reading, named))
        info = source.info if over is None else replace(over.info, frames=source.info.frames)
        passage = Passage()
        place = Path(reading.inputs[0])
        only = place if len(reading.inputs) == 1 and place.exists() else None
        outputs = plan(output, direction=reading.direction, pair=source.single, source=only)
        if reading.over is not None:
            for each in outputs:
                if each.path is not None:
                    check_target(each.path, [Path(reading.over)], output.overwrite, each.folder)
        if output.max_flow == "clip" and any(each.style for each in outputs):
            output = _with_one_scale(reading, output, direction)
        if not talk.quiet:
            note_legend(outputs, output)
        writers = open_all(outputs, lambda each: open_flows(each, info, output, sys.stdout.buffer, passage=passage))
        pairs = source if all(each.files for each in outputs) else same_size(source, info)
        if over is not None:
            by_name = source.named and not (source.single and over.info.frames == 2)
            pairs = match_frames(source, passage.through(over), str(reading.over), by_name=by_name)
        with prefetch(pairs) as ahead:
            count = write_all(ahead, writers, info.frames, "flow", show=not talk.quiet)
    seconds = time.perf_counter() - began
    if talk.json:
        summary = {
            "pairs": count,
            "width": info.width,
            "height": info.height,
            "seconds": round(seconds, 3),
            "outputs": [described(each) for each in writers],
        }
        echo(json.dumps(summary), err=any(each.path is None for each in outputs))
    elif not talk.quiet:
        echo(told(writers, count, "flow", info, seconds), err=True)


def _with_one_scale(reading: ReadingOptions, output: OutputOptions, direction: Direction) -> OutputOptions:
    """The options with the scale of the whole clip, which is read for it."""
    from flowcli.draw.effects import Color
    from flowcli.draw.scale import clip_scale
    from flowcli.flowsource import open_flow_source

    with open_flow_source(reading.inputs, direction=direction, bound=output.bound, kind=reading.kind) as source:
        return replace(output, max_flow=clip_scale(source, output.percentile or Color.percentile))


def _open_over(over: str, reading: ReadingOptions, outputs: Sequence[Output]) -> FrameSource:
    deep = any(each.deep for each in outputs)
    return open_input(SourceOptions(over, deep=deep, first_frame=reading.first_frame))
