"""`flowcli stats`: the motion in a video as numbers."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from flowcli.cli.columns import print_columns
from flowcli.cli.fetching import fetch_option
from flowcli.cli.grouping import grouped
from flowcli.cli.help import HelpedCommand
from flowcli.cli.inputs import as_sources
from flowcli.cli.options import TalkOptions, cuts_option, flow_options, selection_options, talk_options
from flowcli.cli.outputs import targets_option
from flowcli.cli.progress import track
from flowcli.cli.streams import echo
from flowcli.cli.words import Choice
from flowcli.cli.writing import described_run, needs_reader, told_places
from flowcli.errors import UsageError
from flowcli.inputs import find_input
from flowcli.motion.tables import KINDS, PLOTS, Table, open_tables, plan, plan_scenes
from flowcli.options import EngineOptions, SourceOptions
from flowcli.run import find_weights, open_input, open_run
from flowcli.types import StreamInfo, drain

if TYPE_CHECKING:
    from flowcli.engine.engine import Engine
    from flowcli.motion.scenes import SceneList
    from flowcli.motion.stats import Row, Summary
    from flowcli.weights.entries import Entry


@click.command("stats", cls=HelpedCommand)
@click.argument("inputs", nargs=-1, required=True, type=click.Path(), metavar="INPUT...")
@selection_options
@targets_option
@click.option(
    "--as", "kinds", type=Choice(KINDS), multiple=True, help="Format; once per --out.  [default: from its suffix]"
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option(
    "--scenes",
    type=click.Path(),
    metavar="OUT",
    help="Write the list of shots, with frames and seconds: .csv .json .jsonl .parquet, or .edl for editing programs.",
)
@grouped(
    "engine",
    EngineOptions,
    *flow_options,
    cuts_option,
    click.option(
        "--both",
        "direction",
        flag_value="both",
        default=EngineOptions.direction,
        help="Estimate flow in both directions, for fb_error and occluded; this takes about twice as long.",
    ),
)
@fetch_option
@talk_options
def command(
    inputs: tuple[str, ...],
    source: SourceOptions,
    targets: tuple[str, ...],
    kinds: tuple[str, ...],
    overwrite: bool,
    scenes: str | None,
    engine: EngineOptions,
    talk: TalkOptions,
) -> None:
    """Measure the motion: speed, direction, camera, objects, cuts and duplicate frames.

    INPUT is a video, a folder of pictures, a quoted glob, or - for a video on stdin; two pictures are one pair. A
    summary is printed; OUT gets a row for each frame, with the motion since the frame before. With several inputs, a
    further column `input` has their names.

    \b
    OUT                            is
      rows.csv .json .jsonl .parquet rows (Parquet: pip install 'flowcli[parquet]')
      motion.png .svg                a plot over time (pip install 'flowcli[plot]')
      -                              rows on stdout, as csv or --as jsonl

    \b
    frame time                     number and seconds in the source
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

    Signs describe the picture: a camera that turns right has a negative pan. Empty means unknown: the first frame of
    each shot has no motion.

    \b
    flowcli stats in.mp4
    flowcli stats in.mp4 -o motion.csv -o motion.svg --scenes scenes.edl
    flowcli stats in.mp4 -o - --as jsonl -q | grep '"cut": true'
    """
    sources = as_sources(inputs, source)
    several = len(sources) > 1
    tables = plan(targets, kinds, overwrite=overwrite, inputs=inputs)
    scene_list = None if scenes is None else plan_scenes(scenes, tables, overwrite=overwrite, inputs=inputs)
    if several:
        _check_several(tables if scene_list is None else [*tables, scene_list])
    for each in sources:
        find_input(each.input)
    measuring = _Measuring(engine, find_weights(engine), talk, tables)

    from flowcli.motion.stats import NamedRow, Row

    found = (row for each in sources for row in measuring.rows(each))
    rows = (NamedRow(**vars(row), input=measuring.name) for row in found) if several else found
    with needs_reader(table.path for table in tables):
        drain(rows, open_tables(tables, NamedRow if several else Row, overwrite, sys.stdout))
    if scene_list is not None:
        from flowcli.motion.scenes import write_scenes

        write_scenes(scene_list, measuring.shots, overwrite=overwrite)


def _check_several(tables: Sequence[Table]) -> None:
    """Raises UsageError for an output that can only be of one input."""
    for table in tables:
        if table.kind in (*PLOTS, "edl"):
            what = "a plot" if table.kind in PLOTS else "a cut list"
            raise UsageError(f"{what} is of a single input: {table.path}", "give one input, or .csv for all of them")


class _Measuring:
    """Measures one input after the other, with one engine, and says what it found of each."""

    def __init__(self, options: EngineOptions, entry: Entry, talk: TalkOptions, tables: Sequence[Table]) -> None:
        self._keep_apart = options.cuts == "auto"
        # The meter, which measures scores too, finds them for the engine.
        self._options = replace(options, cuts="off", duplicates="keep")
        self._entry, self._talk, self._tables = entry, talk, tables
        self._engine: Engine | None = None
        self.shots: list[SceneList] = []
        """Those of each input so far."""
        self.name = ""
        """The input that rows come from."""

    def rows(self, source: SourceOptions) -> Iterator[Row]:
        """The rows of one input; what was found is printed after the last one."""
        from flowcli.motion.scenes import SceneList
        from flowcli.motion.stats import Meter, Summary

        self.name = source.input
        began = time.perf_counter()
        meter, summary = Meter(self._keep_apart), Summary()
        with (
            open_input(source) as frames,
            open_run(meter.watch(frames), source.input, self._entry, self._options, self._engine) as run,
        ):
            self._engine, info = run.engine, frames.info
            self.shots.append(SceneList(source.input, info.rate))
            rows = self.shots[-1].over(summary.over(meter.rows(run.pairs)))
            yield from track(rows, info.frames, "frame", show=not self._talk.quiet)
            seconds = time.perf_counter() - began
            self._say(info, summary, described_run(run, info, seconds, frames.damage))

    def _say(self, info: StreamInfo, summary: Summary, about: dict[str, Any]) -> None:
        to_stderr = any(table.path is None for table in self._tables)
        if self._talk.json:
            echo(json.dumps({"input": self.name, **_described(summary, self._tables), **about}), err=to_stderr)
        elif not self._talk.quiet:
            _tell(self.name, info, summary, to_stderr)
            if summary.cuts and not self._keep_apart:
                echo("note: cuts were measured as motion: without --cuts off they are left out", err=True)


def _described(summary: Summary, tables: Sequence[Table]) -> dict[str, Any]:
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
        echo(told_places(what, found), err=err)
    if summary.direction is not None:
        direction = f"{summary.direction:.0f} degrees (0 right, 90 down), coherence {summary.coherence:.2f}"
        echo(f"direction: {direction}", err=err)
    rows = []
    for column, each in summary.ranges.items():
        digits = 4 if column == "zoom" else 3
        numbers = (f"{value:.{digits}f}" for value in (each.mean, each.least, each.most))
        rows.append((column, *numbers, str(each.at)))
    print_columns(("column", "mean", "least", "most", "at frame"), rows, left=1, err=err)
