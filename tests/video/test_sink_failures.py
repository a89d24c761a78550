"""What goes wrong while video files are written: what is said, and that nothing stays behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from flowcli.errors import FfmpegError, OutputError
from flowcli.types import Frame, Sink, StreamInfo, drain
from flowcli.video import ffmpeg_path, open_picture_sink, open_video_sink
from tests.tiny import children
from tests.video import clips

INFO = StreamInfo(*clips.SIZE, Fraction(25))
MIDDLE = StreamInfo(120, 160, Fraction(25))
BIG = StreamInfo(480, 640, Fraction(25))
SUFFIXES = [".mp4", ".mov", ".mkv", ".webm", ".gif"]
SPACE = "check the free space and memory"
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for child processes in /proc")
posix = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")


def noise(count: int, info: StreamInfo = INFO) -> Iterator[Frame]:
    random = np.random.default_rng(0)
    for index in range(count):
        yield Frame(random.integers(0, 256, (info.height, info.width, 3), np.uint8), index, index / info.rate)


def fill(sink: Sink[Frame], count: int = 3, info: StreamInfo = INFO) -> None:
    drain(noise(count, info), [sink])


def check_error(action: Callable[[], object], error: str, hint: str) -> None:
    with pytest.raises(OutputError) as caught:
        action()
    assert (caught.value.message, caught.value.hint) == (error, hint)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("mine")
    hint = "pass -y to replace it, or choose another name"
    check_error(lambda: open_video_sink(path, INFO), f"output exists already: {path}", hint)
    assert path.read_text() == "mine"
    sink = open_video_sink(path, INFO, overwrite=True)
    sink.write(next(noise(1)))
    assert path.read_text() == "mine"
    sink.abort()
    assert path.read_text() == "mine"
    fill(open_video_sink(path, INFO, overwrite=True))
    assert len(clips.times(path)) == 3
    assert names(tmp_path) == ["a.mp4"]


def test_no_such_folder(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    error, hint = f"no such folder for the output: {folder}", f"create it: mkdir -p {folder}"
    check_error(lambda: open_video_sink(folder / "a.mp4", INFO), error, hint)


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write into every folder")
def test_folder_that_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    error = f"output folder is not writable: {tmp_path}"
    check_error(
        lambda: open_video_sink(tmp_path / "a.mp4", INFO), error, "choose another folder, or change its permissions"
    )
    tmp_path.chmod(0o700)


def test_unknown_suffix(tmp_path: Path) -> None:
    error, hint = f"unknown kind of video: {tmp_path}/a.wmv", "use one of .mp4 .mov .mkv .webm .gif"
    check_error(lambda: open_video_sink(tmp_path / "a.wmv", INFO), error, hint)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_frames(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    error = f"no frame was written to {path}"
    check_error(lambda: fill(open_video_sink(path, INFO), 0), error, "check the input")
    check_error(lambda: drain([], [open_picture_sink(path, folder=True)]), error, "check the input")
    assert names(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("count", [0, 1, 30])
def test_abort_leaves_nothing(tmp_path: Path, suffix: str, count: int) -> None:
    sink = open_video_sink(tmp_path / f"a{suffix}", INFO, comment=lambda: "text")
    for frame in noise(count):
        sink.write(frame)
    sink.abort()
    assert names(tmp_path) == []
    sink.abort()


def test_frame_of_another_size(tmp_path: Path) -> None:
    sink = open_video_sink(tmp_path / "a.mp4", INFO)
    with pytest.raises(ValueError, match=r"^frame 0 is \(480, 640, 3\), the video \(48, 64, 3\)$"):
        fill(sink, 1, BIG)
    assert names(tmp_path) == []


@linux
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ffmpeg_is_killed(tmp_path: Path, suffix: str) -> None:
    def frames() -> Iterator[Frame]:
        for frame in noise(200, BIG):
            if frame.index == 3:
                (child,) = children(os.getpid())
                os.kill(child, signal.SIGKILL)
            yield frame

    path = tmp_path / f"a{suffix}"
    error = f"cannot write {path}: ffmpeg was killed by signal 9"
    check_error(lambda: drain(frames(), [open_video_sink(path, BIG)]), error, SPACE)
    assert names(tmp_path) == []


@linux
def test_ffmpeg_is_killed_after_the_last_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    sink = open_video_sink(path, INFO)
    sink.write(next(noise(1)))
    (child,) = children(os.getpid())
    os.kill(child, signal.SIGKILL)
    check_error(sink.close, f"cannot write {path}: ffmpeg was killed by signal 9", SPACE)
    assert names(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "flowcli-test", str(folder)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk, and not everywhere")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_disk_full(small_disk: Path, suffix: str) -> None:
    path = small_disk / f"a{suffix}"
    with pytest.raises(OutputError) as caught:
        fill(open_video_sink(path, MIDDLE, crf=5), 60, MIDDLE)
    assert re.fullmatch(rf"cannot write {path}: .*No space left on device", caught.value.message)
    assert caught.value.hint == SPACE
    assert names(small_disk) == []


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_disk_full_when_the_comment_is_added(small_disk: Path, suffix: str) -> None:
    """The copy with the tag is what does not fit any more."""
    path = small_disk / f"a{suffix}"

    def comment() -> str:
        (part,) = small_disk.glob(f".*.part/*{path.suffix}")
        (small_disk / "other").write_bytes(bytes(200 * 1024 - part.stat().st_size - 8192))
        return "text"

    with pytest.raises(OutputError) as caught:
        fill(open_video_sink(path, INFO, comment=comment, crf=20), 15)
    assert re.fullmatch(rf"cannot write {path}: .*No space left on device", caught.value.message)
    assert names(small_disk) == ["other"]


def test_picture_on_a_full_disk(small_disk: Path) -> None:
    path = small_disk / "a"
    error = f"cannot write {path}: No space left on device"
    sink = open_picture_sink(path, folder=True)
    check_error(lambda: fill(sink, 3, BIG), error, "check the free space and the permissions")
    assert names(small_disk) == []


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a shell script take the place of ffmpeg, which it finds as $FFMPEG."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("FFMPEG", str(ffmpeg_path()))

    def make(script: str) -> None:
        path = folder / "ffmpeg"
        path.write_text(f'#!/bin/sh\n[ "$1" = -version ] && exec "$FFMPEG" -version\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setenv("FLOWCLI_FFMPEG", str(path))

    return make


@posix
def test_encoder_that_gives_up(tmp_path: Path, stand_in: Callable[[str], None]) -> None:
    stand_in('head -c 9999 > /dev/null; echo "[out#0/mp4 @ 0x55] [error] the encoder gave up" >&2; exit 1')
    path = tmp_path / "a.mp4"
    error = f"cannot write {path}: the encoder gave up"
    check_error(lambda: fill(open_video_sink(path, BIG), 99, BIG), error, SPACE)
    stand_in("exit 5")
    error = f"cannot write {path}: ffmpeg ended with 5 and said nothing"
    check_error(lambda: fill(open_video_sink(path, BIG), 99, BIG), error, SPACE)
    assert names(tmp_path) == ["bin"]


@posix
def test_comment_that_cannot_be_added(tmp_path: Path, stand_in: Callable[[str], None]) -> None:
    stand_in('case "$*" in *whole*) echo "[error] no copies today" >&2; exit 1;; esac; exec "$FFMPEG" "$@"')
    path = tmp_path / "a.mp4"
    sink = open_video_sink(path, INFO, comment=lambda: "text")
    check_error(lambda: fill(sink), f"cannot write {path}: no copies today", SPACE)
    assert names(tmp_path) == ["bin"]


def test_comment_that_fails(tmp_path: Path) -> None:
    sink = open_video_sink(tmp_path / "a.mp4", INFO, comment=lambda: str(1 // 0))
    with pytest.raises(ZeroDivisionError):
        fill(sink)
    assert names(tmp_path) == []


def test_ffmpeg_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWCLI_FFMPEG", "/none/ffmpeg")
    with pytest.raises(FfmpegError, match=r"^FLOWCLI_FFMPEG is not a program: /none/ffmpeg$"):
        open_video_sink(tmp_path / "a.mp4", INFO)
    assert names(tmp_path) == []


COPY = """
import resource, sys
from pathlib import Path
from flowcli.video import open_source, open_video_sink
with open_source(sys.argv[1]) as source:
    sink = open_video_sink(Path(sys.argv[2]), source.info)
    for frame in source:
        sink.write(frame)
        if frame.index == 20:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sink.close()
