"""`flowcli interpolate`: other frame rates, slow motion, motion blur, and other sizes."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import get_args

import click

from flowcli.cli.fetching import fetch_option
from flowcli.cli.grouping import choice, grouped, is_given, value
from flowcli.cli.help import HelpedCommand
from flowcli.cli.options import TalkOptions, batch_option, making_flags, network_flags, source_options, talk_options
from flowcli.cli.outputs import encoding_flags, keep_option, targets_option
from flowcli.cli.streams import echo
from flowcli.cli.values import parse_new_rate, parse_shutter, parse_times
from flowcli.cli.words import completed, frame_makers, model_names
from flowcli.cli.writing import check_stdout, described, described_weights, is_partial, told, write_all
from flowcli.errors import InputError, UsageError
from flowcli.inputs import STDIN
from flowcli.interpolation.options import Duplicates, InterpolationOptions
from flowcli.interpolation.run import find_method, open_making, open_method
from flowcli.interpolation.sound import Audio, find_sound
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.kinds import CONTAINERS
from flowcli.output.naming import plan_frames
from flowcli.output.opening import open_frames
from flowcli.output.options import FrameOptions
from flowcli.regular import read_regular
from flowcli.run import open_input
from flowcli.types import open_all


@click.command("interpolate", cls=HelpedCommand)
@source_options
@grouped(
    "wanted",
    InterpolationOptions,
    value("--fps", parse_new_rate, "RATE|xN", "Frame rate of the output: 60, 24000/1001, x2, x2.5."),
    value(
        "--times",
        parse_times,
        "T,T,...",
        "Make frames at these times: from 0 to 1 between two pictures, otherwise in seconds.",
    ),
    value("--shutter", parse_shutter, "0...1", "Motion blur: for what share of a frame's time the shutter is open."),
    *making_flags,
    choice("--duplicates", get_args(Duplicates), "Frames that repeat the one before: skip leaves them out first."),
    click.option(
        "--model",
        "method",
        default=InterpolationOptions.method,
        show_default=True,
        metavar="NAME|FILE",
        shell_complete=completed(frame_makers),
        help="How frames are made: splat moves pixels along the flow, blend mixes the two frames, nearest repeats "
        "one; or a network that makes frames, such as videoinr, or a file of its weights.",
    ),
)
@click.option(
    "--times-from", type=click.Path(), metavar="FILE", help="Read the times from a text file, one time per line."
)
@choice("--audio", get_args(Audio), "What happens to the sound; copy drops it where --slow or --times change the pace.")
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
        shell_complete=completed(model_names),
        help="The model that estimates the flow, like --model of `flowcli estimate`.",
    ),
    *network_flags,
    batch_option,
)
@grouped(
    "output",
    FrameOptions,
    targets_option,
    click.option(
        "--as",
        "kinds",
        multiple=True,
        metavar="KIND",
        help="Format of an output: png, jpg, tif, mp4, y4m; one per --out.",
    ),
    *encoding_flags,
    keep_option,
)
@fetch_option
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
      frames/                        a folder of .png files, numbered as the input; --as jpg for others
      middle.png                     one picture, for one time
      -                              y4m on stdout

    Inputs with more than 8 bits per channel are processed with 16 bits: .mp4, .mkv, .mov, .webm and y4m store
    10 of them, .png and .tif store all.

    An input frame whose time is asked for is copied unchanged. Frames are never mixed across a cut: the nearer frame is
    repeated. The input may have a variable frame rate; with --fps or --slow the output has a constant one.

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
    method = find_method(wanted.method, engine)
    if method.flow is None:
        _refuse_flow(wanted.method)

    from flowcli.video import numbered

    began = time.perf_counter()
    with open_input(dataclasses.replace(source, deep=True, first_frame=None)) as frames:
        sound, why = None, ""
        if any(each.video for each in outputs):
            sound, why = find_sound(Path(source.input), frames.info, wanted, "none" if no_audio else audio)
        shallow = [each for each in outputs if frames.info.bits > 8 and not CONTAINERS[each.format].deep]
        notes = [why, *(f"{each} has 8 bits per channel, the input more" for each in shallow)]
        for note in notes if not talk.quiet else ():
            if note:
                echo(f"note: {note}", err=True)
        stored = dataclasses.replace(output, fps=wanted.rate(frames.info))
        tools = open_method(method, engine)
        with open_making(frames, tools, wanted, pair=pair) as run:
            writers = open_all(
                outputs, lambda each: open_frames(each, run.info, stored, sys.stdout.buffer, sound=sound)
            )
            made = run.frames if source.first_frame is None else numbered(run.frames, source.first_frame)
            count = write_all(made, writers, run.info.frames, "frame", show=not talk.quiet)
    seconds = time.perf_counter() - began
    if talk.json:
        summary = {
            "frames_in": run.decode.items,
            "frames": count,
            "rate": None if stored.fps is None else str(stored.fps),
            "width": run.info.width,
            "height": run.info.height,
            "bits": run.info.bits,
            "seconds": round(seconds, 3),
            "damaged": frames.damage or None,
            "model": method.name,
            "weights": method.weights and described_weights(method.weights),
            "flow": method.flow and {"model": method.flow.name, "weights": described_weights(method.flow)},
            **tools.described(),
            "partial": is_partial(),
            "audio": sound is not None,
            "outputs": [described(each) for each in writers],
        }
        echo(json.dumps(summary), err=any(each.path is None for each in outputs))
    elif not talk.quiet:
        echo(told(writers, count, "frame", run.info, seconds), err=True)


def _refuse_flow(method: str) -> None:
    """Raises UsageError for an option on the command line that says how flow is estimated."""
    flow = {field.name for field in dataclasses.fields(EngineOptions)} - {"device"}
    for option in click.get_current_context().command.params:
        if option.name in flow and is_given(option.name):
            raise UsageError(f"{option.opts[-1]} says how flow is estimated, {method} uses none", "leave it out")


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
            raise InputError(f"line {number} of {path} is no time: {line}", "write seconds, as 0.25 or 1/4") from None
        if times and time < times[-1]:
            raise InputError(f"time {number} in {path} goes back: {line}", "times must not go back")
        times.append(time)
    if not times:
        raise InputError(f"no times in {path}", "write one in each line")
    return tuple(times)
