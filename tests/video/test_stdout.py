"""What the sinks write into pipes."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch

from flowcli.errors import OutputError
from flowcli.types import FlowField, FlowPair, Frame, StreamInfo, drain
from flowcli.video import open_nut_sink, open_y4m_sink
from tests.video import clips

pytestmark = pytest.mark.slow

UNEVEN = [Fraction(0), Fraction(1, 30), Fraction(1, 10), Fraction(1001, 3000), Fraction(1, 2), Fraction(700)]
full_disk = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")


def frames(images: np.ndarray, times: list[Fraction]) -> list[Frame]:
    return [Frame(image, index, time) for index, (image, time) in enumerate(zip(images, times, strict=True))]


def steady(count: int) -> list[Fraction]:
    return [Fraction(index, 25) for index in range(count)]


def pair(uv: np.ndarray, time: Fraction, valid: np.ndarray | None = None, index: int = 0) -> FlowPair:
    image = np.zeros((*uv.shape[1:], 3), np.uint8)
    mask = None if valid is None else torch.from_numpy(valid)
    first, second = Frame(image, index, time), Frame(image, index + 1, time + 1)
    return FlowPair(first, second, FlowField(torch.from_numpy(uv), mask), at=first)


def flows(count: int, height: int, width: int) -> np.ndarray:
    values = np.random.default_rng(3).normal(0, 30, (count, 2, height, width)).astype(np.float32)
    values[0, 0, 0, :5] = (-0.0, 1e-30, -1e30, np.float32(np.pi), -123456.78)
    return values


@contextmanager
def reader_gone() -> Iterator[BinaryIO]:
    """A pipe whose reader went away."""
    end, start = os.pipe()
    os.close(end)
    stream = open(start, "wb")  # noqa: SIM115 - what is left in it cannot be flushed
    try:
        yield stream
    finally:
        stream.raw.close()


@pytest.mark.parametrize(("height", "width"), [(48, 64), (65, 97), (1, 5)])
def test_flow_arrives_bit_by_bit(tmp_path: Path, height: int, width: int) -> None:
    path, uv = tmp_path / "a.nut", flows(len(UNEVEN), height, width)
    with path.open("wb") as stream:
        sink = open_nut_sink(stream, StreamInfo(height, width, Fraction(30), aspect=Fraction(4, 3)))
        for index, time in enumerate(UNEVEN):
            sink.write(pair(uv[index], time, index=index))
        sink.close()
    output = ("-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gbrpf32le", "-")
    planes = np.frombuffer(clips.ffmpeg("-i", path, *output), "<f4").reshape(-1, 3, height, width)
    assert planes[:, :2].tobytes() == uv.tobytes()
    assert (planes[:, 2] == 1).all()
    assert clips.times(path) == UNEVEN
    assert "SAR 4:3" in clips.banner(path)


@pytest.mark.parametrize("masked", [True, False], ids=["mask", "nan alone"])
def test_unknown_flow_is_zero(tmp_path: Path, masked: bool) -> None:
    path, uv = tmp_path / "a.nut", flows(1, 5, 7)
    valid = np.random.default_rng(4).random((5, 7)) < 0.5
    uv[0, 1, ~valid] = np.nan
    with path.open("wb") as stream:
        sink = open_nut_sink(stream, StreamInfo(5, 7, Fraction(25)))
        sink.write(pair(uv[0], Fraction(0), valid if masked else None))
        sink.close()
    raw = clips.ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "gbrpf32le", "-")
    np.testing.assert_array_equal(
        np.frombuffer(raw, "<f4").reshape(3, 5, 7), [*np.where(valid, uv[0], 0), valid.astype(np.float32)]
    )


def test_pair_seen_from_its_end_has_the_same_time(tmp_path: Path) -> None:
    path, uv = tmp_path / "a.nut", flows(1, 5, 7)
    start, forward = pair(uv[0], Fraction(0)), pair(uv[0], Fraction(1, 3))
    with path.open("wb") as stream:
        sink = open_nut_sink(stream, StreamInfo(5, 7, Fraction(25)))
        for each in (start, forward):
            sink.write(replace(each, first=each.second, second=each.first))
        sink.close()
    assert clips.times(path) == [0, Fraction(1, 3)]


def test_times_that_step_back_still_rise(tmp_path: Path) -> None:
    path, uv = tmp_path / "a.nut", flows(1, 5, 7)
    times = [Fraction(each, 10) for each in (-1, 2, 1, 2, 3)]
    with path.open("wb") as stream:
        sink = open_nut_sink(stream, StreamInfo(5, 7, Fraction(25)))
        for time in times:
            sink.write(pair(uv[0], time))
        sink.close()
    written = clips.times(path)
    assert written == sorted(set(written))
    np.testing.assert_allclose([float(time) for time in written], [0, 0.2, 0.2, 0.2, 0.3], atol=1e-4)


def test_flow_of_another_size() -> None:
    sink = open_nut_sink(io.BytesIO(), StreamInfo(5, 7, Fraction(25)))
    with pytest.raises(ValueError, match=r"^flow is \(2, 7, 5\), the stream \(5, 7\)$"):
        sink.write(pair(flows(1, 7, 5)[0], Fraction(0)))


def test_flow_goes_behind_what_the_stream_held_back(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as stream:
        stream.write(b"before")
        open_nut_sink(stream, StreamInfo(5, 7, Fraction(25))).close()
        stream.write(b"after")
    data = (tmp_path / "a").read_bytes()
    assert data.startswith(b"beforenut/multimedia container\0")
    assert data.endswith(b"after")


def test_flow_into_a_pipe_that_does_not_block() -> None:
    end, start = os.pipe()
    os.set_blocking(start, False)
    uv = flows(1, 200, 300)
    with open(end, "rb") as reader, open(start, "wb") as stream:
        received: list[bytes] = []
        thread = threading.Thread(target=lambda: received.append(reader.read()))
        sink = open_nut_sink(stream, StreamInfo(200, 300, Fraction(25)))
        threading.Timer(0.1, thread.start).start()
        sink.write(pair(uv[0], Fraction(0)))
        sink.close()
        stream.close()
        thread.join()
    assert uv.tobytes() in received[0]


def test_reader_of_flow_goes_away() -> None:
    with reader_gone() as stream, pytest.raises(BrokenPipeError):
        open_nut_sink(stream, StreamInfo(5, 7, Fraction(25)))


@full_disk
def test_no_space_for_flow() -> None:
    with open("/dev/full", "wb") as stream:
        with pytest.raises(OutputError) as caught:
            open_nut_sink(stream, StreamInfo(5, 7, Fraction(25)))
        assert caught.value.message == "cannot write nut: No space left on device"
        assert caught.value.hint == "check where standard output goes"


@pytest.mark.parametrize(("height", "width"), [(48, 64), (65, 97), (1, 1)])
@pytest.mark.parametrize("fps", [None, Fraction(12)])
def test_y4m(tmp_path: Path, height: int, width: int, fps: Fraction | None) -> None:
    path, images = tmp_path / "a.y4m", clips.numbered(6, height, width)
    images[3] = np.random.default_rng(0).integers(0, 256, images[3].shape, np.uint8)
    with path.open("wb") as stream:
        info = StreamInfo(height, width, Fraction(30000, 1001), aspect=Fraction(12, 11))
        sink = open_y4m_sink(stream, info, fps=fps)
        for frame in frames(images, UNEVEN):
            sink.write(frame)
        sink.close()
    header, data = path.read_bytes().split(b"\n", 1)
    rate = b"F12:1" if fps else b"F30000:1001"
    assert header.split()[:5] == [b"YUV4MPEG2", b"W%d" % width, b"H%d" % height, rate, b"Ip"]
    # ffmpeg drops the aspect of a single pixel.
    assert (b"A12:11" in header.split()) == (width > 1)
    assert b"C444" in header.split()
    assert b"XCOLORRANGE=LIMITED" in header.split()
    for image, planes in zip(images, data.split(b"FRAME\n")[1:], strict=True):
        y, u, v = np.frombuffer(planes, np.uint8).reshape(3, height, width)
        assert np.abs(image - clips.yuv_to_rgb(y, u, v, "bt601", False)).max() < 3
    assert len(clips.times(path)) == 6


def test_y4m_comes_as_it_is_made() -> None:
    """A viewer at the other end sees frames long before the end, and a slow one holds us back."""
    end, start = os.pipe()
    with open(end, "rb") as reader, open(start, "wb") as stream:
        sink = open_y4m_sink(stream, StreamInfo(*clips.SIZE, Fraction(25)))
        count = 0

        def write() -> None:
            nonlocal count
            with suppress(OutputError):
                for frame in frames(clips.numbered(1).repeat(2000, 0), steady(2000)):
                    sink.write(frame)
                    count += 1

        writer = threading.Thread(target=write)
        writer.start()
        assert reader.readline().startswith(b"YUV4MPEG2 ")
        writer.join(1.5)
        assert 0 < count < 1500
        sink.abort()
        reader.close()
        writer.join()


def test_reader_of_y4m_goes_away() -> None:
    with reader_gone() as stream:
        sink = open_y4m_sink(stream, StreamInfo(*clips.SIZE, Fraction(25)))
        with pytest.raises(BrokenPipeError) as caught:
            drain(frames(clips.numbered(500), steady(500)), [sink])
        assert caught.value.errno == errno.EPIPE


@full_disk
@pytest.mark.parametrize("count", [1, 500])
def test_no_space_for_y4m(count: int) -> None:
    with open("/dev/full", "wb") as stream:
        sink = open_y4m_sink(stream, StreamInfo(*clips.SIZE, Fraction(25)))
        with pytest.raises(OutputError) as caught:
            drain(frames(clips.numbered(count), steady(count)), [sink])
    assert re.fullmatch(r"cannot write y4m: .*No space left on device", caught.value.message)
    assert caught.value.hint == "check where standard output goes"


EXIT = """
import sys
from fractions import Fraction
import numpy as np
from flowcli.errors import OutputError
from flowcli.types import Frame, StreamInfo
from flowcli.video import open_nut_sink
try:
    open_nut_sink(sys.stdout.buffer, StreamInfo(5, 7, Fraction(25)))
except OutputError as error:
    sys.exit(str(error))
"""


@full_disk
def test_nothing_is_written_again_at_exit(root: Path) -> None:
    with open("/dev/full", "wb") as stream:
        done = subprocess.run(
            [sys.executable, "-c", EXIT], cwd=root, stdout=stream, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert done.stderr == b"cannot write nut: No space left on device\n"
    assert done.returncode == 1
