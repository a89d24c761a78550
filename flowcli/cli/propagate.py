"""`flowcli propagate`: what is known of some frames, or what a network says, carried along the flow to all frames."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowcli.carry.given import GivenOptions
from flowcli.carry.naming import MASKS, parse_words, plan_carried
from flowcli.carry.networks import NetOptions
from flowcli.carry.run import CarryOptions, open_masks
from flowcli.cli.carried import described_carrying
from flowcli.cli.fetching import fetch_option
from flowcli.cli.given import carry_given, given_options
from flowcli.cli.grouping import grouped
from flowcli.cli.help import HelpedCommand
from flowcli.cli.networks import carry_network, net_options, show_splits
from flowcli.cli.options import TalkOptions, carrying_flags, flow_options, talk_options, whole_source_options
from flowcli.cli.outputs import frame_options, keep_option, targets_option
from flowcli.cli.progress import counted
from flowcli.cli.streams import echo
from flowcli.cli.values import Value
from flowcli.cli.writing import check_stdout, told, write_all
from flowcli.errors import UsageError
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.options import FrameOptions
from flowcli.run import find_weights, open_input
from flowcli.types import open_all

if TYPE_CHECKING:
    from flowcli.carry.report import Tally


def _parse_as(text: str) -> str:
    parse_words(text)
    return text


@click.command(
    "propagate",
    cls=HelpedCommand,
    rare=("content", "keys", "ahead", "check", "split", "net_input", "compare", "suggest", "refine_edges"),
)
@whole_source_options
@grouped(
    "output",
    FrameOptions,
    targets_option,
    click.option(
        "--as",
        "kinds",
        type=Value(_parse_as),
        multiple=True,
        metavar="KIND",
        help="What to write; once per --out, in the same order.",
    ),
    *frame_options,
    keep_option,
)
@grouped(
    "carrying",
    CarryOptions,
    click.option(
        "--masks",
        default=CarryOptions.masks,
        type=click.Path(),
        metavar="MASKS",
        help="Masks of key frames: a folder of PNG files, or one for the first frame.",
    ),
    *carrying_flags,
    click.option(
        "--check",
        is_flag=True,
        help="Use flow in both directions even where one would do, and ignore what they disagree on.",
    ),
    click.option(
        "--suggest",
        type=click.IntRange(min=0),
        default=CarryOptions.suggest,
        metavar="N",
        help="Suggest N frames to paint next, starting with the one that helps most.",
    ),
)
@given_options
@net_options
@grouped("engine", EngineOptions, *flow_options)
@fetch_option
@talk_options
def command(
    source: SourceOptions,
    output: FrameOptions,
    carrying: CarryOptions,
    given: GivenOptions,
    network: NetOptions,
    engine: EngineOptions,
    talk: TalkOptions,
) -> None:
    """Carry masks, points, paint or the output of a network from some frames to all others, along the flow.

    INPUT is a video, a folder or a quoted glob of pictures, or - for stdin. MASKS are PNG files that are named like the
    frames, or numbered from 0: label maps (with a palette, in grey of 8 or 16 bits, in up to 256 colours, or in black
    and white) or soft mattes in grey. Labels are never mixed, and the given masks are passed on unchanged. Nothing is
    carried across a cut: frames that no mask reaches get an empty mask.

    \b
    OUT                              is
      masks/                         a folder of PNG files, stored like the given ones
      masks/    with --as npz        a folder of arrays: labels, or mask from 0 to 1
      masks.mp4 .mkv .mov .webm      a video of the masks in colours; soft ones in grey
      out.mp4   with --as overlay    a video of the frames with the masks over them
      out.webm  with --as alpha      the frames cut out by the masks: .webm, .mov, or a folder of .png
      sure.mp4  with --as confidence how certain the masks are, in grey
      -                              the masks in colours on stdout, as y4m

    NET runs on every Nth frame only. Its output can be scores of classes or a soft mask, which are written like
    masks; a picture; or any tensors, for --as npz.

    POINTS is a table with the columns frame, id, x and y; x and y are in pixels, and (0, 0) is the centre of the first
    pixel. Points are written as tracks (.csv .json .jsonl), or drawn as trails over the frames. PICTURE, which may have
    alpha, is painted over its frame and carried over the video; --as layer writes it alone. TENSORS are .npz files that
    are named like the frames.

    KIND is masks, overlay, alpha or confidence; tracks or trails; composite or layer; tensors; or a format; or both, as
    in overlay.png.

    \b
    flowcli propagate in.mp4 --masks first.png --out masks/
    flowcli propagate in.mp4 --masks keys/ --out over.mp4 --as overlay --suggest 3
    flowcli propagate frames/ --masks keys/ --out cut.webm --as alpha
    flowcli propagate in.mp4 --points points.csv --out tracks.csv --out trails.mp4
    flowcli propagate in.mp4 --picture 120=painted.png --out painted.mp4
    flowcli propagate in.mp4 --tensors features/ --out all/
    flowcli propagate in.mp4 --net deeplab.onnx --net-input imagenet --every 10 --out labels/
    flowcli propagate --net deeplab.onnx --show-splits

    Exit codes: 0 done (also when the reader of stdout goes away), 1 error, 2 usage, 130 interrupted.
    """
    if network.show_splits:
        show_splits(network, talk)
        return
    _check(source, carrying, given, network)
    check_stdout(output)
    place = Path(source.input) if source.input != "-" else None
    whats = given.whats if given != GivenOptions() else MASKS
    targets = plan_carried(output, whats, source=place if place and place.exists() else None)
    if given != GivenOptions():
        carry_given(source, output, targets, carrying, given, engine, talk)
        return
    if network.net is not None:
        carry_network(source, output, targets, carrying, network, engine, talk)
        return
    entry = find_weights(engine)

    from flowcli.carry.keys import find_masks
    from flowcli.carry.outputs import open_target
    from flowcli.carry.suggest import Doubts

    doubts = Doubts()
    masks = find_masks(carrying.masks)
    began = time.perf_counter()
    with open_input(source) as frames, open_masks(frames, source, masks, entry, engine, carrying) as run:
        info = frames.info
        writers = open_all(
            targets, lambda each: open_target(each, info, output, sys.stdout.buffer, masks.form, run.content)
        )
        carried = doubts.noted(run.frames) if carrying.suggest else run.frames
        count = write_all(carried, writers, info.frames, "frame", show=not talk.quiet)
    suggested = doubts.suggest(carrying.suggest)
    seconds = time.perf_counter() - began
    if talk.json:
        summary = {
            **described_carrying(run, count, info, seconds, frames.damage, targets, writers),
            "suggested": [{"frame": each.index, "name": each.name, "gain": round(each.gain, 4)} for each in suggested],
        }
        echo(json.dumps(summary), err=any(each.output.path is None for each in targets))
    elif not talk.quiet:
        echo(told(writers, count, "frame", info, seconds), err=True)
        _tell(run.tally)
        for each in suggested:
            echo(f"paint next: {each.name}.png, confidence +{each.gain:.1%}", err=True)


def _check(source: SourceOptions, carrying: CarryOptions, given: GivenOptions, network: NetOptions) -> None:
    """Raises UsageError if something is missing, or does not go together."""
    if not source.input:
        raise UsageError("no input", "flowcli propagate INPUT --masks MASKS --out OUT; see --help")
    said = {
        "--masks": carrying.masks,
        "--points": given.points,
        "--picture": given.pictures,
        "--tensors": given.tensors,
        "--net": network.net,
    }
    named = [option for option, value in said.items() if value]
    if len(named) != 1:
        what = f"{' and '.join(named)} contradict each other" if named else "nothing to carry"
        raise UsageError(what, f"give one of {' '.join(said)}")
    if carrying.content != CarryOptions.content and not carrying.masks:
        raise UsageError("--content is for --masks", "leave it out")
    if not carrying.masks and (carrying.suggest or carrying.refine_edges):
        raise UsageError("--suggest and --refine-edges are for --masks", "leave them out")
    if network.net is None and network != NetOptions():
        raise UsageError("--split, --every, --net-input and --compare are for --net", "leave them out")


def _tell(tally: Tally) -> None:
    if tally.empty:
        echo(
            f"note: no mask reaches {counted(tally.empty, 'frame')}: give a mask for each shot, or more --ahead",
            err=True,
        )
