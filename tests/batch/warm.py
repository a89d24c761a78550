"""A process that has imported all modules, and forks a child for each command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.tiny import ROOT

_PROGRAM = """
import json, os, sys
from flowcli.cli.main import main
import cv2, rich.progress, torch
import flowcli.batch.local, flowcli.classic, flowcli.draw.effects, flowcli.engine.engine
import flowcli.flowfile, flowcli.video

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(main(json.loads(line)))
    print(pid, flush=True)
    # The child keeps its pid until it is waited for.
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Warm:
    """Runs flowcli repeatedly without the time that imports take."""

    def __enter__(self) -> Self:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "FLOWCLI_NATIVE": "off"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)

    def start(self, arguments: list[str]) -> int:
        """Starts flowcli with these arguments; returns its pid."""
        return self._ask(json.dumps(arguments))

    def wait(self) -> int:
        """Waits for it; returns its exit code, negative for the signal that killed it."""
        return self._ask("wait")

    def _ask(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def tree(folder: Path) -> dict[str, bytes]:
    """All files below the folder with their contents, except manifests (they hold times); folders end with /."""
    return {
        f"{path.relative_to(folder)}{'/' * path.is_dir()}": b"" if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
        if not path.match("manifest*.jsonl")
    }
