"""Ctrl-C as a wish: what is under way is finished first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from flowcli.cli.options import TalkOptions
from flowcli.cli.streams import echo


@contextmanager
def until_interrupted() -> Iterator[Callable[[], bool]]:
    """A function that tells whether Ctrl-C was pressed, or the program was asked to end; the second time ends it."""
    asked: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    for number, handler in before.items():
        # Whoever ignores a signal, as nohup does for its children, means it.
        if handler is not signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tell_stopped(talk: TalkOptions) -> None:
    """Says that the run can be resumed. Raises KeyboardInterrupt, which ends the program as Ctrl-C does."""
    if not talk.quiet:
        echo("stopped after a step, which is kept: the same command goes on from there", err=True)
    raise KeyboardInterrupt
