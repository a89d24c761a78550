"""`flowcli stats`: the motion in a video as numbers."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from flowcli.api import EngineOptions, SourceOptions, find_weights, open_input, open_run
from flowcli.cli.columns import print_columns
from flowcli.cli.help import HelpedCommand
from flowcli.cli.options import TalkOptions, flow_options, grouped, source_options, talk_options, targets_option
from flowcli.cli.progress import track
from flowcli.cli.streams import echo
from flowcli.cli.writing import described_run, needs_reader
from flowcli.motion.tables import KINDS, Table, open_tables, plan
from flowcli.types import StreamInfo, drain

if TYPE_CHECKING:
    from flowcli.api import Run
    from flowcli.motion.stats import Summary

LISTED = 10
"""Most cuts, and most duplicates, whose frames are listed."""


@click.command("stats", cls=HelpedCommand)
@source_options
@targets_option
@click.option(
    "--as", "kinds", type=click.Choice(KINDS), multiple=True, help="Kind of file; one per --out.  [default: its suffix]"
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--cuts", is_flag=True, help="Keep shots apart: no flow is estimated across a cut.")
@grouped(
    "engine",
    EngineOptions,
    *flow_options,
    click.option(
        "--both",
        "direction",
        flag_value="both",
        default=EngineOptions.direction,
        help="Estimate flow both ways, for fb_error and occluded; takes about twice as long.",
    ),
)
@talk_options
def command(
    source: SourceOptions,
    targets: tuple[str, ...],
    kinds: tuple[str, ...],
    overwrite: bool,
    cuts: bool,
    engine: EngineOptions,
    talk: TalkOptions,
) -> None:
    """Measure the motion: speed, direction, camera, objects, cuts and duplicate frames.

    INPUT and SECOND are as for `flowcli estimate`. A summary is printed; OUT gets a row for each frame, with the motion
    from the frame before to it.

    \b
    OUT                            is
      rows.csv .json .jsonl .parquet rows (Parquet: pip install 'flowcli[parquet]')
      motion.png .svg                a plot over time (pip install 'flowcli[plot]')
      -                              rows on stdout, as csv or --as jsonl

    \b
    frame time                     number and seconds, as in the source
    cut cut_score                  true above a score of 0.5: a shot begins here
    duplicate                      1: repeats the frame before, 0: changes as usual
    speed_mean _median _p95 _max   pixels per frame
    direction                      of the mean motion: degrees, 0 right, 90 down
    coherence                      1: everything moves that way, 0: no direction prevails
    moving_area                    share of pixels faster than 0.5 pixels per frame
    pan tilt                       camera: shift of the picture's centre, pixels right and down
    zoom roll                      camera: factor of enlargement; degrees of rotation, clockwise
    object_speed object_area       mean speed without the camera's; share of pixels that move on their own
    fb_error occluded              with --both: forward-backward error in pixels; share of occluded pixels

    Signs describe the picture: a camera that turns right has a negative pan. Empty means unknown: the first frame has
    no motion and, with --cuts, neither has the first frame of each shot.

    \b
    flowcli stats in.mp4
    flowcli stats in.mp4 --cuts -o motion.csv -o motion.svg
    flowcli stats in.mp4 -o - --as jsonl -q | grep '"cut": true'
    """
    inputs = [name for name in (source.input, source.second) if name is not None]
    tables = plan(targets, kinds, overwrite=overwrite, inputs=inputs)
    entry = find_weights(engine)

    from flowcli.motion.stats import Meter, Row, Summary

    began = time.perf_counter()
    meter, summary = Meter(cuts), Summary()
    with open_input(source) as frames, open_run(meter.watch(frames), source.input, entry, engine) as run:
        info = frames.info
        rows = track(summary.over(meter.rows(run.pairs)), info.frames, "frame", show=not talk.quiet)
        with needs_reader(table.path for table in tables):
            drain(rows, open_tables(tables, Row, overwrite, sys.stdout))
    seconds = time.perf_counter() - began
    to_stderr = any(table.path is None for table in tables)
    if talk.json:
        described = _described(run, info, summary, tables) | described_run(run, info, seconds, frames.damage)
        echo(json.dumps(described), err=to_stderr)
    elif not talk.quiet:
        _tell(source.input, info, summary, to_stderr)
        if summary.cuts and not cuts:
            echo("note: cuts were measured as motion: --cuts leaves them out", err=True)


def _described(run: Run, info: StreamInfo, summary: Summary, tables: list[Table]) -> dict[str, Any]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 6)

    return {
        "frames": summary.frames,
        "measured": summary.measured,
        "cuts": summary.cuts,
        "duplicates": summary.duplicates,
        "direction": rounded(summary.direction),
        "coherence": rounded(summary.coherence),
        "columns": {
            name: {"mean": rounded(each.mean), "least": each.least, "most": each.most, "at": each.at}
            for name, each in summary.ranges.items()
        },
        "outputs": [{"out": str(table.path or "-"), "kind": table.kind} for table in tables],
    }


def _tell(name: str, info: StreamInfo, summary: Summary, err: bool) -> None:
    size = f"{info.width}x{info.height}"
    echo(f"{name}: {summary.frames} frames of {size}, {summary.measured} of them with motion", err=err)
    for what, found in (("cuts", summary.cuts), ("duplicates", summary.duplicates)):
        places = ", ".join(map(str, found[:LISTED])) + ", ..." * (len(found) > LISTED)
        echo(f"{what}: {len(found)}" + (f", at {places}" if found else ""), err=err)
    if summary.direction is not None:
        direction = f"{summary.direction:.0f} degrees (0 right, 90 down), coherence {summary.coherence:.2f}"
        echo(f"direction: {direction}", err=err)
    rows = []
    for column, each in summary.ranges.items():
        digits = 4 if column == "zoom" else 3
        numbers = (f"{value:.{digits}f}" for value in (each.mean, each.least, each.most))
        rows.append((column, *numbers, str(each.at)))
    print_columns(("column", "mean", "least", "most", "at frame"), rows, left=1, err=err)
