"""Options that commands share: each group is a decorator that hands the command one frozen dataclass."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import click

from flowcli.api import EngineOptions, SourceOptions
from flowcli.carry.run import CarryOptions, Sides
from flowcli.cli.values import (
    Value,
    parse_as,
    parse_device,
    parse_dim,
    parse_first_frame,
    parse_floor,
    parse_max_flow,
    parse_percentile,
    parse_pixels,
    parse_rate,
    parse_sides,
    parse_size,
    parse_slow,
    parse_tile,
    parse_time,
)
from flowcli.environment import PIXELS, changed
from flowcli.errors import UsageError
from flowcli.output.kinds import STYLES
from flowcli.output.options import OutputOptions
from flowcli.types import Cuts, Duplicates, Gaps, Holes, Last, Layout, Precision

DEBUG = "flowcli.debug"
"""Key in the context's `meta`, where the error boundary finds it."""

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class TalkOptions:
    """How much the command says, and in what form."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False


def grouped(name: str, kind: type, *options: Decorator) -> Decorator:
    """A decorator that adds `options` and passes their values to the command as one `kind`, the argument `name`.

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


def value(name: str, parse: Callable[[str], Any], metavar: str, help: str, default: str | None = None) -> Decorator:
    """An option whose text `parse` reads; the default, if there is one, is shown."""
    shown = default is not None
    return click.option(name, type=Value(parse), default=default, show_default=shown, metavar=metavar, help=help)


def choice(name: str, words: Sequence[str], help: str) -> Decorator:
    """An option that takes one of `words`, by default the first, which is shown."""
    return click.option(name, type=click.Choice(words), default=words[0], show_default=True, help=help)


def count(name: str, metavar: str, help: str) -> Decorator:
    """An option that takes a whole number above 0; None without it."""
    return click.option(name, type=click.IntRange(min=1), metavar=metavar, help=help)


def _refuse(context: click.Context, parameter: click.Parameter, more: tuple[str, ...]) -> None:
    """Raises UsageError for more than two inputs, as the shell makes them of a pattern."""
    if more:
        raise UsageError(
            f"{len(more) + 2} inputs, but a video, a folder or two pictures are taken",
            "quote patterns, as 'frames/*.png'; flowcli batch takes many videos",
        )


def _allow_pixels(context: click.Context, parameter: click.Parameter, most: int | None) -> None:
    """Sets the limit as long as the command runs; OpenCV looks for it when it is imported."""
    if most is not None:
        context.with_resource(changed({PIXELS: str(most)}))


_every_option = click.option("--every", type=click.IntRange(min=1), default=1, metavar="N", help="Take each Nth frame.")
_bounds_options = (
    value("--start", parse_time, "TIME", "First frame: a number, 2.5s or 00:01:02.5."),
    value("--stop", parse_time, "TIME", "Frame to stop before, written the same way."),
)
_reading_options = (
    click.option("--strict", is_flag=True, help="A damaged input is an error; otherwise what can be read is used."),
    click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        metavar="N",
        expose_value=False,
        callback=_allow_pixels,
        help="Refuse pictures and videos of more pixels.  [default: 178956970]",
    ),
    click.option("--deinterlace", is_flag=True, help="Make whole pictures of the two half ones in each frame."),
    choice(
        "--gaps",
        get_args(Gaps),
        "Where numbers of pictures are missing, or another sequence begins: estimate no flow across, do it, or stop.",
    ),
)
_size_options = (
    value("--sample-fps", parse_rate, "RATE", "Take frames by their times: at most so many per second, none twice."),
    count("--short-side", "PX", "Resize frames first, so that their shorter side is PX; flow has that size too."),
    value("--resize", parse_sides, "WxH", "Resize frames first, to this width and height."),
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
    "Number of a movie's first frame in the names of files, with as many digits: 1001 gives 1001.exr, 1002.exr.",
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
    "--device", parse_device, "auto|cpu|cuda[:N]", "Where the network runs; auto is the GPU if there is one.", "auto"
)
model_option = click.option(
    "-m",
    "--model",
    default=EngineOptions.model,
    show_default=True,
    metavar="NAME|FILE",
    help="A name that `flowcli models` lists, or a file of weights.",
)
refine_option = count("--refine", "N", "Refinements at 1/8 of full size: fewer are faster.  [default: 2]")
precision_option = choice(
    "--precision",
    get_args(Precision),
    "Arithmetic of the network; flow is always float32. int8: on CPUs, for weights made for it.",
)
batch_option = count(
    "--batch",
    "N",
    "Frames per step of the network: several small frames at once are faster; 1 gives each flow as soon as it "
    "is known.  [default: up to 8, by network, size and memory]",
)

network_flags = (
    refine_option,
    device_option,
    precision_option,
    count("--max-side", "PX", "Estimate on smaller pictures; the flow has full size again."),
    value(
        "--tile",
        parse_tile,
        "PX|auto|off",
        "Work on larger frames in tiles of this side: smaller tiles take less memory, and the flow is the same.",
        "auto",
    ),
    click.option(
        "--variational", is_flag=True, help="Refine each flow by OpenCV's variational method: slower, smoother."
    ),
)

network_options = grouped("engine", EngineOptions, *network_flags)
"""For commands that take pairs and have their own options for models."""

