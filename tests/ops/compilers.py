"""What tests of building kernels share: scripts in the place of compilers, and processes that use what is built."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from flowcli.ops import native

BUILDING = "building the native kernel for cpu, once: it takes about half a minute"
WAITING = "another process builds the native kernel for cpu: waiting for it"
BESIDE = (
    "this run uses the slower torch kernels; the fast ones for cpu are being built beside it, for the next run "
    "(FLOWCLI_NATIVE=wait waits for them)"
)
WRITE = 'while [ "$1" != -o ]; do shift; done; '
"""In a script for a compiler: makes `$2` the file to write."""


class Compiler:
    """A script in the place of the compiler, and a loader that takes what contains `good`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "compiler"
        self.cache = folder / "cache" / "flowcli"
        self.loaded: list[Path] = []
        self.does(WRITE + 'echo good > "$2"')

    def does(self, script: str) -> None:
        self.path.write_text(f"#!/bin/sh\n{script}\n")
        self.path.chmod(0o755)

    def hangs(self, folder: Path) -> Path:
        """A file that says which process it is, as soon as it runs."""
        started, own = folder / "started", shlex.quote(f"{folder}/") + "$$"
        self.does(f"echo $$ > {own}; mv {own} {shlex.quote(str(started))}; exec sleep 60")
        return started

    def load(self, path: Path | str) -> None:
        """As torch.ops.load_library, whose error says less than its cause."""
        if "good" not in Path(path).read_text():
            raise OSError(f"Could not load this library: {path}") from OSError(f"{path}: file too short")
        self.loaded.append(Path(path))


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Compiler]:
    """As on a fresh machine: nothing is known, built or set."""
    fake = Compiler(tmp_path)
    monkeypatch.setattr(native, "_known", {})
    monkeypatch.setattr(torch.ops, "load_library", fake.load)
    monkeypatch.setenv("CXX", str(fake.path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(fake.cache.parent))
    monkeypatch.setenv("FLOWCLI_NATIVE", "wait")
    with caplog.at_level(logging.INFO, "flowcli"):
        yield fake


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be asked for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


PROBE = """
import json, re, sys, torch
from pathlib import Path
from flowcli.ops import correlation, native
from flowcli.ops.library import FALLBACKS
features = torch.randn(1, 8, 6, 7)
volume = correlation(features, features, 2)
kernel = torch._C._dispatch_has_kernel_for_dispatch_key("flowcli::correlation", "CPU")
same = torch.allclose(volume, FALLBACKS["correlation"](features, features, 2, 1), atol=1e-5)
built = "torch.utils.cpp_extension" in sys.modules
maps = Path("/proc/self/maps")
lines = maps.read_text().splitlines() if maps.exists() else ["libomp"]
pools = {line.split()[-1] for line in lines if re.search("lib[gi]?omp", line)}
print(json.dumps([native.status("cpu").kernel, kernel, same, built, len(pools)]))
"""


def probe(root: Path, cache: Path, cxx: str, **variables: str) -> subprocess.Popen[str]:
    """A process that correlates; its stdout tells which kernel did it, and holds nothing else."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "XDG_CACHE_HOME": str(cache),
        "CXX": cxx,
        "OMP_NUM_THREADS": "1",
        "FLOWCLI_NATIVE": "wait",
        **variables,
    }
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", PROBE], env=environment, stdout=pipe, stderr=pipe, text=True)