print(frame.index + 1, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@linux
def test_memory_does_not_grow_with_length(tmp_path: Path, root: Path) -> None:
    clip = clips.lavfi(tmp_path / "a.mkv", "testsrc=size=320x240:rate=25:duration=4", "-c:v", "mpeg4", "-g", 9)
    clips.ffmpeg("-stream_loop", 9, "-i", clip, "-c", "copy", tmp_path / "b.mkv")
    command = [sys.executable, "-c", COPY, str(tmp_path / "b.mkv"), str(tmp_path / "c.mp4")]
    out = subprocess.run(command, cwd=root, capture_output=True, check=True, timeout=60).stdout
    count, grown = map(int, out.split())
    assert count == 1000
    assert grown < 4096


ENDLESS = """
import sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from flowcli.types import Frame, StreamInfo, drain
from flowcli.video import open_video_sink
def frames():
    index = 0
    while True:
        yield Frame(np.zeros((48, 64, 3), np.uint8), index, Fraction(index, 25))
        index += 1
        if index == 100:
            print(flush=True)
drain(frames(), [open_video_sink(Path(sys.argv[1]), StreamInfo(48, 64, Fraction(25)))])
"""


@pytest.mark.slow
@linux
def test_interrupted(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-c", ENDLESS, str(tmp_path / "a.mp4")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=root, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == b"\n"
        below = children(process.pid)
        assert len(below) == 1
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert err.endswith(b"KeyboardInterrupt\n")
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{child}").exists() for child in below):
        assert time.monotonic() < deadline
    assert names(tmp_path) == []


WRONG_SIZE = "this kind of video takes no pictures of that size: write a folder of pictures, or another kind"


def test_a_size_that_the_encoder_does_not_take(tmp_path: Path) -> None:
    """The first complaint of ffmpeg is the cause; eight more follow it."""
    info = StreamInfo(16, 17000, Fraction(10))
    with pytest.raises(OutputError) as caught:
        fill(open_video_sink(tmp_path / "a.mp4", info), 2, info)
    assert caught.value.message == f"cannot write {tmp_path}/a.mp4: invalid width x height (17000x16)"
    assert caught.value.hint == WRONG_SIZE
    assert names(tmp_path) == []
