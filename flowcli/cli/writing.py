"""Shared by commands that write results: the check of stdout, the run itself, and its summary."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcli.cli.progress import track
from flowcli.errors import OutputError, UsageError
from flowcli.output.outputs import Opened, OutputOptions
from flowcli.types import FlowPair, StreamInfo, drain

if TYPE_CHECKING:
    from flowcli.api import Run


def check_stdout(options: OutputOptions) -> None:
    """Raises UsageError if pictures would go to the terminal."""
    if any(target == "-" for target, _ in options.named) and sys.stdout.isatty():
        raise UsageError("stdout is a terminal", "pipe it into something: ... --out - | ffplay -")


def write_all(pairs: Iterable[FlowPair], opened: Sequence[Opened], total: int | None, *, show: bool) -> int:
    """Number of pairs written to all outputs, counted by a bar with `show`. total: how many will come, if known."""
    with needs_reader(each.output.path for each in opened):
        return drain(track(pairs, total, show=show), [each.sink for each in opened])


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


def described_run(run: Run, info: StreamInfo, seconds: float) -> dict[str, Any]:
    """What was estimated, by what and where, for --json."""
    return {
        "width": info.width,
        "height": info.height,
        "seconds": round(seconds, 3),
        "device": str(run.engine.device),
        "precision": run.engine.precision,
        "model": run.entry.name,
        "weights": run.entry.file and {"short": run.entry.sha256[:8], "sha256": run.entry.sha256},
    }


def described(opened: Opened) -> dict[str, Any]:
    """An output, for --json."""
    output = opened.output
    scale = None if opened.color is None else [round(each, 4) for each in opened.color.scale_range]
    return {
        "out": "-" if output.path is None else str(output),
        "what": output.what,
        "format": output.format,
        "backward": output.backward,
        "scale": scale,
    }


def told(opened: Sequence[Opened], count: int, info: StreamInfo, seconds: float) -> str:
    """One line for people: what was written."""
    names = ", ".join(dict.fromkeys(str(each.output) for each in opened))
    flows = "1 flow" if count == 1 else f"{count} flows"
    return f"wrote {names}: {flows}, {info.width}x{info.height}, {seconds:.1f} s ({count / seconds:.1f} per second)"
