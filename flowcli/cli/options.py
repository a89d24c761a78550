"""Options that commands share: each group is a decorator that hands the command one frozen dataclass."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import click

from flowcli.api import EngineOptions, SourceOptions
from flowcli.errors import UsageError
from flowcli.outputs import OutputOptions, parse_kind

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


class Value(click.ParamType[Any]):
    """An option's value, read by `parse`, which raises ValueError with what is expected."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self.parse = parse

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except ValueError as error:
            self.fail(f"{value!r} is not {error}", parameter, context)


def parse_time(text: str) -> int | Fraction:
    """A frame number, or seconds as a Fraction: `250`, `2.5s`, `1:02.5`, `00:01:02.5`. Raises ValueError."""
    if re.fullmatch(r"[0-9]+", text):
        return int(text)
    if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)s", text):
        return Fraction(match[1])
    if match := re.fullmatch(r"(?:([0-9]+):)?([0-9]+):([0-9]+(?:\.[0-9]+)?)", text):
        return int(match[1] or 0) * 3600 + int(match[2]) * 60 + Fraction(match[3])
    raise ValueError("a frame number (250) or a time (2.5s, 00:01:02.5)")


def parse_rate(text: str) -> Fraction:
    """Frames per second: `25`, `29.97`, `30000/1001`. Raises ValueError."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise ValueError("a number of frames per second (25, 29.97, 30000/1001)")
    return rate


def parse_max_flow(text: str) -> float | None:
    """Pixels, None for `auto`. Raises ValueError."""
    if text == "auto":
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise ValueError("a number of pixels above 0, or auto")
    return number


def parse_device(text: str) -> str:
    """A device's name. Raises ValueError."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", text):
        raise ValueError("auto, cpu, cuda or cuda:N")
    return text


def parse_as(text: str) -> str:
    """The word of an `--as`, checked. Raises UsageError."""
    parse_kind(text)
    return text


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


source_options = grouped(
    "source",
    SourceOptions,
    click.argument("input"),
    click.argument("second", required=False),
    click.option(
        "--start", type=Value("time", parse_time), metavar="TIME", help="First frame: a number, 2.5s or 00:01:02.5."
    ),
    click.option(
        "--stop", type=Value("time", parse_time), metavar="TIME", help="Frame to stop before, written the same way."
    ),
    click.option("--every", type=click.IntRange(min=1), default=1, metavar="N", help="Take each Nth frame."),
)

device_option = click.option(
    "--device",
    type=Value("device", parse_device),
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:N]",
    help="Where the network runs; auto is the GPU if there is one.",
)

_network_options = (
    click.option(
        "--refine",
        type=click.IntRange(min=1),
        metavar="N",
        help="Refinements at 1/8 of full size: fewer are faster.  [default: 2]",
    ),
    device_option,
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        default="auto",
        show_default=True,
        help="Of the network; flow is always float32.",
    ),
    click.option(
        "--max-side",
        type=click.IntRange(min=1),
        metavar="PX",
        help="Estimate on smaller pictures; the flow has full size again.",
    ),
    click.option(
        "--variational", is_flag=True, help="Refine each flow by OpenCV's variational method: slower, smoother."
    ),
)

network_options = grouped("engine", EngineOptions, *_network_options)
"""For commands that take pairs, and choose models in a way of their own."""

engine_options = grouped(
    "engine",
    EngineOptions,
    click.option(
        "-m",
        "--model",
        default=EngineOptions.model,
        show_default=True,
        metavar="NAME|FILE",
        help="What `flowcli models` lists, or a file of weights.",
    ),
    click.option(
        "--weights", metavar="FILE", help="Weights for the network that --model names, as their authors published them."
    ),
    *_network_options,
    click.option("--backward", "direction", flag_value="backward", help="Flow from each frame to the one before it."),
    click.option(
        "--both",
        "direction",
        flag_value="both",
        default=EngineOptions.direction,
        help="Flow both ways; outputs NAME_bwd hold the backward flow.",
    ),
    click.option(
        "--last",
        type=click.Choice(["drop", "repeat", "zero"]),
        default="drop",
        show_default=True,
        help="What the last frame gets: N frames have N-1 flows.",
    ),
)

output_options = grouped(
    "output",
    OutputOptions,
    click.option(
        "-o", "--out", "targets", multiple=True, metavar="OUT", help="Where to write; may be repeated. See below."
    ),
    click.option(
        "--as",
        "kinds",
        type=Value("kind", parse_as),
        multiple=True,
        metavar="KIND",
        help="What to write there; one per --out, in order. See below.",
    ),
    click.option(
        "--max-flow",
        type=Value("pixels", parse_max_flow),
        default="auto",
        show_default=True,
        metavar="PX|auto",
        help="Speed at which colours are full; auto follows the video without flicker.",
    ),
    click.option("--legend", is_flag=True, help="Draw the colour wheel with its scale."),
    click.option(
        "--holes",
        type=click.Choice(["black", "keep", "transparent"]),
        default="black",
        show_default=True,
        help="Pixels of a warped frame that nothing is known of.",
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
