"""What commands that write flow share: where stdout goes, the run itself, and what is said of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from flowcli.cli.progress import track
from flowcli.errors import OutputError, UsageError
from flowcli.output.outputs import Opened, OutputOptions
from flowcli.types import FlowPair, StreamInfo, drain


def check_stdout(options: OutputOptions) -> None:
    """Raises UsageError if pictures would go to the terminal."""
    if any(target == "-" for target, _ in options.named) and sys.stdout.isatty():
        raise UsageError("stdout is a terminal", "pipe it into something: ... --out - | ffplay -")


def write_all(pairs: Iterable[FlowPair], opened: Sequence[Opened], total: int | None, *, show: bool) -> int:
    """Number of pairs written to all outputs, counted by a bar with `show`. total: how many will come, if known."""
    try:
        return drain(track(pairs, total, show=show), [each.sink for each in opened])
    except BrokenPipeError as error:
        others = [str(each.output) for each in opened if each.output.path is not None]
        if not others:
            raise
        raise OutputError(
            f"the reader of stdout went away: {', '.join(others)} not written", "leave out --out -"
        ) from error


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
