"""Options of what is written, how it is drawn and how it is stored."""

from __future__ import annotations

from typing import get_args

import click

from flowcli.cli.grouping import choice, grouped, value
from flowcli.cli.values import (
    Value,
    parse_as,
    parse_dim,
    parse_floor,
    parse_max_flow,
    parse_percentile,
    parse_pixels,
    parse_rate,
)
from flowcli.cli.words import Choice
from flowcli.output.kinds import KINDS, STYLES
from flowcli.output.options import OutputOptions
from flowcli.types import Holes, Layout

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
    help="After Ctrl-C, keep what is finished: complete files with a part of the result; a second Ctrl-C keeps "
    "nothing.",
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
        type=Value(parse_as, KINDS),
        multiple=True,
        metavar="KIND",
        help="What to write; once per --out, in the same order.",
    ),
    click.option(
        "--occlusion",
        type=click.Path(),
        multiple=True,
        metavar="OUT",
        help="Write occlusion masks, like --out OUT --as occlusion: white marks what the next frame hides or does not "
        "contain.",
    ),
    click.option(
        "--confidence",
        type=click.Path(),
        multiple=True,
        metavar="OUT",
        help="Write how well forward and backward flow agree: from black (they disagree) to white (they agree).",
    ),
)

_drawing_options = (
    value(
        "--max-flow",
        parse_max_flow,
        "PX|auto|clip",
        "Speed that is drawn in full colour; auto follows the video without flicker and looks one second ahead; clip "
        "uses one scale for the whole clip, which is read twice.",
        "auto",
    ),
    value(
        "--percentile", parse_percentile, "P", "Percentile of the speeds that --max-flow auto follows.  [default: 99]"
    ),
    value(
        "--floor",
        parse_floor,
        "PX|auto",
        "Speed below which drawings fade; auto follows the noise of the frames (about 0.3 px at a width of 640); 0 "
        "fades nothing. Files of flow are never faded.",
        "auto",
    ),
    click.option(
        "--style",
        type=Choice(STYLES),
        metavar="STYLE",
        help=f"How flow is drawn, also in --as side-by-side: {', '.join(STYLES)}.  [default: wheel]",
    ),
    value(
        "--dim",
        parse_dim,
        "0...1",
        "How much the frame is darkened under arrows, trails and an overlay.",
        str(OutputOptions.dim),
    ),
    click.option("--legend", is_flag=True, help="Draw a legend on drawn flow: what the colours mean, and their scale."),
)

encoding_flags = (
    click.option(
        "--crf",
        type=click.IntRange(0, 63),
        metavar="N",
        help="Quality of written videos: lower numbers look better and make larger files.",
    ),
    click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist."),
)

frame_options = (
    value(
        "--fps", parse_rate, "RATE", "Write videos at this constant frame rate; otherwise frames keep their own times."
    ),
    *encoding_flags,
)
"""How frames are stored."""

_storing_options = (
    value(
        "--bound",
        parse_pixels,
        "PX",
        "Clip flow at this speed in tsn, i3d and .mkv files of flow.  [default: 20, .mkv 512]",
    ),
    choice(
        "--exr", get_args(Layout), "Program for which .exr files are meant; it decides the names and signs of channels."
    ),
    *frame_options,
)

writing_options = (
    *_drawing_options,
    choice("--holes", get_args(Holes), "How to fill parts of a warped frame that the other frame does not show."),
    *_storing_options,
)
"""For commands with their own options for the names of outputs."""

whole_output_options = grouped("output", OutputOptions, *_naming_options, *writing_options)
"""For commands that write all or nothing."""

output_options = grouped("output", OutputOptions, *_naming_options, *writing_options, keep_option)
