"""`flowcli estimate`: from a video or pictures to flow."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowcli import __version__
from flowcli.api import EngineOptions, SourceOptions, find_weights, open_run
from flowcli.cli.options import TalkOptions, engine_options, output_options, source_options, talk_options
from flowcli.cli.progress import track
from flowcli.errors import OutputError, UsageError
from flowcli.outputs import Opened, Output, OutputOptions, open_outputs, plan
from flowcli.types import StreamInfo, drain

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
      flow/   with --as png          a folder of colour-coded pictures
      ab.flo ab.png                  one file, for a pair of pictures
      -                              colour-coded flow on stdout, as y4m

    \b
    KIND is what to write, how, or both:
      color flow warp                what: colours, vectors, the second frame brought onto the first
      flo png jpg mp4 ... y4m nut    how: y4m and nut (float vectors: G=u, B=v, R=known) are for stdout
      warp.png flow.png color.jpg    both; flow.png is KITTI's 16-bit format

    \b
    flowcli estimate in.mp4 -o flow.mp4 -o vectors/
    flowcli estimate in.mp4 -o warped.webm --as warp --both --holes transparent
    ffmpeg -i in.mp4 -f nut - | flowcli estimate - -o - | ffplay -

    Exit codes: 0 done (also when the reader of stdout goes away), 1 error, 2 usage, 130 interrupted.
    """
    _check(source, output)
    place = Path(source.input) if source.input != "-" else None
    one = source.second is not None and engine.last == "drop"
    outputs = plan(output, direction=engine.direction, pair=one, source=place if place and place.exists() else None)
    entry = find_weights(engine)

    from flowcli.video import open_source

    began = time.perf_counter()
    reading = open_source(source.input, source.second, start=source.start, stop=source.stop, every=source.every)
    with reading as frames, open_run(frames, source.input, entry, engine) as run:
        info = frames.info
        if info.audio and not talk.quiet and any(each.video for each in outputs):
            click.echo("note: audio is not copied", err=True)
        opened = open_outputs(outputs, info, output, sys.stdout.buffer)
        total = info.frames and max(info.frames - (engine.last == "drop"), 0)
        try:
            count = drain(track(run.pairs, total, show=not talk.quiet), [each.sink for each in opened])
        except BrokenPipeError as error:
            others = [str(each) for each in outputs if each.path is not None]
            if not others:
                raise
            raise OutputError(
                f"the reader of stdout went away: {', '.join(others)} not written", "leave out --out -"
            ) from error
    seconds = time.perf_counter() - began
    if talk.json:
        summary = _summary(run, info, opened, count, seconds)
        click.echo(json.dumps(summary), err=any(each.path is None for each in outputs))
    elif not talk.quiet:
        _tell(run, info, opened, count, seconds, talk.verbose)


def _check(source: SourceOptions, output: OutputOptions) -> None:
    """Raises UsageError for what is wrong whatever the input is."""
    start, stop = source.start, source.stop
    if stop is not None and (stop <= 0 or (start is not None and type(start) is type(stop) and start >= stop)):
        raise UsageError(
            "--stop is not after --start", "stop is exclusive: --start 10 --stop 12 takes frames 10 and 11"
        )
    if "-" in output.targets and sys.stdout.isatty():
        raise UsageError("stdout is a terminal", "pipe it into something: ... --out - | ffplay -")


def _rates(run: Run, opened: list[Opened]) -> dict[str, float | None]:
    """Frames per second of each stage while it was busy; several outputs count as the slowest."""
    encode = [each.watch.rate for each in opened if each.watch.rate is not None]
    rates = {"decode": run.decode.rate, "network": run.engine.watch.rate, "encode": min(encode, default=None)}
    return {stage: rate and round(rate, 2) for stage, rate in rates.items()}


def _summary(run: Run, info: StreamInfo, opened: list[Opened], count: int, seconds: float) -> dict[str, Any]:
    import platform

    import torch

    from flowcli.ops import _native
    from flowcli.video import ffmpeg_path, ffmpeg_version

    return {
        "frames": run.decode.items,
        "pairs": count,
        "width": info.width,
        "height": info.height,
        "seconds": round(seconds, 3),
        "fps": _rates(run, opened),
        "device": str(run.engine.device),
        "precision": run.engine.precision,
        "kernel": _native.status(run.engine.device.type).kernel,
        "model": run.entry.name,
        "weights": run.entry.file and {"short": run.entry.sha256[:8], "sha256": run.entry.sha256},
        "outputs": [_described(each) for each in opened],
        "versions": {
            "flowcli": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "ffmpeg": ffmpeg_version(ffmpeg_path()),
        },
    }


def _described(opened: Opened) -> dict[str, Any]:
    output: Output = opened.output
    scale = None if opened.color is None else [round(each, 4) for each in opened.color.scale_range]
    return {
        "out": "-" if output.path is None else str(output),
        "what": output.what,
        "format": output.format,
        "backward": output.backward,
        "scale": scale,
    }


def _tell(run: Run, info: StreamInfo, opened: list[Opened], count: int, seconds: float, verbose: bool) -> None:
    names = ", ".join(str(each.output) for each in opened)
    flows = "1 flow" if count == 1 else f"{count} flows"
    speed = f"{seconds:.1f} s ({count / seconds:.1f} per second)"
    click.echo(f"wrote {names}: {flows}, {info.width}x{info.height}, {speed}", err=True)
    if verbose:
        stages = ", ".join(f"{stage} {rate or 0:.1f}" for stage, rate in _rates(run, opened).items())
        click.echo(f"frames per second: {stages}", err=True)
        click.echo(f"{run.entry.name} on {run.engine.device} in {run.engine.precision}", err=True)
