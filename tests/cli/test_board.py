from __future__ import annotations

import io
import sys
import threading
from typing import Literal

import pytest
from rich.console import Console

from flowcli.batch.manifest import Record
from flowcli.batch.standing import Outcome
from flowcli.cli.board import Board, board


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test sets."""
    now = [100.0]
    monkeypatch.setattr("flowcli.cli.board.time.monotonic", lambda: now[0])
    return now


def outcome(item: str, status: Literal["done", "skipped", "failed"], flows: int = 0, fresh: bool = True) -> Outcome:
    record = Record(item, "failed", "", 0, 0, 0, "", 0.0, flows=flows)
    return Outcome(status, record, fresh)


def shown(board: Board) -> list[str]:
    """What is on the screen, without the bars."""
    console = Console(file=io.StringIO(), width=120, no_color=True)
    console.print(board.progress)
    assert isinstance(console.file, io.StringIO)
    return [
        " ".join(line.replace("━", "").replace("╸", "").replace("╺", "").split())
        for line in console.file.getvalue().splitlines()
    ]


def test_items_flows_time_and_failures(clock: list[float]) -> None:
    board = Board(5, Console(file=io.StringIO()))
    assert shown(board) == ["items 0/5"]
    board.finish(outcome("old", "skipped", 1000, fresh=False))
    board.report("x", 0, 40)
    board.report("[b]y", 0, None)
    assert shown(board) == ["items 1/5", "x 0/40", "[b]y 0/?"]
    clock[0] += 10
    board.report("x", 20, 40)
    board.report("[b]y", 5, None)
    # Half an item in 10 seconds, and three and a half are left.
    assert shown(board) == ["items 1/5 2.5 per second, 0:01:10 left", "x 20/40", "[b]y 5/?"]
    board.finish(outcome("x", "done", 40))
    board.finish(outcome("[b]y", "failed"))
    assert shown(board) == ["items 3/5 4.0 per second, 1 failed, 0:00:10 left"]
    assert (board.counts, board.flows, board.seconds) == (
        {"done": 1, "damaged": 0, "skipped": 1, "failed": 1},
        40,
        10.0,
    )


def test_a_line_every_minute_without_a_terminal(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for show in (True, False):
        with board(5, show=show) as seen:
            seen.finish(outcome("old", "skipped", fresh=False))
            for second in range(150):
                clock[0] += 1
                seen.report("x", second, 300)
            seen.finish(outcome("x", "failed"))
        told = capsys.readouterr().err.splitlines()
        assert told == ["1/5 items, 1.0 per second, 0:19:20 left", "1/5 items, 1.0 per second, 0:18:10 left"] * show


def test_reports_come_from_many_threads() -> None:
    board = Board(8, Console(file=io.StringIO(), force_terminal=True))

    def work(name: str) -> None:
        for done in range(50):
            board.report(name, done, 50)

    with board.progress:
        threads = [threading.Thread(target=work, args=(f"item{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(shown(board)[1:]) == [f"item{number} 49/50" for number in range(8)]


def test_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (False, True):
        screen = io.StringIO()
        monkeypatch.setattr(screen, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setenv("TERM", "xterm")
        for show in (False, True):
            with board(3, show=show) as seen:
                seen.report("x", 1, 2)
            assert ("items" in screen.getvalue()) == (terminal and show)
