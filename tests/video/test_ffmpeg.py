from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import ffmpeg
import numpy as np
import pytest

import flowcli.video.ffmpeg as module
from flowcli.errors import FfmpegError, FlowcliError
from flowcli.video import ffmpeg_path, ffmpeg_version, open_source
from flowcli.video.ffmpeg import Child, every_frame, file_url
from tests.tiny import alive, children
from tests.video import clips

HINT = "reinstall imageio-ffmpeg, or name another program in FLOWCLI_FFMPEG"
posix = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
Stand = Callable[..., Path]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """A shell script that takes the place of ffmpeg."""

    def make(script: str, name: str = "my ffmpeg") -> Path:
        path = tmp_path / name
        path.write_text(script)
        path.chmod(0o755)
        monkeypatch.setenv("FLOWCLI_FFMPEG", str(path))
        return path

    return make


def check_error(function: Callable[[], object], error: str, hint: str) -> None:
    with pytest.raises(FlowcliError) as caught:
        function()
    assert (type(caught.value), caught.value.message, caught.value.hint) == (FfmpegError, error, hint)


def test_the_one_of_imageio_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    import imageio_ffmpeg

    monkeypatch.delenv("FLOWCLI_FFMPEG", raising=False)
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE", raising=False)
    assert ffmpeg_path() == Path(imageio_ffmpeg.get_ffmpeg_exe())
    line = subprocess.run([ffmpeg_path(), "-version"], capture_output=True, check=True).stdout.decode()
    assert line.startswith(f"ffmpeg version {ffmpeg_version(ffmpeg_path())} ")


def test_no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWCLI_FFMPEG", raising=False)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    check_error(ffmpeg_path, "no ffmpeg program found", HINT)


@posix
def test_another_ffmpeg(tmp_path: Path, stand_in: Stand) -> None:
    real, notes = ffmpeg_path(), tmp_path / "notes"
    path = stand_in(f'#!/bin/sh\necho "$@" >> {notes}\nexec {real} "$@"\n')
    clip = clips.write(tmp_path / "a.mkv", clips.numbered(2))
    notes.unlink()
    with open_source(str(clip)) as source:
        assert len(list(source)) == 2
    assert ffmpeg_path() == path
    asked, decoded = notes.read_text().splitlines()
    assert asked == "-version"
    assert f"-i file:{clip} " in decoded


