"""A build beside the run that asks for it: in a process of its own, which outlives it and gives way to all others."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from flowcli.environment import for_children
from flowcli.ops._guard import give_way, session_nice

_CODE = """
import sys
sys.path.append(sys.argv[1])
from flowcli.ops import _beside, native
_beside.yield_cores(int(sys.argv[3]))
native.build_claimed(sys.argv[2])
"""
_NICE = 10
"""How far it gives way to the run: of a core that both want it gets a tenth."""


def start(device: str, claim: int) -> None:
    """Starts a process that builds the kernels for this type of device, and inherits `claim`, an open file.

    It is in a session of its own: neither Ctrl-C nor the end of this process or of the terminal ends it. Raises
    OSError.
    """
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        # -P: modules that lie in the current folder are not the user's.
        [sys.executable, "-P", "-c", _CODE, str(root), device, str(session_nice())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=for_children(),
        start_new_session=True,
        pass_fds=(claim,),
    )
    # As long as this process lives, somebody has to ask how that one ended.
    threading.Thread(target=process.wait, daemon=True).start()


def yield_cores(session: int) -> None:
    """Gives this process, and those that it starts, a low priority. session: what `session_nice` says of the run."""
    with suppress(OSError):
        os.nice(_NICE)
    give_way("self", min(session + _NICE, 19))


def jobs() -> int | None:
    """How many compilers run at once, each with about a gigabyte; None where the user has said it."""
    return None if "MAX_JOBS" in os.environ else max(1, (os.cpu_count() or 1) // 2)
