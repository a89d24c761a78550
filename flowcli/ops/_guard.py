"""A program that runs another one, and ends it when the process that asked for it, or the folder it works in, is gone.

Run as a script: python -I _guard.py PID FOLDER PROGRAM ARGUMENT... It imports nothing of this package.
"""

from __future__ import annotations

import os
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


def run(parent: int, folder: str, command: list[str]) -> int:
    """Its exit status."""
    child = subprocess.Popen(command, start_new_session=True)
    _give_way_alike(child.pid)
    while child.poll() is None:
        if os.getppid() != parent or not os.path.isdir(folder):
            os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(_GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
            return 1
        time.sleep(_POLL)
    return child.returncode


def _give_way_alike(pid: int) -> None:
    """Gives the session of a child the priority of this one: Linux weighs sessions before the processes in them."""
    with suppress(OSError, ValueError):
        nice = Path("/proc/self/autogroup").read_text(encoding="ascii").split()[-1]
        Path(f"/proc/{pid}/autogroup").write_text(nice, encoding="ascii")


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
