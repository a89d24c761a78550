"""`flowcli batch`: flow of many videos."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from flowcli.batch.items import find_items
from flowcli.batch.plan import TEMPLATE, Made, plan_items
from flowcli.batch.run import Crew, run_batch
from flowcli.batch.work import Task, task_weights
from flowcli.carry.naming import carried_kind
from flowcli.carry.run import CarryOptions
from flowcli.cli.board import board
from flowcli.cli.columns import print_columns
from flowcli.cli.fetching import fetch_option
from flowcli.cli.grouping import grouped, value
from flowcli.cli.help import HelpedCommand
from flowcli.cli.options import (
    TalkOptions,
    carrying_flags,
    engine_options,
    making_flags,
    selection_options,
    talk_options,
)
from flowcli.cli.outputs import writing_options
from flowcli.cli.presets import preset_option
from flowcli.cli.streams import echo
from flowcli.cli.values import Value, parse_as, parse_new_rate
from flowcli.errors import BatchError, InputError, UsageError
from flowcli.interpolation.options import Duplicates, InterpolationOptions, Multiple
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.kinds import KINDS
from flowcli.output.options import OutputOptions

if TYPE_CHECKING:
    from flowcli.batch.manifest import Record
    from flowcli.batch.standing import Outcome
    from flowcli.cli.board import Board


_USUAL: dict[Made, str] = {"flow": "color", "frames": "mp4", "masks": "masks"}
"""What is written if --as does not say it."""


@dataclass(frozen=True)
class BatchOptions:
    """The inputs and outputs of a batch, and the workers."""

    inputs: tuple[str, ...]
    out: Path
    name: str = TEMPLATE
    root: Path | None = None
    workers: int | None = None
    share: tuple[int, int] | None = None
    retry: bool = False
    interpolate: Fraction | Multiple | None = None
    """Frame rate of the frames that are made instead of flow."""
    slow: Fraction | None = None
    size: tuple[int, int] | Multiple | None = None
    ray: str | None = None
    """Address of a Ray cluster, "auto" for the one that this machine belongs to."""

    def making(self, engine: EngineOptions) -> InterpolationOptions | None:
        """The frames that are made instead of flow. Raises UsageError for options that have nothing to do with it."""
        if self.interpolate is not None:
            if engine.duplicates == "zero":
                raise UsageError("--duplicates zero is for flow: made frames have none", "leave it out")
            duplicates: Duplicates = "skip" if engine.duplicates == "skip" else "keep"
            return InterpolationOptions(self.interpolate, self.slow, None, self.size, None, duplicates, engine.model)
        if (self.slow, self.size) != (None, None):
            raise UsageError("--slow and --size are for made frames", "add --interpolate x2, or x1")
        return None


def parse_share(text: str) -> tuple[int, int]:
    """(i, n) of `i/n`. Raises ValueError."""
    if match := re.fullmatch(r"([0-9]+)/([0-9]+)", text):
        part, parts = int(match[1]), int(match[2])
        if 1 <= part <= parts:
            return part, parts
    raise ValueError("a part of the batch (1/8, 2/8 ... 8/8)")


def _parse_word(text: str) -> str:
    """The word of an `--as`, for flow, frames or masks, checked. Raises UsageError."""
    if text.partition(".")[0] in ("masks", "alpha"):
        carried_kind(text)
        return text
    return parse_as(text)


batch_options = grouped(
    "options",
    BatchOptions,
    click.argument("inputs", nargs=-1, required=True, metavar="INPUT..."),
    click.option(
        "-o", "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder for all outputs."
    ),
    click.option(
        "--name",
        default=TEMPLATE,
        show_default=True,
        metavar="TEMPLATE",
        help="Names of the outputs in DIR, without suffix; may contain {folder} {stem} {name} {what} {format}.",
    ),
    click.option(
        "--root",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Name items by their paths below FOLDER, not below INPUT.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="How many items are processed at a time.  [default: one per GPU, or one; with --ray, one per GPU or CPU]",
    ),
    click.option(
        "--shard",
        "share",
        type=Value(parse_share),
        metavar="I/N",
        help="Process part I of N; other parts can run at the same time with the same DIR.",
    ),
    click.option("--retry", is_flag=True, help="Retry items that failed in an earlier run."),
    value(
        "--interpolate",
        parse_new_rate,
        "RATE|xN",
        "Make frames between frames instead of flow, at this rate; NAME can then also be blend, nearest or videoinr.",
    ),
    *making_flags,
    click.option(
        "--ray",
        is_flag=False,
        flag_value="auto",
        metavar="[ADDRESS]",
        help="Run on a Ray cluster; without ADDRESS, on the cluster that this machine belongs to.",
    ),
)


@click.command("batch", cls=HelpedCommand, rare=("root", "slow", "size", "content", "keys", "ahead", "refine_edges"))
@batch_options
@selection_options
@grouped(
    "output",
    OutputOptions,
    click.option(
        "--as",
        "kinds",
        type=Value(_parse_word, KINDS),
        multiple=True,
        metavar="KIND",
        help="What to write for each item; may be repeated.  [default: color, mp4 or masks]",
    ),
    *writing_options,
)
@grouped(
    "carrying",
    CarryOptions,
    click.option(
        "--masks",
        default=CarryOptions.masks,
        type=click.Path(),
        metavar="FOLDER",
        help="Carry masks along the flow instead of writing it: FOLDER/a/clip/ or FOLDER/a/clip.png for a/clip.mp4.",
    ),
    *carrying_flags,
)
@preset_option
@engine_options
@fetch_option
@talk_options
def command(
    options: BatchOptions,
    source: SourceOptions,
    output: OutputOptions,
    carrying: CarryOptions,
    engine: EngineOptions,
    talk: TalkOptions,
) -> None:
    """Estimate the optical flow of many videos, make frames between their frames, or carry masks; runs can be resumed.

    INPUT is a video, a folder of frames, a folder to search for both at any depth, a quoted glob, a text file with one
    of these per line (names.txt), or - for such a list on stdin.

    \b
    KIND is as for `flowcli estimate`:
      color trails warp.webm    a video for each item: DIR/a/clip.mp4 for a/clip.mkv
      flow png warp.png ...     a folder of files for each item: DIR/a/clip/000000.flo
      tsn rgb                   for two-stream networks: flow_x_00001.jpg and so on, img_00001.jpg
      stats                     a table for each item, as from flowcli stats: DIR/a/clip.csv

    \b
    With --interpolate, as for `flowcli interpolate`:
      mp4 mkv mov webm gif      a video for each item
      png jpg tif               a folder of pictures for each item

    \b
    With --masks, as for `flowcli propagate`; videos without masks are skipped:
      masks                     a folder of PNG files for each item; also masks.mp4
      overlay alpha confidence  a video for each item; also overlay.png

    In TEMPLATE, {folder}, {stem} and {name} (with suffix) stand for the item, {what} and {format} for the output.

    DIR/manifest.jsonl records each item, its outputs and their options, and what was left out. Run the same command
    again to resume, or add kinds: finished outputs stay unchanged. They are made again where the input has changed, and
    with -y where options or the model have changed. --retry tries failed items again. Videos of one frame are skipped.

    \b
    Examples:
    flowcli batch clips/ --out flow/ --as color --as flo
    find /data -name '*.mkv' | flowcli batch - --root /data --out flow/ --as flow.png
    flowcli batch clips/ --out smooth/ --interpolate x2
    flowcli batch clips/ --out all/ --masks keys/ --as masks --as overlay
    flowcli batch clips/ --out flow/ --shard $SLURM_ARRAY_TASK_ID/8
    flowcli batch clips/ --out flow/ --ray=head:6379

    --json prints one object per item. Exit codes: 0 done, 1 error, 2 usage, 3 some items failed, 130 interrupted.
    """
    found = find_items(options.inputs, options.out, options.root)
    items = found.items
    if options.share is not None:
        part, parts = options.share
        items = items[part - 1 :: parts]
    out = Path(os.path.abspath(options.out))
    making = options.making(engine)
    if making is not None and output.fps is not None:
        raise UsageError("--fps and --interpolate contradict each other", "give the rate to --interpolate alone")
    if making is not None and engine.cuts == "off":
        raise UsageError("--cuts off is for flow: made frames never mix two shots", "leave it out")
    made = _made(making, carrying)
    if made != "flow":
        engine = dataclasses.replace(engine, duplicates=EngineOptions.duplicates)
    output = dataclasses.replace(output, kinds=output.kinds or (_USUAL[made],))
    plans = plan_items(items, out, output, engine.direction, options.name, made)
    task = Task(source, engine, output, task_weights(engine, making), making, carrying if made == "masks" else None)
    unit = "flows" if made == "flow" else "frames"
    failed: list[Record] = []
    barren: list[Record] = []
    stdout = sys.stdout
    with board(len(plans), show=not (talk.quiet or talk.json)) as seen:
        crew = _crew(task, options, seen)
        running = run_batch(plans, out, task, crew, share=options.share, retry=options.retry, left_out=found.left_out)
        with closing(running) as outcomes:
            for outcome in outcomes:
                seen.finish(outcome)
                if outcome.status == "failed":
                    failed.append(outcome.record)
                elif outcome.record.status == "skipped":
                    barren.append(outcome.record)
                _tell(outcome, talk, stdout, unit)
    if not talk.quiet:
        echo(f"{_items(len(plans))}: {_summary(seen, unit)}", err=True)
        _tell_reasons("left out", [(each.reason, str(each.path)) for each in found.left_out], talk.verbose)
        # The error names the input.
        reasons = [(each.error.removesuffix(f" in {each.input}"), each.item) for each in barren]
        _tell_reasons("skipped", reasons, talk.verbose)
        if failed:
            print_columns(("failed", "error"), [(each.item, each.error) for each in failed], left=2, err=True)
    if failed:
        raise BatchError(f"{len(failed)} of {_items(len(plans))} failed", "the same command with --retry tries again")


def _made(making: InterpolationOptions | None, carrying: CarryOptions) -> Made:
    """What the batch makes. Raises UsageError for what does not go together, InputError without a folder of masks."""
    if not carrying.masks:
        if carrying != CarryOptions():
            raise UsageError("--content, --keys, --ahead and --refine-edges are for masks", "add --masks FOLDER")
        return "flow" if making is None else "frames"
    if making is not None:
        raise UsageError("--masks and --interpolate contradict each other", "leave one out")
    if not Path(carrying.masks).is_dir():
        raise InputError(f"no such folder of masks: {carrying.masks}", "it holds a folder, or a .png, for each video")
    return "masks"


def _crew(task: Task, options: BatchOptions, seen: Board) -> Crew:
    if options.ray is None:
        from flowcli.batch.local import local_crew

        return partial(local_crew, task=task, count=options.workers, report=seen.report)
    from flowcli.batch.cluster import ray_crew

    return partial(ray_crew, task=task, count=options.workers, address=options.ray)


def _tell(outcome: Outcome, talk: TalkOptions, stdout: TextIO, unit: str) -> None:
    record = outcome.record
    if talk.json:
        echo(json.dumps({**record.as_dict(), "status": outcome.status}), file=stdout)
    if talk.verbose:
        what = record.error or record.damaged or f"{record.flows} {unit}, {record.seconds:.1f} s"
        echo(f"{outcome.status} {record.item}: {what}", err=True)


def _tell_reasons(what: str, found: Sequence[tuple[str, str]], all_of_them: bool) -> None:
    """A line for each reason, with the first that it holds for, or with all of them."""
    reasons: dict[str, list[str]] = {}
    for reason, name in found:
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        most = len(names) if all_of_them else 1
        more = f" and {len(names) - most} more" if len(names) > most else ""
        echo(f"{what}, {reason}: {', '.join(names[:most])}{more}", err=True)


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count} items"


def _summary(seen: Board, unit: str) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in seen.counts.items() if count) or "nothing to do"
    if not seen.flows:
        return counts
    cuts = f"; cuts: {seen.cuts}, across which no flow leads" if seen.cuts else ""
    duplicates = f"; duplicates: {seen.duplicates}" if seen.duplicates else ""
    rate = f"{seen.flows / seen.seconds:.1f} per second"
    return f"{counts}; {seen.flows} {unit} in {seen.seconds:.1f} s ({rate}){cuts}{duplicates}"
