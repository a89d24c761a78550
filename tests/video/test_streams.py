"""Which stream of a file is read, and how: HDR, interlaced video, several streams."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from flowcli.video import decoding, open_source
from flowcli.video.streams import Hdr, VideoStream, parse_stream, shown_by_players
from tests.video import clips

TAGS = ("-color_primaries", "bt2020", "-colorspace", "bt2020nc")
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
"""From linear BT.709 to linear BT.2020. Source: ITU-R BT.2087, table 2."""


def _read(path: Path, **options: bool) -> list[np.ndarray]:
    with open_source(str(path), **options) as source:  # type: ignore[arg-type]
        return [frame.image for frame in source]


def _pq(light: np.ndarray) -> np.ndarray:
    """Signal, 0 to 1, of light in candelas per square metre. Source: SMPTE ST 2084."""
    power = (np.maximum(light, 0) / 10_000) ** (2610 / 16384)
    return np.asarray(((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))


def _shown(light: np.ndarray) -> np.ndarray:
    """8-bit values for which a display gives that light, 1 for white. Source: ITU-R BT.1886."""
    return np.asarray(255 * light ** (1 / 2.4))


def _hdr_clip(path: Path, light: np.ndarray, transfer: str, signal: np.ndarray | None = None) -> Path:
    """Three frames of one row of patches, each 8 pixels wide; light: (N, 3), BT.709 primaries, candelas."""
    signal = _pq(light @ TO_BT2020.T) if signal is None else signal
    stored = np.rint(np.clip(signal, 0, 1) * 65535).astype("<u2").repeat(8, axis=0)
    frames = np.broadcast_to(stored, (3, 8, *stored.shape))
    size = f"{stored.shape[0]}x8"
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", size, "-r", "10", "-i", "-")
    chain = "scale=out_color_matrix=bt2020:out_range=tv:flags=accurate_rnd,format=yuv444p10le"
    marks = f"setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc={transfer}:range=tv"
    tags = (*TAGS, "-color_trc", transfer, "-color_range", "tv")
    clips.ffmpeg(*raw, "-vf", f"{chain},{marks}", "-c:v", "ffv1", *tags, f"file:{path}", data=frames.tobytes())
    return path


needs_filters = pytest.mark.skipif(not decoding.can_map_tones(), reason="this ffmpeg has no zscale and tonemap")


@needs_filters
def test_hdr_is_shown_as_bright_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Up to 60 candelas colours are what BT.709 shows of the same light; beyond, they stay apart and below white."""
    grey = np.array([0, 1, 5, 10, 20, 40, 60, 100, 203, 400, 1000, 4000.0])
    colours = np.array([[40, 4, 4], [4, 40, 4], [4, 4, 40], [40, 30, 10]])
    light = np.concatenate((np.repeat(grey[:, None], 3, axis=1), colours))
    path = _hdr_clip(tmp_path / "pq.mkv", light, "smpte2084")
    frames = _read(path)
    assert caplog.messages == [f"{path} is HDR (PQ): its colours are mapped to BT.709"]
    assert len(frames) == 3
    found = frames[1][4, 4::8].astype(float)
    dark = light.max(axis=1) <= 60
    assert np.abs(found - _shown(light / 203))[dark].max() <= 3
    bright = found[6:12, 0]
    assert (np.diff(bright) > 0).all()
    assert bright[-1] <= 255
    assert 200 < bright[2] < 230


