"""Fixtures for all tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from flowcli import environment
from flowcli.models import flow
from flowcli.weights import entries
from tests import tiny

# Defaults that the user has set are none of the tests'.
os.environ["FLOWCLI_CONFIG"] = "off"
# torch is not loaded yet. Of several processes that run tests, each takes one core.
environment.share_cores()
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# The tests run with the native kernels from the first one on.
os.environ.setdefault("FLOWCLI_NATIVE", "wait")

# The same cases on every run, and no deadline: the machine may be slow.
hypothesis.settings.register_profile("flowcli", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.load_profile("flowcli")


@pytest.fixture(scope="session", autouse=True)
def _heed_interrupts() -> None:
    """Heeds Ctrl-C, and the end of the terminal, as a program in the foreground does.

    A shell starts what runs in its background with SIGINT ignored, and nohup with SIGHUP; children inherit that, and
    tests that send them the signal would wait for ever. Python sets its handler at the start unless it is ignored.
    """
    usual: dict[str, Any] = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    for name, handler in usual.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the repository."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared(root: Path) -> Path:
    """The folder with clips and benchmarks beside the repository; without it the test is skipped."""
    folder = root.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with clips and benchmarks")
    return folder


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights, in use for the test, whose default model is tests/networks/brightness.py."""
    folder = tmp_path / "weights"
    tiny.write_table(folder)
    monkeypatch.setattr(flow, "__path__", [*flow.__path__, str(tiny.NETWORKS)])
    monkeypatch.setattr(entries, "folder", lambda: folder)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return folder


@pytest.fixture
def small_videoinr(monkeypatch: pytest.MonkeyPatch) -> None:
    """VideoINR with few channels and blocks, in the place of the whole one."""
    from flowcli.models.frame import videoinr

    class Small(videoinr.VideoINR):
        def __init__(self) -> None:
            super().__init__(8, 2, front=1, trunk=1)

    monkeypatch.setattr(videoinr, "MODEL", Small)
