"""A progress bar on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

Item = TypeVar("Item")
Unit = Literal["flow", "frame", "result"]
"""What is counted."""


def counted(count: int, unit: Unit) -> str:
    """The number with what it counts."""
    return f"{count} {unit}{'s' * (count != 1)}"


def track(items: Iterable[Item], total: int | None, unit: Unit, *, show: bool) -> Iterator[Item]:
    """The same items, counted by a bar if `show` is set and stderr is a terminal. total: None if it is unknown."""
    if not show or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f} fps" if task.speed else "")

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(f"{unit}s"), Rate(), TimeRemainingColumn())
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
