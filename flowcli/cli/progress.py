"""A progress bar on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

Item = TypeVar("Item")
Unit = Literal["flow", "frame", "result"]
"""What is counted."""
SOON = 1.0
"""Seconds before which nothing can be said: several items come at once, and the first take longer."""


def counted(count: int, unit: Unit) -> str:
    """The number with what it counts."""
    return f"{count} {unit}{'s' * (count != 1)}"


def pace(done: int, total: int | None, seconds: float) -> str:
    """How fast it goes and how long it still takes, as far as that can be said yet. total: None if it is unknown."""
    if done < 2 or seconds < SOON:
        return ""
    rate = f"{done / seconds:.1f} per second"
    return rate if total is None else f"{rate}, {left(seconds * max(total - done, 0) / done)}"


def left(seconds: float) -> str:
    """That so much time is left."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} left"


def track(items: Iterable[Item], total: int | None, unit: Unit, *, show: bool) -> Iterator[Item]:
    """The same items, counted by a bar if `show` is set and stderr is a terminal. total: None if it is unknown."""
    if not show or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Pace(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(pace(int(task.completed), total, task.elapsed or 0))

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(f"{unit}s"), Pace())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        for item in items:
            yield item
            progress.advance(task)


@contextmanager
def downloading(name: str, *, show: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A function that takes the bytes so far and in all; with `show`, and on a terminal, a bar shows them."""
    if not show or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