cuts_option = choice("--cuts", get_args(Cuts), "Where a shot ends: auto finds cuts, and estimates no flow across them.")
duplicates_option = choice(
    "--duplicates",
    get_args(Duplicates),
    "Frames that repeat the one before, as in animation. hold: pictures have the flow before, files what was measured; "
    "keep: both have what was measured; skip: the frames are left out; zero: their flow is zero.",
)

flow_options = (
    model_option,
    click.option(
        "--weights", metavar="FILE", help="Weights for the network that --model names, as their authors published them."
    ),
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
        help="Flow both ways; outputs NAME_bwd hold the backward flow.",
    ),
)

engine_options = grouped(
    "engine",
    EngineOptions,
    *flow_options,
    *direction_options,
    cuts_option,
    duplicates_option,
    choice("--last", get_args(Last), "What the last frame of each shot gets: N frames have N-1 flows."),
)

KEEP = "keep_partial"
"""Key in the context's `meta`, where `write_all` finds it, and name of the option."""
PARTIAL = "flowcli.partial"
"""Key in the context's `meta` that is there if the command has kept a part of its outputs."""


def _keep(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    context.meta[KEEP] = wanted


keep_option = click.option(
    "--keep-partial",
    KEEP,
    is_flag=True,
    expose_value=False,
    callback=_keep,
    help="After Ctrl-C, keep what is done: whole files that hold a part; a second Ctrl-C keeps nothing.",
)
"""For commands that write with `write_all`."""

targets_option = click.option(
    "-o", "--out", "targets", type=click.Path(), multiple=True, metavar="OUT", help="Where to write; may be repeated."
)

_naming_options = (
    targets_option,
    click.option(
        "--as",
        "kinds",
        type=Value(parse_as),
        multiple=True,
        metavar="KIND",
        help="What to write there; one per --out, in the same order.",
    ),
    click.option(
        "--occlusion",
        type=click.Path(),
        multiple=True,
        metavar="OUT",
        help="Write occlusion masks, as --out OUT --as occlusion: white is hidden in the next frame, or outside it.",
    ),
    click.option(
        "--confidence",
        type=click.Path(),
        multiple=True,
        metavar="OUT",
        help="Write how well forward and backward flow agree, in grey: white is fully, black not at all.",
    ),
)

_drawing_options = (
    value(
        "--max-flow",
        parse_max_flow,
        "PX|auto|clip",
        "Speed at which colours are full; auto follows the video without flicker, and looks a second ahead; clip suits "
        "the whole clip, which is read twice.",
        "auto",
    ),
    value("--percentile", parse_percentile, "P", "Percentile of the speeds that auto follows.  [default: 99]"),
    value(
        "--floor",
        parse_floor,
        "PX|auto",
        "Speed below which what is drawn fades; auto follows the noise of the frames, about 0.3 in frames 640 wide; 0 "
        "draws all. Files of flow are never faded.",
        "auto",
    ),
    click.option(
        "--style",
        type=click.Choice(STYLES),
        metavar="STYLE",
        help=f"How flow is drawn, also in --as side-by-side: {', '.join(STYLES)}.  [default: wheel]",
    ),
    value(
        "--dim",
        parse_dim,
        "0...1",
        "How much frames are darkened below arrows, trails and an overlay.",
        str(OutputOptions.dim),
    ),
    click.option("--legend", is_flag=True, help="Draw a legend on drawn flow: the scale, and what the colours mean."),
)

encoding_flags = (
    click.option(
        "--crf",
        type=click.IntRange(0, 63),
        metavar="N",
        help="Quality of written videos: a lower number is better quality and a larger file.",
    ),
    click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist."),
)

making_flags = (
    value("--slow", parse_slow, "N", "Make it last N times as long."),
    value("--size", parse_size, "WxH|xN", "Size of the output: 1920x1080, x2, 1.5x."),
)
"""Which frames are made, beside their rate."""

carrying_flags = (
    choice("--content", ("auto", "labels", "soft"), "What grey masks hold: numbers of things, or how much of one."),
    choice("--keys", get_args(Sides), "Which key frames around a frame its mask comes from; auto: all there are."),
    click.option(
        "--ahead",
        type=click.IntRange(min=1),
        default=CarryOptions.ahead,
        show_default=True,
        metavar="N",
        help="How many frames wait for the key frame after them; so many are held in memory.",
    ),
    click.option("--refine-edges", is_flag=True, help="Move borders of labels to edges nearby: slower, and sharper."),
)
"""How masks are carried."""

frame_options = (
    value("--fps", parse_rate, "RATE", "Constant frame rate of written videos; otherwise frames keep their own times."),
    *encoding_flags,
)
"""How frames are stored."""

_storing_options = (
    value(
        "--bound",
        parse_pixels,
        "PX",
        "Speed at which flow is clipped in tsn, i3d and .mkv files of flow.  [default: 20, .mkv 512]",
    ),
    choice("--exr", get_args(Layout), "Program whose channel names and signs an .exr follows."),
    *frame_options,
)

writing_options = (
    *_drawing_options,
    choice("--holes", get_args(Holes), "What a warped frame shows where the other frame has nothing to show."),
    *_storing_options,
)
"""For commands with their own options for the names of outputs."""

whole_output_options = grouped("output", OutputOptions, *_naming_options, *writing_options)
"""For commands that write all or nothing."""

output_options = grouped("output", OutputOptions, *_naming_options, *writing_options, keep_option)


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
    click.option("--json", is_flag=True, help="One JSON object on stdout (on stderr if stdout is an output)."),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
    click.option("-v", "--verbose", is_flag=True, help="Say more."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)
