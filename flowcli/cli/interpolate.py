"""`flowcli interpolate`: other frame rates, slow motion, motion blur, and other sizes."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from flowcli.api import (
    EngineOptions,
    SourceOptions,
    find_weights,
    mark_frames,
    needs_flow,
    open_engine,
    open_input,
    retime,
)
from flowcli.cli.options import (
    TalkOptions,
    batch_option,
    choice,
    encoding_flags,
    grouped,
    network_flags,
    source_options,
    talk_options,
    targets_option,
    value,
)
from flowcli.cli.streams import echo
from flowcli.cli.values import parse_new_rate, parse_shutter, parse_size, parse_slow, parse_times
from flowcli.cli.writing import check_stdout, described, described_engine, described_weights, told, write_all
from flowcli.errors import InputError, UsageError
from flowcli.inputs import STDIN
from flowcli.interpolation.options import Duplicates, InterpolationOptions, Method
from flowcli.output.naming import plan_frames
from flowcli.output.opening import open_frames
from flowcli.output.options import FrameOptions
from flowcli.regular import read_regular
from flowcli.types import open_all

if TYPE_CHECKING:
    from flowcli.video import Soundtrack

Audio = Literal["copy", "stretch", "none"]


@click.command("interpolate")
@source_options
@grouped(
    "wanted",
    InterpolationOptions,
    value("--fps", parse_new_rate, "RATE|xN", "Frame rate of the output: 60, 24000/1001, x2, x2.5."),
    value("--slow", parse_slow, "N", "Make it last N times as long."),
    value("--times", parse_times, "T,T,...", "Frames at these times: for two pictures 0 to 1, otherwise seconds."),
    value("--size", parse_size, "WxH|xN", "Size of the output: 1920x1080, x2, 1.5x."),
    value("--shutter", parse_shutter, "0...1", "Motion blur: the share of a frame's time for which it is exposed."),
    choice("--duplicates", get_args(Duplicates), "Frames that repeat the one before: skip leaves them out first."),
    click.option(
        "--model",
        "method",
        type=click.Choice(get_args(Method)),
        default=InterpolationOptions.method,
        show_default=True,
        help="How frames are made: moved along the flow, mixed, or repeated.",
    ),
)
@click.option(
    "--times-from", type=click.Path(), metavar="FILE", help="Read the times from a text file, one in each line."
)
@choice("--audio", get_args(Audio), "Sound: copy leaves it out where --slow or --times change the pace.")
@click.option("--no-audio", is_flag=True, help="The same as --audio none.")
@grouped(
    "engine",
    EngineOptions,
    click.option(
        "--flow",
        "model",
        default=EngineOptions.model,
        show_default=True,
        metavar="NAME|FILE",
        help="The model that estimates the flow, as --model of estimate.",
    ),
    *network_flags,
    batch_option,
)
@grouped(
    "output",
    FrameOptions,
    targets_option,
    click.option(
        "--as", "kinds", multiple=True, metavar="KIND", help="Format of an output: png, jpg, mp4, y4m; one per --out."
    ),
    *encoding_flags,
)
@talk_options
def command(
    source: SourceOptions,
    wanted: InterpolationOptions,
    times_from: str | None,
    audio: Audio,
    no_audio: bool,
    engine: EngineOptions,
    output: FrameOptions,
    talk: TalkOptions,
) -> None:
    """Make frames between frames: other frame rates, slow motion, motion blur, other sizes.

    INPUT is a video, a folder of pictures, a quoted glob such as 'frames/*.png', or - for a video on stdin. For frames
    between two pictures, give both: INPUT and SECOND.

    \b
    OUT                       what is written
      out.mp4 .mkv .mov .webm .gif   a video
      frames/                        a folder of .png files, numbered from 0; --as jpg for others
      middle.png                     one picture, for one time
      -                              y4m on stdout

    A frame of the input whose time is asked for comes out as it is. Nothing is mixed across a cut: the nearer frame is
    repeated. Frame times of the input may vary; with --fps or --slow the output has a constant rate.

    \b
    flowcli interpolate in.mp4 --fps 60 -o smooth.mp4
    flowcli interpolate in.mp4 --slow 4 --audio stretch -o slow.mp4
    flowcli interpolate in.mp4 --fps x2 --size x2 -o big.mp4
    flowcli interpolate in.mp4 --shutter 0.5 -o blurred.mp4
    flowcli interpolate a.png b.png --times 0.25,0.5,0.75 -o between/
    """
    if times_from is not None:
        if wanted.times is not None:
            raise UsageError("--times and --times-from contradict each other", "leave one out")
        wanted = dataclasses.replace(wanted, times=_read_times(Path(times_from)))
    if wanted.nothing:
        hint = "add --fps 60, --slow 4, --times 0.5, --shutter 0.5 or --size x2"
        raise UsageError("nothing is asked for: the frames would stay as they are", hint)
    check_stdout(output)
    pair = source.second is not None
    place = Path(source.input) if source.input != STDIN else None
    one = wanted.times is not None and len(wanted.times) == 1
    outputs = plan_frames(output, one=one, source=place if place and place.exists() else None)
    entry = find_weights(engine) if needs_flow(wanted.method) else None

    from flowcli.pipeline import Stopwatch, prefetch

    began = time.perf_counter()
    decode = Stopwatch()
    with ExitStack() as stack:
        frames = stack.enter_context(open_input(source))
        rate, (height, width) = wanted.rate(frames.info), wanted.shape(frames.info)
        info = dataclasses.replace(frames.info, height=height, width=width, rate=rate or frames.info.rate)
        track, why = None, ""
        if frames.info.audio and not no_audio and audio != "none" and any(each.video for each in outputs):
            track, why = _find_sound(Path(source.input), wanted, audio == "stretch")
        if why and not talk.quiet:
            echo(f"note: {why}", err=True)
        ahead = stack.enter_context(prefetch(frames if pair else mark_frames(frames, wanted.duplicates), watch=decode))
        running = None if entry is None else open_engine(entry, engine)
        stored = dataclasses.replace(output, fps=rate)
        writers = open_all(outputs, lambda each: open_frames(each, info, stored, sys.stdout.buffer, sound=track))
        made = retime(ahead, frames.info, wanted, running, pair=pair)
        count = write_all(made, writers, wanted.count(frames.info), "frame", show=not talk.quiet)
    seconds = time.perf_counter() - began
    if talk.json:
        summary = {
            "frames_in": decode.items,
            "frames": count,
            "rate": None if rate is None else str(rate),
            "width": width,
            "height": height,
            "seconds": round(seconds, 3),
            "damaged": frames.damage or None,
            "model": wanted.method,
            "flow": entry and {"model": entry.name, "weights": described_weights(entry)},
            **({} if running is None else described_engine(running)),
            "audio": track is not None,
            "outputs": [described(each) for each in writers],
        }
        echo(json.dumps(summary), err=any(each.path is None for each in outputs))
    elif not talk.quiet:
        echo(told(writers, count, "frame", info, seconds), err=True)


def _read_times(path: Path) -> tuple[Fraction, ...]:
    """The times in a text file, one in each line. Raises InputError."""
    try:
        lines = read_regular(path).decode().splitlines()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", "check the name and the permissions") from error
    except UnicodeDecodeError:
        raise InputError(f"not a text file: {path}", "give one with a time in each line") from None
    times: list[Fraction] = []
    for number, line in enumerate(filter(None, map(str.strip, lines)), 1):
        try:
            (time,) = parse_times(line)
        except ValueError:
            raise InputError(f"time {number} in {path} is none: {line}", "write seconds, as 0.25 or 1/4") from None
        if times and time < times[-1]:
            raise InputError(f"time {number} in {path} goes back: {line}", "times must not go back")
        times.append(time)
    if not times:
        raise InputError(f"no times in {path}", "write one in each line")
    return tuple(times)


def _find_sound(path: Path, wanted: InterpolationOptions, stretch: bool) -> tuple[Soundtrack | None, str]:
    """The sound of the input for the videos, or None and why it is left out."""
    if not path.is_file():
        return None, "audio is not copied: it is taken from files only"
    if wanted.times is not None:
        return None, "audio is not copied: --times changes the pace"
    if wanted.slow is not None and not stretch:
        return None, "audio is not copied: --slow changes the pace; add --audio stretch"
    from flowcli.video import Soundtrack

    return Soundtrack(path, tempo=1 / (wanted.slow or Fraction(1))), ""