@posix
def test_another_ffmpeg_on_the_path(tmp_path: Path, stand_in: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stand_in("", "ffmpeg-of-mine")
    monkeypatch.setenv("FLOWCLI_FFMPEG", "ffmpeg-of-mine")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ffmpeg_path() == path


@pytest.mark.parametrize("kind", ["missing", "folder", "text"])
def test_another_ffmpeg_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = tmp_path / "program"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("text")
    monkeypatch.setenv("FLOWCLI_FFMPEG", str(path))
    error = f"FLOWCLI_FFMPEG is not a program: {path}"
    check_error(lambda: open_source(__file__), error, "give the full path of an ffmpeg program")


@posix
def test_a_program_that_is_not_ffmpeg(tmp_path: Path, stand_in: Stand) -> None:
    for number, script in enumerate(("#!/bin/sh\nexit 0\n", "#!/bin/sh\nexit 3\n", "#!/bin/sh\necho GNU cp 9.1\n")):
        path = stand_in(script, f"program{number}")
        check_error(lambda: open_source(__file__), f"this is not ffmpeg: {path}", HINT)


@posix
def test_a_program_that_does_not_start(tmp_path: Path, stand_in: Stand) -> None:
    path = stand_in("#!/no/such/shell\n")
    check_error(lambda: open_source(__file__), f"ffmpeg does not start: {path}: No such file or directory", HINT)
    check_error(
        lambda: Child(ffmpeg.input("a").output("b")),
        f"ffmpeg does not start: {path}: No such file or directory",
        HINT,
    )


@pytest.mark.parametrize(
    ("version", "option"),
    [
        ("4.2.2-static", "vsync"),
        ("n5.0.1", "vsync"),
        ("5.1", "fps_mode"),
        ("n9.0.2-17-g2a571b6068-20260930", "fps_mode"),
        ("10.0", "fps_mode"),
        ("N-109542-g3c1f5b0", "fps_mode"),
        ("2024-03-01-git", "fps_mode"),
    ],
)
def test_the_option_that_keeps_every_frame(monkeypatch: pytest.MonkeyPatch, version: str, option: str) -> None:
    monkeypatch.setattr(module, "ffmpeg_version", lambda path: version)
    assert every_frame() == {option: "passthrough"}


def test_file_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert file_url("http:x.mp4") == f"file:{tmp_path}/http:x.mp4"
    assert file_url("/a/../b") == "file:/b"


def test_words() -> None:
    lines: list[tuple[str, str, str]] = []
    child = Child(ffmpeg.input("file:/none").output("-", f="null"), watch=lambda *line: lines.append(line))
    assert child.wait() > 0
    assert child.cause() == "Error opening input: No such file or directory"
    ((who, level, text), *_) = [line for line in lines if line[1] == "error"]
    assert (who[:5], level, text) == ("[in#0", "error", child.cause())


@posix
def test_silence(stand_in: Stand) -> None:
    stand_in("#!/bin/sh\nexit 7\n")
    child = Child(ffmpeg.input("a").output("b"))
    assert child.wait() == 7
    assert child.cause() == "ffmpeg ended with 7 and said nothing"


@pytest.mark.slow
@posix
def test_a_flood_of_lines_does_not_block(stand_in: Stand) -> None:
    """60 MB on stderr before the first byte on stdout, which a pipe that nobody reads would stop for ever."""
    line = "[showinfo @ 0x55] [info] n: 0 pts: 0 " + "x" * 160
    stand_in(f'#!/bin/sh\nyes "{line}" | head -n 300000 >&2\necho done\n')
    child = Child(ffmpeg.input("a").output("b"), stdout=subprocess.PIPE)
    assert child.process.stdout is not None
    assert child.process.stdout.read() == b"done\n"
    assert child.wait() == 0


@pytest.mark.slow
def test_what_the_lines_cost(tmp_path: Path) -> None:
    """Reading a frame's lines takes less than half a millisecond of this process."""
    path = clips.lavfi(tmp_path / "a.mkv", "color=size=16x16:rate=100:duration=40", "-c:v", "mpeg4")
    with open_source(str(path)) as source:
        began = time.process_time()
        assert sum(1 for _ in source) == 4000
        assert time.process_time() - began < 2


def test_two_threads_that_wait_do_not_close_at_once() -> None:
    busy = threading.Lock()
    together: list[bool] = []

    class Stream:
        def close(self) -> None:
            together.append(not busy.acquire(blocking=False))
            time.sleep(0.1)
            if not together[-1]:
                busy.release()

    child = Child(ffmpeg.input("testsrc", f="lavfi").output("-", f="null"), subprocess.PIPE)
    assert child.process.stdin is not None
    child.process.stdin.close()
    child.process.stdin = Stream()  # type: ignore[assignment]
    child.process.kill()
    threads = [threading.Thread(target=child.wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [False, False]


def test_stop_ends_it_at_once() -> None:
    child = Child(ffmpeg.input("testsrc", f="lavfi", re=None).output("-", f="null"))
    child.stop()
    assert child.process.returncode == -9
    assert child.cause() == "ffmpeg was killed by signal 9"
    child.stop()


LEAVE = """
import sys
import ffmpeg
from flowcli.video.ffmpeg import Child
child = Child(ffmpeg.input("testsrc", f="lavfi", re=None).output("-", f="null"))
print(child.process.pid, flush=True)
sys.stdin.read()
{end}
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "1 / 0"])
def test_it_never_outlives_the_program(root: Path, end: str) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", LEAVE.format(end=end)]
    with subprocess.Popen(command, cwd=root, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert child in children(process.pid)
        process.communicate(timeout=30)
    assert not alive(child)


def test_words_on_stderr_need_not_be_utf8(tmp_path: Path) -> None:
    frames = clips.write(tmp_path / "a.mkv", clips.numbered(2), "-c:v", "png", "-metadata", "title=\udcff\udcfe x")
    with open_source(str(frames)) as source:
        np.testing.assert_array_equal([frame.image for frame in source], clips.numbered(2))


def test_a_forked_process_ends(tmp_path: Path) -> None:
    """At its exit it neither kills ffmpeg, which is another's child, nor waits for a thread that it does not have."""
    clip = clips.write(tmp_path / "a.mkv", clips.numbered(20))
    script = (
        "import os, sys\n"
        "from flowcli.video import open_source\n"
        f"frames = open_source({str(clip)!r})\n"
        "rest = iter(frames)\n"
        "next(rest)\n"
        "if not os.fork(): sys.exit(3)\n"
        "assert os.waitstatus_to_exitcode(os.wait()[1]) == 3\n"
        "print(1 + len(list(rest)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "20\n", done.stderr
