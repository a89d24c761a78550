"""Shared by commands that write results: the check of stdout, the run itself, and its summary."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flowcli.cli.outputs import KEEP, PARTIAL
from flowcli.cli.progress import Unit, counted, track
from flowcli.cli.stopping import until_interrupted
from flowcli.cli.streams import echo, is_closed
from flowcli.errors import OutputError, UsageError
from flowcli.output.naming import Output
from flowcli.output.opening import Writer
from flowcli.output.options import FrameOptions, OutputOptions
from flowcli.types import StreamInfo, drain

if TYPE_CHECKING:
    from flowcli.carry.run import CarryRun
    from flowcli.engine.engine import Engine
    from flowcli.run import Run
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


def note_legend(outputs: Iterable[Output], options: OutputOptions) -> None:
    """Says which pictures have no legend, though one is asked for, since they are no drawings of flow."""
    plain = [str(each) for each in outputs if each.pictures and not each.style]
    if options.legend and plain:
        echo(f"note: no legend is drawn on {', '.join(plain)}", err=True)


def write_all(
    items: Iterable[Item], writers: Sequence[Writer[Item]], total: int | None, unit: Unit, *, show: bool
) -> int:
    """The number of items written to all outputs. total: how many will come, if known; show: with a progress bar.

    After Ctrl-C or SIGTERM, the outputs hold what was done and `is_partial`, if --keep-partial is given; otherwise
    raises KeyboardInterrupt, and nothing is kept.
    """
    paths = [each.output.path for each in writers]
    context = click.get_current_context()
    keep, closing = context.meta.get(KEEP), False

    def until(stop: Callable[[], bool]) -> Iterator[Item]:
        nonlocal closing
        for count, item in enumerate(items, 1):
            yield item
            if stop() and count != total:
                context.meta[PARTIAL] = True
                break
        closing = True

    with needs_reader(paths):
        try:
            with until_interrupted() if keep else nullcontext(lambda: False) as stop:
                return drain(track(until(stop), total, unit, show=show), writers)
        except KeyboardInterrupt as error:
            # Some outputs may be there already.
            if closing or not any(paths):
                raise
            hint = "; --keep-partial keeps what is done" if keep is False else ""
            raise KeyboardInterrupt(f"nothing was kept{hint}") from error


def is_partial() -> bool:
    """Whether the command was asked to end, and keeps what it has done so far."""
    context = click.get_current_context(silent=True)
    return context is not None and PARTIAL in context.meta


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
        "partial": is_partial(),
        **described_engine(run.engine),
        "model": run.entry.name,
        "weights": described_weights(run.entry),
    }


def described_engine(engine: Engine) -> dict[str, Any]:
    """Device, precision, and which kernels ran: native, fallback or unused, for --json."""
    from flowcli.ops import native

    kernel = native.status(engine.device.type).kernel
    return {"device": str(engine.device), "precision": engine.precision, "kernel": kernel}


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
    what = f"wrote a part of {names}" if is_partial() else f"wrote {names}"
    return f"{what}: {counted(count, unit)}, {size}, {seconds:.1f} s ({count / seconds:.1f} per second)"
