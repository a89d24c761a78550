"""A program that runs another one, and ends it when the process that asked for it, or the folder it works in, is gone.

Run as a script: python -I _guard.py PID FOLDER PROGRAM ARGUMENT... It imports nothing of this package.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_POLL = 0.1
"""Seconds."""
_GRACE = 3.0
"""Seconds that the program has to end its own children, which are in process groups of their own."""
_PROCESSES = Path("/proc")


def run(parent: int, folder: str, command: list[str]) -> int:
    """Its exit status."""
    child = subprocess.Popen(command, start_new_session=True)
    try:
        # What is started in a session of its own gives way to others as much as this one does.
        give_way(child.pid, session_nice())
        while os.getppid() == parent and os.path.isdir(folder):
            if (status := child.poll()) is not None:
                return status
            time.sleep(_POLL)
        return 1
    finally:
        if child.poll() is None:
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)


def session_nice() -> int:
    """How far the session of this process gives way to others, -20 to 19; 0 where sessions have no priority.

    Linux weighs sessions before it weighs the processes in them, if it is built and told to; else there is no such
    file, or nothing in it.
    """
    with suppress(OSError, ValueError):
        found = re.search(r"nice (-?\d+)", (_PROCESSES / "self" / "autogroup").read_text(encoding="ascii"))
        return int(found[1]) if found else 0
    return 0


def give_way(process: int | str, nice: int) -> None:
    """Sets how far the session of a process, or of "self", gives way to others, where that can be set."""
    with suppress(OSError):
        (_PROCESSES / f"{process}" / "autogroup").write_text(f"{nice}", encoding="ascii")


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
