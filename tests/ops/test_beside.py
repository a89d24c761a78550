"""Building beside a run that does not wait for it; scripts take the place of compilers."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from flowcli.ops import _beside, _cache, native
from flowcli.ops.native import NativeStatus
from flowcli.private import lock
from tests.ops.compilers import BESIDE, BUILDING, WRITE, Compiler, probe, until

HELD = NativeStatus("fallback", "the native kernels are being built", hint="FLOWCLI_NATIVE=wait waits for them")


@pytest.fixture
def started(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The builds beside this process, which do nothing but hold their claims."""
    monkeypatch.setenv("FLOWCLI_NATIVE", "auto")
    claims: list[int] = []
    monkeypatch.setattr(_beside, "start", lambda device, claim: claims.append(os.dup(claim)))
    return claims


def test_nothing_is_built_twice_at_once(
    compiler: Compiler, started: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert native.ensure("cpu") == HELD
        # A process makes its choice once.
        assert native.ensure("cpu") == HELD
        monkeypatch.setattr(native, "_known", {})
    assert len(started) == 1
    assert caplog.messages == [BESIDE] * 2
    # What was killed let go of its claim, and tells nothing.
    os.close(started.pop())
    assert native.ensure("cpu") == HELD
    assert len(started) == 1
    os.close(started.pop())


def test_what_cannot_be_built_is_not_tried_beside(
    compiler: Compiler, started: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "nothing")
    reason = "native kernels need a C++ compiler, 'nothing' is not there"
    assert native.ensure("cpu") == NativeStatus("fallback", reason, hint="install g++ or set CXX")
    assert caplog.messages == [f"{reason}; the slower torch kernels run on cpu (install g++ or set CXX)"]
    assert started == []


@pytest.mark.slow
def test_a_failure_is_told_to_the_next_run(
    compiler: Compiler, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler.does("echo 'a.cpp:3: error: no' >&2; exit 1")
    assert native.ensure("cpu") == HELD
    native.build_claimed("cpu")
    os.close(started.pop())
    (note,) = compiler.cache.iterdir()
    monkeypatch.setattr(native, "_known", {})
    reason = f"{compiler.path} cannot build native kernels: a.cpp:3: error: no"
    hint = f"to try again: rm {note}; FLOWCLI_NATIVE=off silences this"
    assert native.ensure("cpu") == NativeStatus("fallback", reason, hint=hint)
    assert started == []


@pytest.mark.slow
def test_without_locks_it_is_built_at_once(
    compiler: Compiler, started: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_cache, "lock", lambda descriptor: False)
    status = native.ensure("cpu")
    assert status.kernel == "native"
    assert list(compiler.cache.iterdir()) == [status.path]
    assert caplog.messages == [BUILDING]
    assert started == []


def test_a_claim_of_a_note_that_was_forgotten_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = _cache.Note(tmp_path, "kernel", "c++")
    first = note.claim()
    assert first is not None

    def slow(descriptor: int) -> bool:
        """Between opening and locking, the build that had the claim ends."""
        nonlocal first
        if first is not None:
            note.forget()
            os.close(first)
            first = None
        return lock(descriptor)

    monkeypatch.setattr(_cache, "lock", slow)
    second = note.claim()
    assert second is not None
    with pytest.raises(BlockingIOError):
        note.claim()
    os.close(second)


@pytest.mark.slow
def test_who_started_it_learns_how_it_ended(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would be left as a zombie as long as a program of the user's runs."""
    processes: list[subprocess.Popen[bytes]] = []
    popen: Any = subprocess.Popen

    def noted(command: list[str], **options: Any) -> Any:
        processes.append(popen(["true", *command], **options))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    with compiler.path.open() as file:
        _beside.start("cpu", file.fileno())
    until(lambda: processes[0].returncode == 0)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="processes have no such priorities here")
def test_a_run_starts_at_once_and_the_next_has_the_kernels(
    library: Path,
    compiler: Compiler,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The compiler takes until it is told to end, long after the run, and its product is the real library."""
    started, going = compiler.hangs(tmp_path), tmp_path / "go"
    waits = f"while [ ! -e {shlex.quote(str(going))} ]; do sleep 0.1; done"
    compiler.does(
        compiler.path.read_text().partition("\n")[2].replace("exec sleep 60", f'{waits}; {WRITE} cp {library} "$2"')
    )
    cache = compiler.cache.parent
    try:
        # It ends, with both its streams, though the compiler runs.
        out, err = probe(root, cache, str(compiler.path), FLOWCLI_NATIVE="auto").communicate(timeout=120)
        assert json.loads(out) == ["fallback", False, True, True, 1]
        assert err.splitlines() == [BESIDE]
        until(started.exists)
        pid = int(started.read_text())
        assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
        assert os.getsid(pid) != os.getsid(0)
        assert len(list(compiler.cache.glob(".build.*"))) == 1
    finally:
        going.touch()
    until(lambda: [path.name for path in compiler.cache.iterdir()] == [library.name])
    # What the next run does, in this process: starting another one, which imports torch, takes seconds.
    loaded: list[str] = []
    monkeypatch.setattr(torch.ops, "load_library", loaded.append)
    monkeypatch.setenv("FLOWCLI_NATIVE", "auto")
    monkeypatch.setenv("CXX", "nothing")
    assert native.ensure("cpu").kernel == "native"
    assert [Path(each) for each in loaded] == [compiler.cache / library.name]
    assert caplog.messages == []