@needs_filters
def test_hlg(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    signal = np.repeat(np.array([0.1, 0.25, 0.5, 0.75, 0.9, 1.0])[:, None], 3, axis=1)
    path = _hdr_clip(tmp_path / "hlg.mkv", signal, "arib-std-b67", signal)
    found = _read(path)[0][4, 4::8].astype(float)
    assert caplog.messages == [f"{path} is HDR (HLG): its colours are mapped to BT.709"]
    assert (np.ptp(found, axis=1) <= 1).all()
    assert (np.diff(found[:, 0]) > 0).all()
    # 0.75 is white. Source: ITU-R BT.2408, table 1.
    assert 200 < found[3, 0] < 230


def test_times_and_selection_stay(tmp_path: Path) -> None:
    path = _hdr_clip(tmp_path / "pq.mkv", np.full((3, 3), 100.0), "smpte2084")
    with open_source(str(path), start=1, every=1) as source:
        assert [(frame.index, frame.time) for frame in source] == [(1, Fraction(1, 10)), (2, Fraction(1, 5))]


def test_without_the_filters_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _hdr_clip(tmp_path / "pq.mkv", np.full((3, 3), 100.0), "smpte2084")
    monkeypatch.setattr("flowcli.video.sources.can_map_tones", lambda: False)
    assert len(_read(path)) == 3
    assert caplog.messages == [f"{path} is HDR (PQ): its colours are not mapped, this ffmpeg has no zscale and tonemap"]


def test_a_pipe_is_not_mapped(tmp_path: Path) -> None:
    path = _hdr_clip(tmp_path / "pq.mkv", np.full((3, 3), 100.0), "smpte2084")
    script = (
        "import logging; logging.basicConfig(format='%(message)s')\n"
        "from flowcli.video import open_source\n"
        "print(len(list(open_source('-'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=path.read_bytes(), capture_output=True, check=True, timeout=60
    )
    assert done.stdout == b"3\n"
    told = "standard input is HDR (PQ): its colours are not mapped, a pipe is read once: name the file"
    assert done.stderr.decode().splitlines() == [told]


def _two_streams(path: Path, sizes: tuple[str, str], default: int | None) -> Path:
    """White in the first stream, black in the second."""
    inputs = [
        each
        for size, colour in zip(sizes, ("white", "black"), strict=True)
        for each in ("-f", "lavfi", "-i", f"color={colour}:s={size}:d=0.3:r=10")
    ]
    marks = [
        each for stream in (0, 1) for each in (f"-disposition:v:{stream}", "default" if stream == default else "0")
    ]
    clips.ffmpeg(*inputs, "-map", "0:v", "-map", "1:v", "-c:v", "mpeg4", *marks, f"file:{path}")
    return path


@pytest.mark.parametrize(
    ("sizes", "default", "taken"),
    [
        (("64x48", "96x80"), 0, "stream 0 (64x48, the default)"),
        (("96x80", "64x48"), 1, "stream 1 (64x48, the default)"),
        (("64x48", "96x80"), None, "stream 1 (96x80)"),
        (("96x80", "96x80"), None, "stream 0 (96x80)"),
    ],
)
def test_the_stream_that_players_show(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sizes: tuple[str, str], default: int | None, taken: str
) -> None:
    path = _two_streams(tmp_path / "two.mkv", sizes, default)
    frames = _read(path)
    assert caplog.messages == [f"{path} has 2 video streams: {taken} is taken"]
    assert len(frames) == 3
    black = "stream 1" in taken
    width, height = sizes[black].split("x")
    assert frames[0].shape == (int(height), int(width), 3)
    assert frames[0].mean() < 20 if black else frames[0].mean() > 235


def test_interlaced_video(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tff.mkv"
    options = ("-vf", "setfield=tff", "-c:v", "mpeg2video", "-q:v", "1", "-flags", "+ildct+ilme", "-g", "1")
    frames = np.full((12, 64, 96, 3), 40, np.uint8)
    for number in range(12):
        frames[number, 16:48, 4 + 6 * number : 20 + 6 * number] = 220
    woven = frames[::2].copy()
    woven[:, 1::2] = frames[1::2, 1::2]
    clips.write(path, woven, *options, rate=25)
    combed = _read(path)
    assert caplog.messages == [f"{path} is interlaced: --deinterlace makes whole pictures of it"]
    caplog.clear()
    whole = _read(path, deinterlace=True)
    assert caplog.messages == []
    assert len(whole) == len(combed) == 6

    def comb(image: np.ndarray) -> float:
        """How far lines are from the mean of those above and below."""
        grey = image.mean(axis=2)[18:46]
        return float(np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean())

    assert comb(combed[2]) > 10
    assert comb(whole[2]) < 1
    # The first field of each frame is what it shows.
    assert np.abs(whole[2].astype(int) - frames[4])[18:46:2].mean() < 6


LINE = "  Stream #0:0[0x1](und): Video: hevc (Main 10) (hvc1 / 0x31637668), yuv420p10le({}), 64x48 [SAR 1:1 DAR 4:3], "


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            LINE.format("tv, bt2020nc/bt2020/smpte2084, progressive") + "6 kb/s, 10 fps, 10 tbr, 10240 tbn (default)",
            VideoStream(
                0, "yuv420p10le", 64, 48, Fraction(10), default=True, hdr=Hdr("smpte2084", "bt2020nc", "bt2020")
            ),
        ),
        (
            LINE.format("tv, unknown/unknown/arib-std-b67") + "23.98 fps, 23.98 tbr",
            VideoStream(0, "yuv420p10le", 64, 48, Fraction("23.98"), hdr=Hdr("arib-std-b67")),
        ),
        (
            "  Stream #0:2: Video: png, rgb24(pc, gbr/unknown/unknown), 600x600, 90k tbr, 90k tbn (attached pic)",
            VideoStream(2, "rgb24", 600, 600, cover=True),
        ),
        ("  Stream #0:1: Video: h264, none, 25k fps, 90k tbn", VideoStream(1, "none", mean_rate=Fraction(25_000))),
        ("  Stream #0:1: Video: none", VideoStream(1)),
        ("  Stream #0:1(eng): Audio: aac (LC), 44100 Hz, stereo, fltp, 64 kb/s", None),
        ("    title           : Stream #0:1: Video: h264, yuv420p, 64x48", None),
    ],
)
def test_lines_of_streams(line: str, expected: VideoStream | None) -> None:
    assert parse_stream(line) == expected


def test_covers_are_never_shown() -> None:
    cover = VideoStream(0, width=3000, height=3000, default=True, cover=True)
    small, large = VideoStream(1, width=64, height=48), VideoStream(2, width=96, height=48)
    assert shown_by_players([cover]) is None
    assert shown_by_players([cover, small, large]) == large
