"""The progress of a batch, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowcli.cli.streams import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from flowcli.batch.run import Outcome


class Board:
    """Counts items and flows, as any thread reports them. With a console, bars show the progress."""

    def __init__(self, total: int, console: Console | None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.counts = {"done": 0, "damaged": 0, "skipped": 0, "failed": 0}
        self.flows = 0
        """Flows of the finished items."""
        self._total = total
        self._worked = 0
        """Items finished in this run; skipped ones are left out."""
        self._began = time.monotonic()
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

    def finish(self, outcome: Outcome) -> None:
        """Records the outcome of an item."""
        if bar := self._running.pop(outcome.record.item, None):
            self.progress.remove_task(bar[0])
        self.counts[outcome.status] += 1
        if outcome.fresh:
            self._worked += 1
            self.flows += outcome.record.flows
        self.progress.update(self._all, advance=1, note=self._note())

    def _note(self) -> str:
        running = list(self._running.values())
        flows = self.flows + sum(done for _, done, _ in running)
        worked = self._worked + sum(min(1, done / total) for _, done, total in running if total)
        left = self._total - sum(self.counts.values()) + self._worked - worked
        notes = [f"{flows / self.seconds:.1f} fps"] if flows else []
        notes += [f"{self.counts['failed']} failed"] if self.counts["failed"] else []
        if worked:
            minutes, seconds = divmod(round(self.seconds * left / worked), 60)
            notes.append(f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left")
        return ", ".join(notes)


@contextmanager
def board(total: int, *, show: bool) -> Iterator[Board]:
    """A Board for `total` items, shown if `show` is set and stderr is a terminal."""
    from rich.console import Console

    made = Board(total, Console(stderr=True) if show and sys.stderr.isatty() else None)
    with made.progress:
        yield made
