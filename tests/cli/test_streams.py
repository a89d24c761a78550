"""Standard streams that are closed or full: no traceback, no lost work, the right exit code."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from flowcli.cli.main import main
from flowcli.cli.streams import printable
from flowcli.errors import MEMORY_HINT
from tests.tiny import ROOT
from tests.video.clips import lavfi

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")

FULL = "error: cannot write to standard output: No space left on device\nhint: check where it goes\n"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return lavfi(tmp_path / "a.mkv", "testsrc2=size=64x48:rate=10:duration=0.3", "-c:v", "png")


def run(folder: Path, words: str, streams: str) -> subprocess.CompletedProcess[str]:
    """A command line, its streams redirected by a shell."""
    command = f"exec {shlex.quote(sys.executable)} -m flowcli {words} {streams}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FLOWCLI_NATIVE": "off"}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=100
    )


@pytest.mark.slow
@pytest.mark.parametrize("words", ["--help", "--version", "models", "estimate --help"])
def test_a_full_disk_behind_stdout(tmp_path: Path, words: str) -> None:
    done = run(tmp_path, words, ">/dev/full")
    assert (done.returncode, done.stderr) == (1, FULL)


@pytest.mark.slow
def test_rows_on_a_full_disk(clip: Path) -> None:
    done = run(clip.parent, "stats a.mkv --model dis", ">/dev/full")
    assert done.returncode == 1
    assert done.stderr.endswith(FULL)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "streams", [">&-", ">&- 2>&-", "<&- >&- 2>&-", "2>&-", "2>/dev/full", ">/dev/null 2>/dev/full"]
)
@pytest.mark.parametrize("words", ["models", "--help", "no-such-command"])
def test_closed_streams(tmp_path: Path, words: str, streams: str) -> None:
    done = run(tmp_path, words, streams)
    assert done.returncode == (2 if words == "no-such-command" else 0)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("streams", [">&- 2>&-", "<&- >&- 2>&-", ">/dev/null 2>/dev/full"])
def test_a_batch_without_streams(clip: Path, streams: str) -> None:
    done = run(clip.parent, "batch a.mkv -o out --model dis --json", streams)
    assert done.returncode == 0
    lines = (clip.parent / "out" / "manifest.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["status"] == "done"
    assert (clip.parent / "out" / "a.mp4").stat().st_size


def test_a_product_for_a_stdout_that_is_closed(clip: Path) -> None:
    done = run(clip.parent, "estimate a.mkv -o - --model dis", ">&-")
    assert done.returncode == 1
    assert done.stderr == "error: standard output is closed\nhint: name a file: --out flow.mp4\n"


MEMORY = {
    "torch": RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory\nTrace"),
    "numpy": MemoryError("Unable to allocate 5.49 GiB for an array"),
    "python": MemoryError(),
    "import": ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    "fork": OSError(12, "Cannot allocate memory"),
    "threads": RuntimeError("can't start new thread"),
    "OpenCV": cv2.error("alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 71663616 bytes"),
}


@pytest.mark.parametrize("kind", MEMORY)
def test_the_memory_of_the_machine_runs_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    def fail(*arguments: object) -> None:
        raise MEMORY[kind]

    monkeypatch.setattr("flowcli.cli.main.commands.invoke", fail)
    assert main(["estimate"]) == 1
    first = str(MEMORY[kind]).partition("\n")[0] or "MemoryError"
    assert capsys.readouterr() == ("", f"error: not enough memory: {first}\nhint: {MEMORY_HINT}\n")
    monkeypatch.setattr("flowcli.cli.main.is_memory_error", lambda error: False)
    with pytest.raises(type(MEMORY[kind])):
        main(["estimate"])


def test_control_characters_are_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "a\x1b]0;owned\x07\u202egpj\x9b1m.mp4"
    Path(name).write_text("nothing")
    assert main(["estimate", name, "-o", "o.mp4", "-m", "dis"]) == 1
    err = capsys.readouterr().err
    assert r"a\x1b]0;owned\x07\u202egpj\x9b1m.mp4" in err
    assert not set(err) & set("\x1b\x07\u202e\x9b")
    assert printable("two\nlines\tand 動き") == "two\nlines\tand 動き"
