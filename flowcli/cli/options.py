"""Options that commands share: each group is a decorator that hands the command one frozen dataclass."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from flowcli.api import EngineOptions, SourceOptions
from flowcli.cli.values import (
    Value,
    parse_as,
    parse_device,
    parse_dim,
    parse_max_flow,
    parse_percentile,
    parse_pixels,
    parse_rate,
    parse_tile,
    parse_time,
)
from flowcli.errors import UsageError
from flowcli.output.kinds import STYLES
from flowcli.output.outputs import OutputOptions

DEBUG = "flowcli.debug"
"""Key in the context's `meta`, where the error boundary finds it."""

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class TalkOptions:
    """How much is said, and in what form."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False


def grouped(name: str, kind: type, *options: Decorator) -> Decorator:
    """Decorator that adds `options` and hands their values to the command as one `kind` under `name`.

    Fields for which there is no option keep their defaults.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def grouping(**values: Any) -> Any:
            own = {field.name: values.pop(field.name) for field in dataclasses.fields(kind) if field.name in values}
            return command(**values, **{name: kind(**own)})

        for option in reversed(options):
            option(grouping)
        return grouping

    return decorate


_selection_options = (
    click.option(
        "--start", type=Value("time", parse_time), metavar="TIME", help="First frame: a number, 2.5s or 00:01:02.5."
    ),
    click.option(
        "--stop", type=Value("time", parse_time), metavar="TIME", help="Frame to stop before, written the same way."
    ),
    click.option("--every", type=click.IntRange(min=1), default=1, metavar="N", help="Take each Nth frame."),
)

selection_options = grouped("source", SourceOptions, *_selection_options)
"""For commands that take inputs in a way of their own."""

source_options = grouped(
    "source",
    SourceOptions,
    click.argument("input", type=click.Path()),
    click.argument("second", type=click.Path(), required=False),
    *_selection_options,
)

device_option = click.option(
    "--device",
    type=Value("device", parse_device),
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:N]",
    help="Where the network runs; auto is the GPU if there is one.",
)

model_option = click.option(
    "-m",
    "--model",
    default=EngineOptions.model,
    show_default=True,
    metavar="NAME|FILE",
    help="What `flowcli models` lists, or a file of weights.",
)
refine_option = click.option(
    "--refine",
    type=click.IntRange(min=1),
    metavar="N",
    help="Refinements at 1/8 of full size: fewer are faster.  [default: 2]",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(["auto", "int8", "bf16", "fp16", "fp32"]),
    default="auto",
    show_default=True,
    help="Of the network; flow is always float32. int8: on CPUs, for weights made for it.",
)

batch_option = click.option(
    "--batch",
    type=click.IntRange(min=1),
    metavar="N",
    help="Frames in a step: small ones are faster together. 1 for flow at once, of a live source.  "
    "[default: up to 8, by network, size and memory]",
)

_network_options = (
    refine_option,
    device_option,
    precision_option,
    click.option(
        "--max-side",
        type=click.IntRange(min=1),
        metavar="PX",
        help="Estimate on smaller pictures; the flow has full size again.",
    ),
    click.option(
        "--tile",
        type=Value("tile", parse_tile),
        default="auto",
        show_default=True,
        metavar="PX|auto|off",
        help="Work on larger frames in tiles: smaller ones take less memory, for the same flow.",
    ),
    click.option(
        "--variational", is_flag=True, help="Refine each flow by OpenCV's variational method: slower, smoother."
    ),
)

network_options = grouped("engine", EngineOptions, *_network_options)
"""For commands that take pairs, and choose models in a way of their own."""

flow_options = (
    model_option,
    click.option(
        "--weights", metavar="FILE", help="Weights for the network that --model names, as their authors published them."
    ),
    *_network_options,
    batch_option,
)
"""For commands that need flow in directions of their own."""

