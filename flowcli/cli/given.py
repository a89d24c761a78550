"""`flowcli propagate` with points, painted pictures or tensors in the place of masks."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

import click

from flowcli.carry.given import GivenOptions, open_given_run
from flowcli.carry.naming import Target
from flowcli.carry.run import CarryOptions
from flowcli.cli.carried import described_carrying
from flowcli.cli.grouping import grouped
from flowcli.cli.options import TalkOptions
from flowcli.cli.progress import counted
from flowcli.cli.streams import echo
from flowcli.cli.writing import told, write_all
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.options import FrameOptions
from flowcli.run import find_weights, open_input
from flowcli.types import open_all

given_options = grouped(
    "given",
    GivenOptions,
    click.option(
        "--points",
        default=GivenOptions.points,
        type=click.Path(),
        metavar="POINTS",
        help="Points of key frames: a .csv or .json file with frame, id, x and y.",
    ),
    click.option(
        "--picture",
        "pictures",
        multiple=True,
        metavar="FRAME=PICTURE",
        help="A frame by name or number, and the picture painted over it; may be repeated.",
    ),
    click.option(
        "--tensors",
        default=GivenOptions.tensors,
        type=click.Path(),
        metavar="TENSORS",
        help="Arrays of key frames: a folder of .npz files.",
    ),
)


def carry_given(
    source: SourceOptions,
    output: FrameOptions,
    targets: Sequence[Target],
    carrying: CarryOptions,
    given: GivenOptions,
    engine: EngineOptions,
    talk: TalkOptions,
) -> None:
    """Carries what is given of key frames to all frames, and writes it."""
    entry = find_weights(engine)
    began = time.perf_counter()
    with (
        open_input(source) as frames,
        open_given_run(frames, source, given, entry, engine, carrying) as run,
    ):
        info = frames.info
        writers = open_all(targets, lambda each: run.open_target(each, info, output, sys.stdout))
        count = write_all(run.frames, writers, info.frames, "frame", show=not talk.quiet)
    seconds = time.perf_counter() - began
    if talk.json:
        summary = described_carrying(run, count, info, seconds, frames.damage, targets, writers)
        echo(json.dumps(summary), err=any(each.output.path is None for each in targets))
    elif not talk.quiet:
        echo(told(writers, count, "frame", info, seconds), err=True)
        if run.tally.empty:
            echo(
                f"note: nothing reaches {counted(run.tally.empty, 'frame')}: give something for each shot, "
                "or more --ahead",
                err=True,
            )
