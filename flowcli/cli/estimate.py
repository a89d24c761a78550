"""`flowcli estimate`: from a video or pictures to flow."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowcli import __version__
from flowcli.api import EngineOptions, SourceOptions, count_pairs, find_weights, open_input, open_run
from flowcli.cli.options import TalkOptions, engine_options, output_options, source_options, talk_options
from flowcli.cli.writing import check_stdout, described, described_run, told, write_all
from flowcli.output.naming import plan
from flowcli.output.opening import Writer, open_flows
from flowcli.output.options import OutputOptions
from flowcli.types import FlowPair, StreamInfo, open_all

if TYPE_CHECKING:
    from flowcli.api import Run


@click.command("estimate")
@source_options
@output_options
@engine_options
@talk_options
def command(source: SourceOptions, output: OutputOptions, engine: EngineOptions, talk: TalkOptions) -> None:
    """Estimate optical flow: how every pixel moves to the next frame.

    INPUT is a video, a folder or a quoted glob of pictures, - for stdin, or a picture with SECOND as the other one.

    \b
    OUT                          is
      flow.mp4 .mkv .mov .webm .gif  a video of colour-coded flow
      flow/                          a folder of .flo files
      flow/     with --as png        a folder of colour-coded pictures
      flow/     with --as exr        motion vectors for Nuke, Fusion or Blender, or STMaps: see --exr
      flow/     with --as tsn        flow_x_00001.jpg, flow_y_00001.jpg and so on, clipped: see --bound
      flow.npy  with --as i3d        one array (N, H, W, 2), clipped and scaled to -1...1; otherwise (N, 2, H, W)
      flow.mkv  with --as flow       a video of the flow itself, in 16 bits
      ab.flo ab.png                  one file, for a pair of pictures
      -                              colour-coded flow on stdout, as y4m

    \b
    KIND is what to write, how, or both:
      color flow warp                what: colours, vectors, the second frame brought onto the first
      arrows overlay trails ...      what: the flow drawn in that style; color is the one of --style
      occlusion confidence           what: where the next frame hides something; how well both ways agree
      flo pfm flo5 npy npz exr tsn   how: files of flow, most of them float32
      png jpg mp4 mkv ... y4m nut    how: y4m and nut (float vectors: G=u, B=v, R=known) are for stdout
      warp.png flow.png color.jpg    both; flow.png is KITTI's 16-bit format

    \b
    STYLE is
      wheel         Middlebury colours: hue is direction, white is rest
      hsv           hue is direction, brightness is speed
      magnitude     speed alone, from black over orange to pale yellow
      overlay       the hues of the wheel over the frame
      arrows        over the frame
      trails        over the frame: the paths of points in the last 15 frames
      side-by-side  the frame and, right of it, wheel

    \b
    flowcli estimate in.mp4 -o flow.mp4 -o vectors/
    flowcli estimate in.mp4 -o arrows.mp4 --style arrows --legend
    flowcli estimate in.mp4 --occlusion masks/ --confidence confidence.mp4
    flowcli estimate in.mp4 -o warped.webm --as warp --both --holes transparent
    ffmpeg -i in.mp4 -f nut - | flowcli estimate - -o - | ffplay -

    Exit codes: 0 done (also when the reader of stdout goes away), 1 error, 2 usage, 130 interrupted.
    """
    check_stdout(output)
    place = Path(source.input) if source.input != "-" else None
    one = source.second is not None and engine.last == "drop"
    outputs = plan(output, direction=engine.direction, pair=one, source=place if place and place.exists() else None)
    entry = find_weights(engine)

    began = time.perf_counter()
    with open_input(source) as frames, open_run(frames, source.input, entry, engine, outputs=outputs) as run:
        info = frames.info
        if info.audio and not talk.quiet and any(each.video for each in outputs):
            click.echo("note: audio is not copied", err=True)
        writers = open_all(outputs, lambda each: open_flows(each, info, output, sys.stdout.buffer))
        count = write_all(run.pairs, writers, count_pairs(info, engine), "flow", show=not talk.quiet)
    seconds = time.perf_counter() - began
    if talk.json:
        summary = _summary(run, info, writers, count, seconds)
        click.echo(json.dumps(summary), err=any(each.path is None for each in outputs))
    elif not talk.quiet:
        _tell(run, info, writers, count, seconds, talk.verbose)


def _rates(run: Run, writers: list[Writer[FlowPair]]) -> dict[str, float | None]:
    """Frames per second of each stage while it was busy; several outputs count as the slowest."""
    encode = [each.watch.rate for each in writers if each.watch.rate is not None]
    rates = {"decode": run.decode.rate, "network": run.engine.watch.rate, "encode": min(encode, default=None)}
    return {stage: rate and round(rate, 2) for stage, rate in rates.items()}


def _summary(run: Run, info: StreamInfo, writers: list[Writer[FlowPair]], count: int, seconds: float) -> dict[str, Any]:
    import platform

    import torch

    from flowcli.ops import _native
    from flowcli.video import ffmpeg_path, ffmpeg_version

    return {
        "frames": run.decode.items,
        "pairs": count,
        **described_run(run, info, seconds),
        "fps": _rates(run, writers),
        "kernel": _native.status(run.engine.device.type).kernel,
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
    click.echo(told(writers, count, "flow", info, seconds), err=True)
    if verbose:
        stages = ", ".join(f"{stage} {rate or 0:.1f}" for stage, rate in _rates(run, writers).items())
        click.echo(f"frames per second: {stages}", err=True)
        click.echo(f"{run.entry.name} on {run.engine.device} in {run.engine.precision}", err=True)
