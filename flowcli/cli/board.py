"""The progress of a batch, on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowcli.cli.progress import SOON, left
from flowcli.cli.streams import echo, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from flowcli.batch.standing import Outcome


_PAUSE = 60.0
"""Seconds between two lines in a log."""


class Board:
    """Counts items and flows, as any thread reports them.

    With a console, bars show the progress; otherwise `say`, if there is one, gets a line every minute.
    """

    def __init__(self, total: int, console: Console | None, say: Callable[[str], None] | None = None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.counts = {"done": 0, "damaged": 0, "skipped": 0, "failed": 0}
        self.flows = 0
        """Flows of the finished items."""
        self.cuts = 0
        """Cuts in them."""
        self.duplicates = 0
        """Frames in them that repeat the one before."""
        self._total = total
        self._worked = 0
        """Items finished in this run; skipped ones are left out."""
        self._began = time.monotonic()
        self._say = say
        self._said = self._began
        self._saying = threading.Lock()
        self._running: dict[str, tuple[TaskID, int, int | None]] = {}
        names, notes = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[note]}"))
        columns = (names, BarColumn(), MofNCompleteColumn(), notes)
        self.progress = Progress(*columns, console=console, transient=True, disable=console is None)
        self._all = self.progress.add_task("items", total=total, note="")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def report(self, name: str, done: int, total: int | None) -> None:
        """Records that `done` flows of an item are made, of `total` if that is known."""
        if name not in self._running:
            self._running[name] = self.progress.add_task(f"  {printable(name)}", total=total, note=""), 0, total
        bar = self._running[name][0]
        self._running[name] = bar, done, total
        self.progress.update(bar, completed=done)
        self.progress.update(self._all, note=self._note())
        self._log()

    def finish(self, outcome: Outcome) -> None:
        """Records the outcome of an item."""
        if bar := self._running.pop(outcome.record.item, None):
            self.progress.remove_task(bar[0])
        self.counts[outcome.status] += 1
        if outcome.fresh:
            self._worked += 1
            self.flows += outcome.record.flows
            self.cuts += len(outcome.record.cuts)
            self.duplicates += len(outcome.record.duplicates)
        self.progress.update(self._all, advance=1, note=self._note())
        self._log()

    def _log(self) -> None:
        """Says how far it is, if it is time for that."""
        if self._say is None:
            return
        with self._saying:
            now = time.monotonic()
            if now - self._said < _PAUSE:
                return
            self._said = now
        self._say(", ".join(filter(None, (f"{sum(self.counts.values())}/{self._total} items", self._note()))))

    def _note(self) -> str:
        running = list(self._running.values())
        flows = self.flows + sum(done for _, done, _ in running)
        worked = self._worked + sum(min(1, done / total) for _, done, total in running if total)
        rest = self._total - sum(self.counts.values()) + self._worked - worked
        notes = [f"{flows / self.seconds:.1f} per second"] if flows > 1 and self.seconds >= SOON else []
        notes += [f"{self.counts['failed']} failed"] if self.counts["failed"] else []
        if worked and self.seconds >= SOON:
            notes.append(left(self.seconds * rest / worked))
        return ", ".join(notes)


@contextmanager
def board(total: int, *, show: bool) -> Iterator[Board]:
    """A Board for `total` items; with `show` it is shown on a terminal, and elsewhere it writes lines to stderr."""
    from rich.console import Console

    if show and sys.stderr.isatty():
        made = Board(total, Console(stderr=True))
    else:
        made = Board(total, None, (lambda line: echo(line, err=True)) if show else None)
    with made.progress:
        yield made
