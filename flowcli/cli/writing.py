"""Shared by commands that write results: the check of stdout, the run itself, and its summary."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flowcli.cli.progress import Unit, counted, track
from flowcli.cli.streams import is_closed
from flowcli.errors import OutputError, UsageError
from flowcli.output.opening import Writer
from flowcli.output.options import FrameOptions
from flowcli.types import StreamInfo, drain

if TYPE_CHECKING:
    from flowcli.api import Run
    from flowcli.carry.run import CarryRun
    from flowcli.engine.engine import Engine
    from flowcli.weights.entries import Entry

Item = TypeVar("Item")

LISTED = 10
"""Most frames that a line names."""


def check_stdout(options: FrameOptions) -> None:
    """Raises UsageError if pictures would go to the terminal, OutputError if there is no stdout."""
    if not any(target == "-" for target, _ in options.named):
        return
    if is_closed(sys.stdout):
        raise OutputError("standard output is closed", "name a file: --out flow.mp4")
    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal", "pipe it into something: ... --out - | ffplay -")


def write_all(
    items: Iterable[Item], writers: Sequence[Writer[Item]], total: int | None, unit: Unit, *, show: bool
) -> int:
    """The number of items written to all outputs. total: how many will come, if known; show: with a progress bar."""
    with needs_reader(each.output.path for each in writers):
        return drain(track(items, total, unit, show=show), writers)


@contextmanager
def needs_reader(paths: Iterable[Path | None]) -> Iterator[None]:
    """A context in which stdout may lose its reader: raises OutputError if files are left unwritten because of that.

    paths: of all outputs, None for stdout. If it is the only one, the BrokenPipeError passes: nothing is lost.
    """
    try:
        yield
    except BrokenPipeError as error:
        files = [str(path) for path in paths if path is not None]
        if not files:
            raise
        hint = "leave out --out -"
        raise OutputError(f"the reader of stdout went away: {', '.join(files)} not written", hint) from error


def described_run(run: Run | CarryRun[Any], info: StreamInfo, seconds: float, damaged: str) -> dict[str, Any]:
    """What was estimated, by what and where, for --json."""
    return {
        "width": info.width,
        "height": info.height,
        "seconds": round(seconds, 3),
        "damaged": damaged or None,
        **described_engine(run.engine),
        "model": run.entry.name,
        "weights": described_weights(run.entry),
    }


def described_engine(engine: Engine) -> dict[str, Any]:
    """Device and precision, for --json."""
    return {"device": str(engine.device), "precision": engine.precision}


def described_weights(entry: Entry) -> dict[str, str] | None:
    """The sums of a file of weights, for --json; None for a method without weights."""
    return None if entry.file is None else {"short": entry.sha256[:8], "sha256": entry.sha256}


def described(writer: Writer[Any]) -> dict[str, Any]:
    """An output, for --json."""
    output = writer.output
    return {
        "out": "-" if output.path is None else str(output),
        "what": output.what,
        "format": output.format,
        "backward": output.backward,
        "scale": None if writer.scale is None else [round(each, 4) for each in writer.scale()],
    }


def told_places(what: str, frames: Sequence[int]) -> str:
    """A line with the number of frames of which `what` is found, and the first of them: "cuts: 2, at 30, 76"."""
    places = ", ".join(map(str, frames[:LISTED])) + ", ..." * (len(frames) > LISTED)
    return f"{what}: {len(frames)}" + (f", at {places}" if frames else "")


def told(writers: Sequence[Writer[Any]], count: int, unit: Unit, info: StreamInfo, seconds: float) -> str:
    """One line that says what was written. info: size of the flows or frames."""
    names = ", ".join(dict.fromkeys(str(each.output) for each in writers))
    size = f"{info.width}x{info.height}"
    return f"wrote {names}: {counted(count, unit)}, {size}, {seconds:.1f} s ({count / seconds:.1f} per second)"
