"""`flowcli estimate`: from a video or pictures to flow."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowcli import __version__
from flowcli.cli.fetching import fetch_option
from flowcli.cli.grouping import choice
from flowcli.cli.help import HelpedCommand
from flowcli.cli.options import TalkOptions, engine_options, source_options, talk_options
from flowcli.cli.outputs import output_options
from flowcli.cli.presets import preset_option
from flowcli.cli.progress import track
from flowcli.cli.streams import echo
from flowcli.cli.words import completed, model_names
from flowcli.cli.writing import check_stdout, described, described_run, note_legend, told, told_places, write_all
from flowcli.errors import UsageError
from flowcli.once import warned_once
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.naming import plan
from flowcli.output.opening import Writer, open_flows
from flowcli.output.options import OutputOptions
from flowcli.run import (
    check_read_twice,
    count_pairs,
    find_clip_scale,
    find_versus,
    find_weights,
    open_engine,
    open_input,
    open_run,
)
from flowcli.types import Duplicates, FlowPair, StreamInfo, open_all

if TYPE_CHECKING:
    from flowcli.run import Run
    from flowcli.video import Soundtrack

_FATE: dict[Duplicates, str] = {
    "hold": "pictures hold the flow before, files have what was measured",
    "keep": "their flow is what was measured",
    "skip": "left out",
    "zero": "their flow is zero",
}
"""What became of duplicates."""


@click.command("estimate", cls=HelpedCommand)
@source_options
@output_options
@preset_option
@engine_options
@click.option(
    "--versus",
    metavar="NAME|FILE",
    shell_complete=completed(model_names),
    help="Draw the flow of a second model beside the first, at the same scale and with their names.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Keep the delay short, for a live source: like --batch 1 --cuts off --duplicates keep, without looking ahead.",
)
@choice("--audio", ("none", "copy"), "Copy the sound of INPUT into videos of pictures, or leave it out.")
@fetch_option
@talk_options
def command(
    source: SourceOptions, output: OutputOptions, engine: EngineOptions, live: bool, audio: str, talk: TalkOptions
) -> None:
    """Estimate optical flow: how every pixel moves to the next frame.

    INPUT is a video, a folder of pictures, a quoted glob such as 'frames/*.png', numbered pictures such as f.%04d.png
    or f.####.png, or - for a video on stdin. For the flow between two pictures, give both: INPUT and SECOND.

    \b
    OUT                              what is written
      flow.mp4 .mkv .mov .webm .gif  a video of colour-coded flow
      flow/                          a folder of .flo files
      flow/     with --as png        a folder of colour-coded pictures
      flow/     with --as exr        motion vectors for Nuke, Fusion or Blender, or STMaps (--exr)
      flow/     with --as tsn        flow_x_00001.jpg, flow_y_00001.jpg and so on, clipped (--bound)
      flow.npy                       one array (N, 2, H, W)
      flow.npy  with --as i3d        one array (N, H, W, 2), clipped and scaled to -1...1
      flow.mkv  with --as flow       the flow itself as a 16-bit video
      ab.flo ab.png                  one file, for two pictures
      -                              colour-coded flow on stdout, as y4m

    \b
    KIND is a content, a format, or CONTENT.FORMAT:
      color flow warp                content: colours, vectors, the second frame moved onto the first
      arrows overlay trails ...      content: the flow in that style; color takes the style of --style
      occlusion confidence           content: what the next frame hides; how far both directions agree
      rgb stats                      content: the frames themselves; a table, as from flowcli stats
      flo pfm flo5 npy npz exr tsn   format: files of flow, most of them float32
      png jpg mp4 mkv ...            format: pictures and videos
      csv json jsonl                 format: of stats
      y4m nut                        format: for stdout; nut has float vectors, G=u, B=v, R=known
      warp.png flow.png color.jpg    content and format; flow.png is KITTI's 16-bit format

    \b
    STYLE
      wheel         Middlebury colours: hue is direction, white is no motion
      hsv           hue is direction, brightness is speed
      magnitude     speed only, from black over orange to pale yellow
      overlay       the colours of the wheel over the frame
      arrows        arrows over the frame
      trails        paths of points in the last 15 frames, over the frame
      side-by-side  the frame on the left, the wheel's colours on the right;
                    --as side-by-side --style arrows has arrows there, and so on

    \b
    Examples:
    flowcli estimate in.mp4 -o flow.mp4 -o vectors/
    flowcli estimate in.mp4 -o arrows.mp4 --style arrows --legend
    flowcli estimate in.mp4 -o both.mp4 --versus dis
    flowcli estimate in.mp4 --occlusion masks/ --confidence confidence.mp4
    flowcli estimate in.mp4 -o warped.webm --as warp --both --holes transparent
    ffmpeg -i in.mp4 -f nut - | flowcli estimate - -o - | ffplay -

    Exit codes: 0 done (also if the reader of stdout goes away), 1 error, 2 usage, 130 interrupted.
    """
    if live:
        if engine.batch not in (None, 1):
            raise UsageError(f"--live and --batch {engine.batch} contradict each other", "leave one out")
        output, engine = replace(output, look_ahead=False), replace(engine, batch=1, cuts="off", duplicates="keep")
    run_estimate(source, output, engine, talk, audio=audio == "copy")


@warned_once()
def run_estimate(
    source: SourceOptions, output: OutputOptions, engine: EngineOptions, talk: TalkOptions, *, audio: bool
) -> None:
    """Estimates the flow of one input, writes all outputs, and says what was done. audio: whether to keep its sound."""
    check_stdout(output)
    place = Path(source.input) if source.input != "-" else None
    one = source.second is not None and engine.last == "drop"
    versus = find_versus(engine)
    if versus is not None:
        output = replace(output, methods=(find_weights(engine).name, versus.name))
    output = replace(output, hold=engine.duplicates == "hold")
    outputs = plan(output, direction=engine.direction, pair=one, source=place if place and place.exists() else None)
    one_scale = output.max_flow == "clip" and any(each.style for each in outputs)
    if one_scale:
        check_read_twice(source.input)
    entry = find_weights(engine)

    began = time.perf_counter()
    source = replace(source, deep=any(each.deep for each in outputs))
    opened = None
    if one_scale:
        opened = open_engine(entry, engine)
        measured = partial(track, unit="flow", show=not talk.quiet)
        output = replace(
            output, max_flow=find_clip_scale(source, entry, engine, opened, output.percentile, over=measured)
        )
    with open_input(source) as frames, open_run(frames, source.input, entry, engine, opened, outputs) as run:
        info = frames.info
        sound, why = _find_sound(place, info, output, audio)
        if not talk.quiet:
            note_legend(outputs, output)
        if why and not talk.quiet and any(each.video for each in outputs):
            echo(f"note: {why}", err=True)
        writers = open_all(outputs, lambda each: open_flows(each, info, output, sys.stdout.buffer, sound, run.passage))
        count = write_all(run.pairs, writers, count_pairs(info.frames, engine), "flow", show=not talk.quiet)
    seconds = time.perf_counter() - began
    if talk.json:
        summary = _summary(run, info, writers, count, seconds, frames.damage)
        echo(json.dumps(summary), err=any(each.path is None for each in outputs))
    elif not talk.quiet:
        _tell(run, info, writers, count, seconds, talk.verbose)
        if run.duplicates:
            echo(f"{told_places('duplicates', run.duplicates)}: {_FATE[engine.duplicates]}", err=True)


def _find_sound(
    path: Path | None, info: StreamInfo, output: OutputOptions, wanted: bool
) -> tuple[Soundtrack | None, str]:
    """The sound of the input for the videos, or None and why it is left out, "" if there is none."""
    if not info.audio:
        return None, ""
    if not wanted:
        return None, "audio is not copied: add --audio copy"
    if path is None or not path.is_file():
        return None, "audio is not copied: it is taken from files only"
    if output.fps is not None:
        return None, "audio is not copied: --fps changes the pace"
    from flowcli.video import Soundtrack

    return Soundtrack(path), ""


def _rates(run: Run, writers: list[Writer[FlowPair]]) -> dict[str, float | None]:
    """Frames per second of each stage while it was busy; of several outputs, those of the slowest."""
    encode = [each.watch.rate for each in writers if each.watch.rate is not None]
    rates = {"decode": run.decode.rate, "network": run.engine.watch.rate, "encode": min(encode, default=None)}
    return {stage: rate and round(rate, 2) for stage, rate in rates.items()}


def _summary(
    run: Run, info: StreamInfo, writers: list[Writer[FlowPair]], count: int, seconds: float, damaged: str
) -> dict[str, Any]:
    import platform

    import torch

    from flowcli.video import ffmpeg_path, ffmpeg_version

    return {
        "frames": run.decode.items,
        "pairs": count,
        "cuts": run.cuts,
        "duplicates": run.duplicates,
        **described_run(run, info, seconds, damaged),
        "versus": run.versus and run.versus.name,
        "fps": _rates(run, writers),
        "outputs": [described(each) for each in writers],
        "versions": {
            "flowcli": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "ffmpeg": ffmpeg_version(ffmpeg_path()),
        },
    }


def _tell(
    run: Run, info: StreamInfo, writers: list[Writer[FlowPair]], count: int, seconds: float, verbose: bool
) -> None:
    echo(told(writers, count, "flow", info, seconds), err=True)
    if run.cuts:
        echo(f"{told_places('cuts', run.cuts)}: no flow leads there; --cuts off estimates it", err=True)
    if verbose:
        stages = ", ".join(f"{stage} {rate or 0:.1f}" for stage, rate in _rates(run, writers).items())
        echo(f"frames per second: {stages}", err=True)
        echo(f"{run.entry.name} on {run.engine.device} in {run.engine.precision}", err=True)
