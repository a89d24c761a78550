from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flowcli import private
from flowcli.private import Private
from tests.tiny import ROOT

pytest.importorskip("fcntl", reason="there are no locks on this system")

_HOLDER = """
import sys
from pathlib import Path
from flowcli.private import Private
held = Private(Path(sys.argv[1]), "name")
(held.path / "deep").mkdir()
(held.path / "deep" / "half").write_text("done")
print(held.path, flush=True)
sys.stdin.read()
"""


def holder(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has a private folder until it is killed, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_ours_alone_and_gone_after(tmp_path: Path) -> None:
    one, other = Private(tmp_path, "name"), Private(tmp_path, "name")
    assert one.path.parent == other.path.parent == tmp_path
    assert one.path != other.path
    assert stat.S_IMODE(one.path.stat().st_mode) == 0o700
    assert len(one.path.name) < 40
    one.remove()
    one.remove()
    assert list(tmp_path.iterdir()) == [other.path]
    other.remove()
    assert list(tmp_path.iterdir()) == []


def test_that_of_a_dead_run_goes_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    process, held = holder(tmp_path)
    Private(tmp_path, "name").remove()
    assert list(tmp_path.iterdir()) == [held]
    kill(process)
    Private(tmp_path, "other").remove()
    assert (held / "deep" / "half").read_text() == "done", "it is of another name"
    saved: list[str] = []
    Private(tmp_path, "name", lambda path: saved.append((path / "deep" / "half").read_text())).remove()
    assert saved == ["done"]
    assert list(tmp_path.iterdir()) == []


def test_that_of_another_machine_stays_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock may not be seen here."""
    process, held = holder(tmp_path)
    kill(process)
    monkeypatch.setattr(private, "_boot", lambda: "another")
    Private(tmp_path, "name").remove()
    assert held.exists()
    before = time.time() - private._DAY - 10
    os.utime(held, (before, before))
    Private(tmp_path, "name").remove()
    assert not held.exists()


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "lock").touch()
    (victim / "precious").touch()
    (tmp_path / ".name.0000000000000000.part").symlink_to(victim)
    (tmp_path / ".name.1111111111111111.part").write_text("a file")
    strange = tmp_path / ".name.2222222222222222.part"
    strange.mkdir()
    (strange / "precious").touch()
    empty = tmp_path / ".name.3333333333333333.part"
    empty.mkdir()
    Private(tmp_path, "name").remove()
    assert (victim / "precious").exists()
    assert (strange / "precious").exists()
    assert (tmp_path / ".name.1111111111111111.part").read_text() == "a file"
    assert not empty.exists(), "a run that was killed before it had locked it"


def test_a_planted_name_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".name.00.part").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr("secrets.token_hex", lambda count: "00")
    with pytest.raises(FileExistsError):
        Private(tmp_path, "name")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_without_locks_nothing_is_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process, held = holder(tmp_path)
    kill(process)

    def none(descriptor: int, how: int) -> None:
        raise OSError(37, os.strerror(37))

    monkeypatch.setattr("fcntl.flock", none)
    Private(tmp_path, "name").remove()
    assert held.exists()
