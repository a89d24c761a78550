"""`flowcli view`: frames and flow as one page for a browser."""

from __future__ import annotations

import json
import shutil
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowcli.cli.fetching import fetch_option
from flowcli.cli.grouping import grouped, value
from flowcli.cli.help import HelpedCommand
from flowcli.cli.options import TalkOptions, cuts_option, flow_options, source_options, talk_options
from flowcli.cli.progress import counted, track
from flowcli.cli.streams import echo
from flowcli.cli.values import parse_bytes
from flowcli.errors import UsageError
from flowcli.options import EngineOptions, SourceOptions
from flowcli.run import find_weights, open_engine, open_input, open_run
from flowcli.targets import check_target
from flowcli.types import drain

if TYPE_CHECKING:
    from flowcli.types import FlowPair, StreamInfo
    from flowcli.view.looks import Look
    from flowcli.view.page import PageSink, Subject
    from flowcli.weights.entries import Entry


@dataclass(frozen=True)
class PageOptions:
    """What is beside the flow, and where the page goes."""

    out: str | None = None
    versus: str | None = None
    over: str | None = None
    max_size: int = 20_000_000
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is shown and with what: an entry is None where flow is read from files."""

    entry: Entry | None
    versus: Entry | None


@click.command("view", cls=HelpedCommand)
@source_options
@grouped(
    "page",
    PageOptions,
    click.option(
        "-o",
        "--out",
        type=click.Path(),
        metavar="OUT",
        help="Where the page goes. Without it, a temporary page is opened in the browser.",
    ),
    click.option("--versus", metavar="NAME|FLOW", help="Another model, or flow of the same frames, to compare with."),
    click.option(
        "--over", type=click.Path(), metavar="FRAMES", help="The video or pictures that the given flow belongs to."
    ),
    value(
        "--max-size",
        parse_bytes,
        "SIZE",
        "Largest size of the page, such as 500k, 20M or 1G (20M: 20 million bytes).",
        "20M",
    ),
    click.option("-y", "--overwrite", is_flag=True, help="Replace a page that exists."),
)
@grouped("engine", EngineOptions, *flow_options, cuts_option)
@fetch_option
@talk_options
def command(source: SourceOptions, page: PageOptions, engine: EngineOptions, talk: TalkOptions) -> None:
    """Look at flow in a browser: one HTML file that needs no network.

    INPUT is a video or pictures, as for `flowcli estimate`, or flow, as for `flowcli convert` (.png is a picture). The
    page shows it frame by frame, as colours, as arrows or over the frame, with the vector of the pixel under the
    pointer, tracks of points that you click, and a plot of speed over time. With --versus, two flows lie beside each
    other, with a border that you move.

    If the page would become too large, the flow gets fewer pixels, then pictures become smaller, and finally frames are
    left out. The command and the page say so, and how exact the values are.

    \b
    flowcli view in.mp4
    flowcli view in.mp4 -o look.html --versus dis
    flowcli view flow/ -o look.html --over in.mp4 --versus other/
    """
    target = None if page.out is None else _target(page, source)

    from flowcli.flowsource import is_flow

    reads = source.second is None and is_flow(source.input)
    if page.over is not None and not reads:
        raise UsageError(f"--over is for flow from files, and {source.input} has frames", "leave out --over")
    if reads and (source.start, source.stop, source.every) != (None, None, 1):
        hint = "name the files to show, as 'flow/00[0-4]*.flo'"
        raise UsageError("--start, --stop and --every are for frames, and the input is flow", hint)
    plan = _Plan(None if reads else find_weights(engine), _versus(page.versus, engine))

    from flowcli.view.page import PageSink

    with ExitStack() as failed:
        if target is None:
            folder = tempfile.mkdtemp(prefix="flowcli-view-")
            failed.callback(shutil.rmtree, folder)
            target = Path(folder, "view.html")
        with _opened(source, page, engine, plan) as (subject, looks):
            sink = PageSink(target, subject, page.max_size, page.overwrite)
            drain(track(looks, subject.info.frames, "frame", show=not talk.quiet), [sink])
        # What is done stays: the browser reads it after this program has ended.
        failed.pop_all()
    if talk.json:
        echo(json.dumps(_described(target, sink)))
    elif not talk.quiet:
        echo(_told(target, sink, subject.info), err=True)
    if page.out is None and not webbrowser.open(target.resolve().as_uri()):
        echo(f"note: no browser could be started: open {target} in one", err=True)


def _target(page: PageOptions, source: SourceOptions) -> Path:
    """Where the page goes. Raises UsageError for stdout, OutputError for a name that cannot be written."""
    if page.out is None or page.out == "-":
        raise UsageError("the page cannot go to standard output", "name a file: --out look.html")
    inputs = (name for name in (source.input, source.second, page.over, page.versus) if name is not None)
    check_target(Path(page.out), map(Path, inputs), page.overwrite)
    return Path(page.out)


def _versus(name: str | None, engine: EngineOptions) -> Entry | None:
    """The entry of the model to compare with; None if there is none, or if it is flow that exists."""
    if name is None or (Path(name).exists() and _reads(name)):
        return None
    # The refinements and weights are those of the first one.
    return find_weights(_second(name, engine))


def _reads(name: str) -> bool:
    from flowcli.flowsource import is_flow

    return is_flow(name)


def _second(name: str, engine: EngineOptions) -> EngineOptions:
    return replace(engine, model=name, weights=None, refine=None)


@contextmanager
def _opened(
    source: SourceOptions, page: PageOptions, engine: EngineOptions, plan: _Plan
) -> Iterator[tuple[Subject, Iterator[Look]]]:
    """What the page is about, and its looks."""
    from flowcli.flowsource import open_flow_source
    from flowcli.view.looks import Follower, looks_of_flow, with_engine, with_flow
    from flowcli.view.page import Subject

    with ExitStack() as stack:

        def beside(pairs: Iterator[FlowPair]) -> Iterator[tuple[FlowPair, ...]]:
            if page.versus is None:
                return ((pair,) for pair in pairs)
            if plan.versus is not None:
                return with_engine(pairs, open_engine(plan.versus, _second(page.versus, engine)))
            return with_flow(pairs, stack.enter_context(open_flow_source((page.versus,))))

        title = " ".join(Path(name).name or name for name in (source.input, source.second) if name is not None)
        if plan.entry is None:
            flows = stack.enter_context(open_flow_source((source.input,)))
            frames = None if page.over is None else stack.enter_context(open_input(replace(source, input=page.over)))
            names = _names(source.input, page.versus)
            yield Subject(title, names, flows.info, frames is not None), looks_of_flow(beside(iter(flows)), frames)
            return
        frames = stack.enter_context(open_input(source))
        follower = Follower(cuts=engine.cuts == "auto")
        # The follower finds cuts itself.
        engine = replace(engine, cuts="off", duplicates="keep")
        watched = follower.watch(frames)
        run = stack.enter_context(open_run(watched, source.input, plan.entry, engine))
        names = _names(plan.entry.name, page.versus)
        yield Subject(title, names, frames.info), follower.looks(beside(run.pairs))


def _names(first: str, versus: str | None) -> tuple[str, ...]:
    return tuple(Path(name).name or name for name in (first, versus) if name is not None)


def _described(target: Path, sink: PageSink) -> dict[str, object]:
    detail = sink.detail
    return {
        "out": str(target),
        "bytes": sink.size,
        "frames": sink.frames,
        "every": detail.every,
        "spacing": detail.spacing,
        "shrink": detail.shrink,
        "error": sink.error,
    }


def _told(target: Path, sink: PageSink, info: StreamInfo) -> str:
    detail = sink.detail
    parts = [f"wrote {target}: {counted(sink.frames, 'frame')}, {info.width}x{info.height}, {sink.size / 1e6:.1f} MB"]
    left = []
    if detail.shrink > 1:
        left.append(f"pictures at 1/{detail.shrink} of their size")
    if detail.spacing > 1:
        left.append(f"flow at every {_nth(detail.spacing)} pixel")
    if detail.every > 1:
        left.append(f"every {_nth(detail.every)} frame only")
    parts.append("; to keep it small: " + ", ".join(left) if left else "")
    return f"{''.join(parts)}; values of flow are at most {sink.error:.3g} px off"


def _nth(number: int) -> str:
    return f"{number}{'nd' if number == 2 else 'th'}"
