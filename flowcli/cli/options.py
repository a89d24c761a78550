"""Options that commands share, but those for outputs: each group is a decorator that hands over a frozen dataclass."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import click

from flowcli.carry.run import CarryOptions, Sides
from flowcli.cli.grouping import choice, count, grouped, value
from flowcli.cli.presets import gives_way
from flowcli.cli.values import (
    parse_device,
    parse_first_frame,
    parse_rate,
    parse_sides,
    parse_size,
    parse_slow,
    parse_tile,
    parse_time,
)
from flowcli.cli.words import completed, model_names
from flowcli.environment import PIXELS, changed
from flowcli.errors import UsageError
from flowcli.inputs import quoted
from flowcli.options import EngineOptions, SourceOptions
from flowcli.types import Cuts, Duplicates, Gaps, Last, Precision

DEBUG = "flowcli.debug"
"""Key in the context's `meta`, where the error boundary finds it."""


@dataclass(frozen=True)
class TalkOptions:
    """How much the command says, and in what form."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False


def _refuse(context: click.Context, parameter: click.Parameter, more: tuple[str, ...]) -> None:
    """Raises UsageError for more than two inputs, as the shell makes them of a pattern."""
    if more:
        given = [str(context.params.get(name) or "") for name in ("input", "second")]
        raise UsageError(
            f"{len(more) + 2} inputs, but a video, a folder or two pictures are taken",
            quoted([*given, *more]) or "flowcli batch takes many videos",
        )


def _allow_pixels(context: click.Context, parameter: click.Parameter, most: int | None) -> None:
    """Sets the limit as long as the command runs; OpenCV looks for it when it is imported."""
    if most is not None:
        context.with_resource(changed({PIXELS: str(most)}))


_every_option = click.option(
    "--every", type=click.IntRange(min=1), default=1, metavar="N", help="Use only every Nth frame."
)
_bounds_options = (
    value("--start", parse_time, "TIME", "First frame: a number, 2.5s or 00:01:02.5."),
    value("--stop", parse_time, "TIME", "First frame that is left out, in the same form."),
)
_reading_options = (
    click.option(
        "--strict", is_flag=True, help="Stop at damage in an input; without it, all that can be decoded is used."
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        metavar="N",
        expose_value=False,
        callback=_allow_pixels,
        help="Refuse pictures and videos with more than N pixels.  [default: 178956970]",
    ),
    click.option(
        "--deinterlace", is_flag=True, help="Make one full picture of the two fields of each interlaced frame."
    ),
    choice(
        "--gaps",
        get_args(Gaps),
        "What to do where frame numbers are missing or another sequence begins: skip estimates no flow across, bridge "
        "does, error stops.",
    ),
)
_size_options = (
    value(
        "--sample-fps",
        parse_rate,
        "RATE",
        "Use at most RATE frames per second, chosen by their times; no frame is used twice.",
    ),
    count(
        "--short-side",
        "PX",
        "First resize frames so that their shorter side is PX; the flow has that size too.",
        gives_way("resize"),
    ),
    value("--resize", parse_sides, "WxH", "First resize frames to this width and height."),
)
_selection_options = (*_bounds_options, _every_option, *_size_options, *_reading_options)
_more_arguments = (
    click.argument("second", type=click.Path(), required=False),
    click.argument("more", nargs=-1, metavar="", expose_value=False, callback=_refuse),
)

selection_options = grouped("source", SourceOptions, *_selection_options)
"""For commands with their own arguments for inputs."""

first_frame_option = value(
    "--first-frame",
    parse_first_frame,
    "N",
    "Number of a movie's first frame in file names: 1001 gives 1001.exr, 1002.exr and so on.",
)

source_options = grouped(
    "source",
    SourceOptions,
    click.argument("input", type=click.Path()),
    *_more_arguments,
    *_selection_options,
    first_frame_option,
)

whole_source_options = grouped(
    "source",
    SourceOptions,
    click.argument("input", type=click.Path(), required=False, default=""),
    *_more_arguments,
    *_bounds_options,
    *_reading_options,
)
"""For commands that take every frame, and give --every another meaning; without an input it is empty."""

device_option = value(
    "--device", parse_device, "auto|cpu|cuda[:N]", "Where the network runs; auto uses the GPU if there is one.", "auto"
)
model_option = click.option(
    "-m",
    "--model",
    default=EngineOptions.model,
    show_default=True,
    metavar="NAME|FILE",
    shell_complete=completed(model_names),
    help="Model that `flowcli models` lists; or a file of weights.",
)
refine_option = count(
    "--refine",
    "N",
    "Refinement steps at 1/8 of the full size; from 4 on with more steps at other sizes, too. Fewer are faster.  "
    "[default: 2]",
    gives_way("model"),
)
precision_option = choice(
    "--precision",
    get_args(Precision),
    "Number format inside the network; the flow itself is always float32. int8 works on CPUs, with weights that were "
    "prepared for it.",
)
batch_option = count(
    "--batch",
    "N",
    "Frames per step of the network: small frames are faster when several share a step; with 1, each flow comes "
    "without delay.  [default: up to 8, by network, size and memory]",
)

network_flags = (
    refine_option,
    device_option,
    precision_option,
    count(
        "--max-side",
        "PX",
        "Estimate on smaller pictures: scale them down to this longer side; the flow still has full size.",
    ),
    value(
        "--tile",
        parse_tile,
        "PX|auto|off",
        "Split larger frames into tiles of this side; smaller tiles need less memory, and the flow stays the same.",
        "auto",
    ),
    click.option(
        "--variational", is_flag=True, help="Refine each flow with OpenCV's variational method: slower, but smoother."
    ),
)

network_options = grouped("engine", EngineOptions, *network_flags)
"""For commands that take pairs and have their own options for models."""

cuts_option = choice("--cuts", get_args(Cuts), "Find cuts and estimate no flow across them; off estimates all flow.")
duplicates_option = choice(
    "--duplicates",
    get_args(Duplicates),
    "Frames that repeat the one before, as in animation. hold: pictures show the flow before, files have what was "
    "measured; keep: both have what was measured; skip: leave these frames out; zero: their flow is zero.",
)

flow_options = (
    model_option,
    click.option("--weights", metavar="FILE", help="Published weights for the network that --model names."),
    *network_flags,
    batch_option,
)
"""For commands without options for the direction of the flow."""

direction_options = (
    click.option("--backward", "direction", flag_value="backward", help="Flow from each frame to the one before it."),
    click.option(
        "--both",
        "direction",
        flag_value="both",
        default=EngineOptions.direction,
        help="Estimate flow in both directions; outputs NAME_bwd hold the backward flow.",
    ),
)

engine_options = grouped(
    "engine",
    EngineOptions,
    *flow_options,
    *direction_options,
    cuts_option,
    duplicates_option,
    choice("--last", get_args(Last), "What is written for the last frame of each shot, which has no next frame."),
)

making_flags = (
    value("--slow", parse_slow, "N", "Make the video N times as long."),
    value("--size", parse_size, "WxH|xN", "Size of the output: 1920x1080, x2, 1.5x."),
)
"""Which frames are made, beside their rate."""

carrying_flags = (
    choice("--content", ("auto", "labels", "soft"), "What grey masks contain: label numbers, or soft mattes."),
    choice(
        "--keys", get_args(Sides), "From which key frames around a frame its mask is carried; auto uses all of them."
    ),
    click.option(
        "--ahead",
        type=click.IntRange(min=1),
        default=CarryOptions.ahead,
        show_default=True,
        metavar="N",
        help="How many frames wait in memory for the key frame after them.",
    ),
    click.option(
        "--refine-edges", is_flag=True, help="Move the borders of labels to edges nearby: slower, but sharper."
    ),
)
"""How masks are carried."""


def talk_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --json, -q, -v and --debug, which the command gets as TalkOptions `talk`."""

    @functools.wraps(command)
    def listening(*, talk: TalkOptions, **values: Any) -> Any:
        if talk.quiet and talk.verbose:
            raise UsageError("--quiet and --verbose contradict each other", "leave one out")
        click.get_current_context().meta[DEBUG] = talk.debug
        level = logging.ERROR if talk.quiet else logging.INFO if talk.verbose else logging.WARNING
        logging.getLogger("flowcli").setLevel(level)
        return command(talk=talk, **values)

    return _talk_options(listening)


_talk_options = grouped(
    "talk",
    TalkOptions,
    click.option("--json", is_flag=True, help="Print one JSON object: on stdout, or on stderr if stdout is an output."),
    click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
    click.option("-v", "--verbose", is_flag=True, help="Print more."),
    click.option("--debug", is_flag=True, help="Print the traceback of an error."),
)
