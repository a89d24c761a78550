"""The program that ends a compiler with the process that asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flowcli.ops import _guard

SAID = {"/autogroup-12 nice 0": 0, "/autogroup-3 nice -5\n": -5, "/autogroup-7 nice 19": 19, "": 0, "nice": 0, "12": 0}
"""What Linux says of a session, and how far that gives way; in some containers it says nothing."""

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /proc."""
    monkeypatch.setattr(_guard, "_PROCESSES", tmp_path)
    return tmp_path


@pytest.mark.parametrize("said", [*SAID, None])
def test_a_session_without_priority_changes_nothing(processes: Path, said: str | None) -> None:
    if said is not None:
        (processes / "self").mkdir()
        (processes / "self" / "autogroup").write_text(said)
    assert _guard.session_nice() == (0 if said is None else SAID[said])
    program = [sys.executable, "-c", "raise SystemExit(7)"]
    assert _guard.run(os.getppid(), str(processes), program) == 7


def test_a_session_gets_a_priority_where_there_are_any(processes: Path) -> None:
    _guard.give_way(12, 3)
    assert not list(processes.iterdir())
    (processes / "12").mkdir()
    _guard.give_way(12, -3)
    assert (processes / "12" / "autogroup").read_text() == "-3"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The programs that the guard runs."""
    programs: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def noted(command: list[str], start_new_session: bool) -> subprocess.Popen[bytes]:
        programs.append(start(command, start_new_session=start_new_session))
        return programs[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    return programs


def test_what_runs_ends_with_the_guard(
    processes: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "getppid", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _guard.run(0, str(processes), SLEEP)
    assert [program.returncode for program in started] == [-signal.SIGTERM]


@pytest.mark.parametrize("gone", ["parent", "folder"])
def test_what_runs_ends_with_who_asked(processes: Path, started: list[subprocess.Popen[bytes]], gone: str) -> None:
    parent = os.getppid() + (gone == "parent")
    assert _guard.run(parent, str(processes / ("gone" if gone == "folder" else "")), SLEEP) == 1
    assert [program.returncode for program in started] == [-signal.SIGTERM]