direction_options = (
    click.option("--backward", "direction", flag_value="backward", help="Flow from each frame to the one before it."),
    click.option(
        "--both",
        "direction",
        flag_value="both",
        default=EngineOptions.direction,
        help="Flow both ways; outputs NAME_bwd hold the backward flow.",
    ),
)

engine_options = grouped(
    "engine",
    EngineOptions,
    *flow_options,
    *direction_options,
    click.option(
        "--last",
        type=click.Choice(["drop", "repeat", "zero"]),
        default="drop",
        show_default=True,
        help="What the last frame gets: N frames have N-1 flows.",
    ),
)

targets_option = click.option(
    "-o",
    "--out",
    "targets",
    type=click.Path(),
    multiple=True,
    metavar="OUT",
    help="Where to write; may be repeated. See below.",
)

_naming_options = (
    targets_option,
    click.option(
        "--as",
        "kinds",
        type=Value("kind", parse_as),
        multiple=True,
        metavar="KIND",
        help="What to write there; one per --out, in order. See below.",
    ),
    click.option(
        "--occlusion",
        type=click.Path(),
        multiple=True,
        metavar="OUT",
        help="Write masks there: white is hidden in the next frame, or outside; as --out OUT --as occlusion.",
    ),
    click.option(
        "--confidence",
        type=click.Path(),
        multiple=True,
        metavar="OUT",
        help="Write there, in grey, how well the flow agrees with that back in time: black is not at all.",
    ),
)

_drawing_options = (
    click.option(
        "--max-flow",
        type=Value("pixels", parse_max_flow),
        default="auto",
        show_default=True,
        metavar="PX|auto",
        help="Speed at which colours are full; auto follows the video without flicker.",
    ),
    click.option(
        "--percentile",
        type=Value("percent", parse_percentile),
        metavar="P",
        help="Percentile of the speeds that auto follows.  [default: 99]",
    ),
    click.option(
        "--style",
        type=click.Choice(STYLES),
        metavar="STYLE",
        help=f"How flow is drawn: {', '.join(STYLES)}.  [default: wheel]",
    ),
    click.option(
        "--dim",
        type=Value("part", parse_dim),
        default=OutputOptions.dim,
        show_default=True,
        metavar="0...1",
        help="How much darker frames are below arrows, trails and an overlay.",
    ),
    click.option("--legend", is_flag=True, help="Draw the scale, and what colours mean."),
)

_storing_options = (
    click.option(
        "--bound",
        type=Value("pixels", parse_pixels),
        metavar="PX",
        help="Where tsn, i3d and flow in .mkv clip the flow.  [default: 20, .mkv 512]",
    ),
    click.option(
        "--exr",
        type=click.Choice(["nuke", "fusion", "blender", "stmap"]),
        default="nuke",
        show_default=True,
        help="Whose channels and signs an .exr has.",
    ),
    click.option(
        "--fps",
        type=Value("rate", parse_rate),
        metavar="RATE",
        help="Constant rate of written videos; otherwise frames keep their times.",
    ),
    click.option(
        "--crf", type=click.IntRange(0, 63), metavar="N", help="Quality of written videos: less is better and larger."
    ),
    click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist."),
)

writing_options = (
    *_drawing_options,
    click.option(
        "--holes",
        type=click.Choice(["black", "keep", "transparent"]),
        default="black",
        show_default=True,
        help="Pixels of a warped frame that nothing is known of.",
    ),
    *_storing_options,
)
"""For commands that name their outputs in a way of their own."""

output_options = grouped("output", OutputOptions, *_naming_options, *writing_options)

frameless_options = grouped("output", OutputOptions, *_naming_options, *_drawing_options, *_storing_options)
"""For commands that have flow, but not the frames that it is of."""


def talk_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --json, -q, -v and --debug, handed over as TalkOptions `talk`."""

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
    click.option("--json", is_flag=True, help="One JSON object on stdout (on stderr if stdout is an output)."),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
    click.option("-v", "--verbose", is_flag=True, help="Say more."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)
