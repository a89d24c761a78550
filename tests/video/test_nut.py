"""The bytes of flowcli.video.nut, as ffmpeg understands them."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from flowcli.video import ffmpeg_path, nut
from tests.video import clips

TICK = Fraction(1, 90_000)
TICKS = [0, 1, 127, 128, 16_383, 16_384, 90_000, 2**31]
PIXELS = {nut.RGB24: ("rgb24", 3), nut.RGBA: ("rgba", 4), nut.GBRPF32LE: ("gbrpf32le", 12)}


def stream(
    fourcc: bytes, height: int, width: int, ticks: list[int], aspect: Fraction = Fraction(1)
) -> tuple[bytes, bytes]:
    """A stream with a frame of noise at each of `ticks`, and the frames alone."""
    muxer = nut.Muxer(fourcc, height, width, Fraction(30000, 1001), TICK, aspect)
    frames = np.random.default_rng(5).bytes(len(ticks) * height * width * PIXELS[fourcc][1])
    size = len(frames) // len(ticks)
    parts = [muxer.header]
    for index, tick in enumerate(ticks):
        parts += [muxer.frame(tick, size), frames[index * size : (index + 1) * size]]
    return b"".join(parts), frames


def decode(data: bytes, pixels: str) -> tuple[bytes, bytes]:
    """The frames as they are stored, read from a pipe, and what is said of checksums and the like that are wrong."""
    strict = ("-v", "error", "-err_detect", "crccheck+bitstream+buffer+explode", "-f", "nut", "-i", "-")
    timing = ("-fps_mode", "passthrough", "-enc_time_base", "demux")
    command = [str(ffmpeg_path()), *strict, *timing, "-f", "rawvideo", "-pix_fmt", pixels, "-"]
    done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=60)
    return done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("fourcc", list(PIXELS))
@pytest.mark.parametrize(("height", "width"), [(1, 1), (65, 97), (200, 300)])
def test_frames_and_times_are_exact(tmp_path: Path, fourcc: bytes, height: int, width: int) -> None:
    data, frames = stream(fourcc, height, width, TICKS)
    assert decode(data, PIXELS[fourcc][0]) == (frames, b"")
    path = tmp_path / "a.nut"
    path.write_bytes(data)
    assert clips.times(path) == [tick * TICK for tick in TICKS]


def test_rate_and_aspect(tmp_path: Path) -> None:
    path = tmp_path / "a.nut"
    path.write_bytes(stream(nut.RGB24, 48, 64, [0, 3003, 6006], Fraction(12, 11))[0])
    text = clips.banner(path)
    assert "64x48" in text
    assert "SAR 12:11 DAR 16:11" in text
    assert "29.97 tbr, 90k tbn" in text


@pytest.mark.parametrize("place", [40, 160, 9500])
def test_checksums_are_looked_at(place: int) -> None:
    """The test above would prove nothing of them if ffmpeg did not mind."""
    data, frames = stream(nut.RGB24, 48, 64, [0, 3003])
    damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    assert decode(damaged, "rgb24") != (frames, b"")


def test_a_stream_in_a_file_can_be_searched(tmp_path: Path) -> None:
    data, frames = stream(nut.RGB24, 48, 64, [index * 3003 for index in range(60)])
    path = tmp_path / "a.nut"
    path.write_bytes(data)
    size = len(frames) // 60
    start = 40 * 3003 / 90_000
    raw = clips.ffmpeg("-ss", start, "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    assert raw[:size] == frames[40 * size : 41 * size]
