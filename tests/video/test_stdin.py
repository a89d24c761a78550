"""Video that comes through a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from flowcli.errors import InputError
from flowcli.video import ffmpeg_path, open_source
from tests.video import clips


@contextmanager
def piped(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`data` on a pipe that stands in for standard input."""
    end, start = os.pipe()
    writer = threading.Thread(target=_write, args=(start, data))
    with open(end, "rb") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        writer.start()
        yield
    writer.join()


def _write(descriptor: int, data: bytes) -> None:
    try:
        with open(descriptor, "wb") as pipe:
            pipe.write(data)
    except BrokenPipeError:
        pass


def encoded(frames: np.ndarray, *options: object) -> bytes:
    """The frames, 10 a second, as ffmpeg writes them into a pipe."""
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", 10, "-i", "-")
    return clips.ffmpeg(*raw, *options, "-", data=frames.tobytes())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "rate"),
    [
        (("-f", "yuv4mpegpipe", "-pix_fmt", "yuv444p"), 10),
        (("-f", "matroska", "-c:v", "ffv1"), 10),
        (("-f", "mpegts", "-c:v", "libx264", "-qp", 1), 10),
        (("-f", "nut", "-c:v", "rawvideo"), 10),
        (("-f", "image2pipe", "-c:v", "png"), 25),
        (("-f", "image2pipe", "-c:v", "ppm"), 25),
        (("-f", "image2pipe", "-c:v", "mjpeg", "-q:v", 1), 25),
        (("-f", "mp4", "-c:v", "libx264", "-qp", 1, "-movflags", "frag_keyframe+empty_moov"), 10),
        (("-f", "avi", "-c:v", "ffv1"), 10),
        (("-f", "flv", "-c:v", "flv1", "-q:v", 1), 10),
    ],
    ids=["y4m", "mkv", "ts", "nut", "png", "ppm", "mjpeg", "fragmented mp4", "avi", "flv"],
)
def test_formats(options: tuple[object, ...], rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with piped(encoded(clips.numbered(12), *options), monkeypatch), open_source("-") as source:
        assert (source.info.height, source.info.width) == clips.SIZE
        seen = [(frame.index, clips.number(frame.image), frame.time) for frame in source]
    assert [each[:2] for each in seen] == [(n, n) for n in range(12)]
    expected = [n / rate for n in range(12)]
    # FLV counts milliseconds.
    np.testing.assert_allclose([float(time) for _, _, time in seen], expected, atol=1e-9 if rate == 25 else 5e-4)
    if options[1] != "flv":
        assert [time for _, _, time in seen] == [Fraction(n, rate) for n in range(12)]


def test_fast_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("-c:v", "libx264", "-qp", 1, "-movflags", "+faststart")
    path = clips.write(tmp_path / "a.mp4", clips.numbered(12), *options)
    with piped(path.read_bytes(), monkeypatch), open_source("-") as source:
        assert [clips.number(frame.image) for frame in source] == list(range(12))


@pytest.mark.slow
def test_index_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (9, 480, 640, 3), np.uint8)
    path = clips.write(tmp_path / "a.mp4", noise, "-c:v", "libx264", "-qp", 10)
    # ffmpeg can go back a little in what it has read, so a clip of some kilobytes would work.
    assert path.stat().st_size > 2_000_000
    with piped(path.read_bytes(), monkeypatch), pytest.raises(InputError) as caught:
        open_source("-")
    assert caught.value.message == "standard input is an mp4 with its index at the end"
    assert caught.value.hint == "pass the file, or use mkv"


@pytest.mark.slow
def test_redirected_file_can_have_its_index_at_the_end(tmp_path: Path, root: Path) -> None:
    path = clips.write(tmp_path / "a.mp4", clips.numbered(3), "-c:v", "libx264")
    code = "from flowcli.video import open_source\nwith open_source('-') as frames: print(len(list(frames)))"
    with path.open("rb") as stdin:
        out = subprocess.run(
            [sys.executable, "-c", code], cwd=root, stdin=stdin, capture_output=True, check=True, timeout=60
        ).stdout
    assert out == b"3\n"


@pytest.mark.parametrize("data", [b"", b"just text\n" * 1000], ids=["nothing", "text"])
def test_not_a_video(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with piped(data, monkeypatch), pytest.raises(InputError) as caught:
        open_source("-")
    assert caught.value.message == "not a video: standard input"
    words = "Error opening input: Invalid data found when processing input"
    assert caught.value.hint == f"choose another file; ffmpeg says: {words}"


def test_cut_off(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    data = encoded(clips.numbered(12), "-f", "matroska", "-c:v", "png")
    with piped(data[: len(data) * 2 // 3], monkeypatch), open_source("-") as source:
        count = len(list(source))
    assert 6 <= count <= 8
    (message,) = caplog.messages
    assert message.startswith("standard input is damaged or cut off (")
    assert message.endswith(f"): {count} frames could be read")


def test_no_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match=r"^standard input is closed$"):
        open_source("-")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    with open(slave) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(InputError) as caught:
            open_source("-")
    os.close(master)
    assert caught.value.message == "standard input is a terminal"
    assert caught.value.hint == "pipe a video into it, or name a file"


@pytest.fixture
def endless() -> Iterator[subprocess.Popen[bytes]]:
    """A video without end, on the stdout of a process."""
    source = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=25", "-c:v", "rawvideo", "-f", "nut", "-")
    command = [str(ffmpeg_path()), "-v", "quiet", *source]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_what_lies_behind_stop_is_not_waited_for(
    endless: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", endless.stdout)
    with open_source("-", start=2, stop=Fraction(10, 25), every=3) as source:
        assert source.info.frames is None
        assert [frame.index for frame in source] == [2, 5, 8]


def test_slow_reader_holds_back_the_writer(endless: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", endless.stdout)
    with open_source("-") as source:
        frames = iter(source)
        assert [next(frames).index for _ in range(50)] == list(range(50))
        assert endless.poll() is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = encoded(clips.numbered(5), "-f", "matroska", "-c:v", "ffv1")
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    with open_source(str(path)) as source:
        assert [clips.number(frame.image) for frame in source] == [0, 1, 2, 3, 4]
    writer.join()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/fd and bash")
def test_process_substitution(tmp_path: Path, root: Path) -> None:
    path = clips.write(tmp_path / "a.mkv", clips.numbered(5))
    code = "import sys; from flowcli.video import open_source; print(len(list(open_source(sys.argv[1]))))"
    script = '"$1" -c "$2" <(cat "$3")'
    command = ["bash", "-c", script, "bash", sys.executable, code, str(path)]
    assert subprocess.run(command, cwd=root, capture_output=True, check=True, timeout=60).stdout == b"5\n"
