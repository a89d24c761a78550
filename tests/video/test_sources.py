from __future__ import annotations

import logging
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from flowcli.types import Frame
from flowcli.video import open_source
from flowcli.video.selection import Selection
from tests.video import clips

CLIPS = [
    "av1_video.mkv", "bigbuckbunny.mp4", "bikes.mp4", "bt709_full_range.mp4", "carphone.mp4", "chaplin.mp4",
    "h264_10bits.mp4", "realshort.mp4", "rot_0.mov", "rot_180.mov", "sintel_cave_2.mp4", "smpte-2997.mp4",
    "vfr_odd444.mp4",
]  # fmt: skip
UNEVEN = [Fraction(ms, 1000) for ms in (0, 33, 40, 200, 201, 500, 1000, 1040, 1080, 3000, 3003, 4000)]


def read(path: object, **selection: int | Fraction | None) -> list[Frame]:
    with open_source(str(path), **selection) as frames:  # type: ignore[arg-type]
        return list(frames)


def images(path: object, **selection: int | Fraction | None) -> np.ndarray:
    return np.stack([frame.image for frame in read(path, **selection)])


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_every_coded_frame_once_with_its_time(shared: Path, name: str) -> None:
    path = shared / "videos" / name
    with open_source(str(path)) as source:
        info = source.info
        seen = []
        for frame in source:
            assert frame.image.shape == (info.height, info.width, 3)
            seen.append((frame.index, frame.time))
    assert seen == list(enumerate(clips.times(path)))
    assert info.frames is not None
    assert abs(info.frames - len(seen)) <= 1
    assert f" {info.width}x{info.height}" in clips.banner(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pixels", "matrix", "full", "mean", "most"),
    [
        ("bt709_full_range.mp4", "yuvj420p", "bt709", True, 1, 3),
        ("rot_0.mov", "yuv420p", "bt709", False, 1.5, 4),
        ("vfr_odd444.mp4", "yuv444p", "bt601", False, 0.5, 1),
        ("h264_10bits.mp4", "yuv420p10le", "bt601", False, 2, 256),
    ],
)
def test_colours_are_those_that_the_stream_declares(
    shared: Path, name: str, pixels: str, matrix: str, full: bool, mean: float, most: float
) -> None:
    path = shared / "videos" / name
    with open_source(str(path), stop=2) as source:
        frames = [frame.image for frame in source]
    height, width = frames[0].shape[:2]
    small = (height, width) if "444" in pixels else (-(-height // 2), -(-width // 2))
    bits, dtype = (10, "<u2") if "10le" in pixels else (8, "u1")
    planes = clips.planes(path, pixels, dtype, (height, width), small, small)
    for image, (y, u, v) in zip(frames, planes, strict=False):
        error = image - clips.yuv_to_rgb(y, u, v, matrix, full, bits)
        assert np.abs(error).mean() < mean
        assert np.abs(error).max() <= most


def test_rotation_is_applied(shared: Path) -> None:
    stored = clips.rgb(shared / "videos" / "rot_180.mov", 320, 568, rotate=False)
    np.testing.assert_array_equal(images(shared / "videos" / "rot_180.mov"), stored[:, ::-1, ::-1])


@pytest.mark.parametrize(("angle", "turns"), [(90, 1), (270, 3)])
def test_rotation_swaps_the_sides_and_the_aspect(tmp_path: Path, angle: int, turns: int) -> None:
    frames = clips.numbered(3)
    frames[:, :10, :20] = (255, 0, 0)
    lying = clips.write(tmp_path / "a.mp4", frames, "-c:v", "libx264rgb", "-qp", 0, "-vf", "setsar=2/1")
    clips.ffmpeg("-display_rotation", angle, "-i", lying, "-c", "copy", tmp_path / "b.mp4")
    with open_source(str(tmp_path / "b.mp4")) as source:
        assert (source.info.height, source.info.width, source.info.aspect) == (64, 48, Fraction(1, 2))
        np.testing.assert_array_equal([frame.image for frame in source], np.rot90(frames, turns, (1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("avi", "mpeg4"), ("h264", "libx264"), ("hevc", "libx265"), ("ivf", "libvpx"), ("m4v", "mpeg4"),
        ("mjpeg", "mjpeg"), ("mpg", "mpeg2video"), ("mxf", "mpeg2video"), ("ogv", "libtheora"), ("ts", "mpeg2video"),
        ("wmv", "wmv2"),
    ],
)  # fmt: skip
def test_formats(tmp_path: Path, suffix: str, codec: str) -> None:
    options = ("-c:v", codec, *(() if codec in ("mjpeg", "wmv2", "libtheora", "libvpx") else ("-bf", 2)))
    path = clips.lavfi(tmp_path / f"a.{suffix}", "testsrc=size=320x240:rate=25:duration=0.4", *options)
    with open_source(str(path)) as source:
        assert source.info.rate == 25
        # An MPEG program stream tells when its first and last picture are decoded, not shown.
        assert source.info.frames is None or abs(source.info.frames - 10) <= 2
        seen = [(frame.index, frame.time) for frame in source]
    assert seen == list(enumerate(clips.times(path)))
    assert len(seen) == 10


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_uneven_times(tmp_path: Path, suffix: str) -> None:
    options = ("-c:v", "libx264rgb", "-qp", 0, "-bf", 2)
    path = clips.vfr(tmp_path / f"a.{suffix}", clips.numbered(len(UNEVEN), 65, 97), UNEVEN, *options)
    frames = read(path)
    assert [frame.time for frame in frames] == UNEVEN
    assert [clips.number(frame.image) for frame in frames] == list(range(len(UNEVEN)))


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (None, None),
        (3, 9),
        (Fraction(1, 5), Fraction(1)),
        (Fraction("0.2011"), Fraction("3.003")),
        (2, Fraction("1.0401")),
        (Fraction("0.04"), 11),
        (11, 99),
    ],
)
def test_selection_at_uneven_times(
    tmp_path: Path, start: int | Fraction | None, stop: int | Fraction | None, every: int
) -> None:
    path = clips.vfr(tmp_path / "a.mkv", clips.numbered(len(UNEVEN)), UNEVEN)
    frames = read(path, start=start, stop=stop, every=every)
    expected = clips.wanted(Selection(start, stop, every), UNEVEN)
    assert [(frame.index, clips.number(frame.image), frame.time) for frame in frames] == [
        (index, index, UNEVEN[index]) for index in expected
    ]


@pytest.mark.parametrize("rate", [Fraction(3), Fraction(10000, 1001), Fraction(40)])
def test_frames_are_taken_by_their_times(tmp_path: Path, rate: Fraction) -> None:
    path = clips.vfr(tmp_path / "a.mkv", clips.numbered(len(UNEVEN)), UNEVEN)
    for start, stop in ((None, None), (Fraction("0.2011"), 11)):
        expected = clips.wanted(Selection(start, stop, rate=rate), UNEVEN)
        frames = read(path, start=start, stop=stop, rate=rate)
        assert [(frame.index, frame.time) for frame in frames] == [(index, UNEVEN[index]) for index in expected]


@pytest.mark.parametrize(("rate", "count"), [(30, 20), (25, 17), (10, 7)])
def test_times_that_a_file_rounds_leave_no_frame_out(tmp_path: Path, rate: int, count: int) -> None:
    """Of 30 frames per second, in milliseconds."""
    path = clips.lavfi(tmp_path / "a.mkv", "testsrc=size=64x48:rate=30", "-frames:v", 20, "-c:v", "ffv1")
    with open_source(str(path), rate=Fraction(rate)) as source:
        assert source.info.frames == count
        assert len(list(source)) == count


@pytest.mark.slow
def test_number_of_frames_is_known_beforehand(tmp_path: Path) -> None:
    path = clips.lavfi(tmp_path / "a.mp4", "testsrc=size=64x48:rate=30000/1001", "-frames:v", 30)
    cases: list[tuple[dict[str, int | Fraction], int]] = [
        ({}, 30),
        ({"start": 5, "stop": 12, "every": 3}, 3),
        ({"start": Fraction(1, 2)}, 15),
        ({"stop": Fraction(1, 2)}, 15),
        ({"stop": 99}, 30),
    ]
    for selection, count in cases:
        with open_source(str(path), **selection) as source:  # type: ignore[arg-type]
            assert source.info.rate == Fraction(30000, 1001)
            assert source.info.frames == count
            assert len(list(source)) == count


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("mkv", ("-c:v", "ffv1", "-pix_fmt", "bgra")),
        ("mov", ("-c:v", "qtrle", "-pix_fmt", "argb")),
        ("mkv", ("-c:v", "png", "-pix_fmt", "rgba")),
    ],
)
def test_alpha_is_dropped(tmp_path: Path, suffix: str, options: tuple[str, ...]) -> None:
    frames = clips.numbered(4)
    alpha = np.zeros((4, *clips.SIZE, 1), np.uint8)
    alpha[1:3] = 128
    path = clips.write(tmp_path / f"a.{suffix}", np.concatenate([frames, alpha], 3), *options)
    np.testing.assert_array_equal(images(path), frames)


def test_alpha_of_vp9_is_dropped(tmp_path: Path) -> None:
    frames = np.concatenate([clips.numbered(4), np.full((4, *clips.SIZE, 1), 255, np.uint8)], 3)
    options = ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-crf", 4, "-b:v", 0, "-auto-alt-ref", 0)
    path = clips.write(tmp_path / "a.webm", frames, *options)
    assert [clips.number(image) for image in images(path)] == [0, 1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("pixels", ["rgb48le", "gray16le", "gray", "yuv444p16le", "monob", "gbrpf32le"])
def test_pixel_formats(tmp_path: Path, pixels: str) -> None:
    codec = {"monob": "png", "gbrpf32le": "rawvideo"}.get(pixels, "ffv1")
    path = tmp_path / ("a.nut" if codec == "rawvideo" else "a.mkv")
    frames = np.stack([np.zeros((13, 18, 3)), np.full((13, 18, 3), 255), np.zeros((13, 18, 3))]).astype(np.uint8)
    clips.write(path, frames, "-c:v", codec, "-pix_fmt", pixels)
    assert np.abs(images(path).astype(int) - frames).max() <= 1


def test_two_video_streams_and_sound(tmp_path: Path) -> None:
    first = clips.write(tmp_path / "1.mkv", clips.numbered(5))
    second = clips.write(tmp_path / "2.mkv", clips.numbered(9, 20, 30))
    sound = clips.lavfi(tmp_path / "3.mkv", "sine=duration=0.5", "-c:a", "flac")
    inputs = ("-i", sound, "-i", first, "-i", second)
    clips.ffmpeg(*inputs, "-map", 0, "-map", 1, "-map", 2, "-c", "copy", tmp_path / "a.mkv")
    with open_source(str(tmp_path / "a.mkv")) as source:
        assert (source.info.height, source.info.width, source.info.audio) == (*clips.SIZE, True)
        assert [clips.number(frame.image) for frame in source] == [0, 1, 2, 3, 4]
    with open_source(str(first)) as source:
        assert not source.info.audio


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    video = clips.write(tmp_path / "1.mp4", clips.numbered(5), "-c:v", "libx264rgb", "-qp", 0)
    cover = clips.lavfi(tmp_path / "2.png", "color=red:size=20x30", "-frames:v", 1)
    maps = ("-map", 1, "-map", 0, "-disposition:v:0", "attached_pic")
    clips.ffmpeg("-i", video, "-i", cover, *maps, "-c", "copy", tmp_path / "a.mp4")
    assert "(attached pic)" in clips.banner(tmp_path / "a.mp4")
    assert [clips.number(image) for image in images(tmp_path / "a.mp4")] == [0, 1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["mkv", "y4m", "ts", "nut"])
def test_no_duration(tmp_path: Path, suffix: str) -> None:
    """As written into a pipe, where nobody can go back and fill in the duration."""
    muxer = {"mkv": "matroska", "y4m": "yuv4mpegpipe", "ts": "mpegts", "nut": "nut"}[suffix]
    codec = {"mkv": "ffv1", "ts": "mpeg2video"}.get(suffix)
    options = ("-c:v", codec) if codec else ("-pix_fmt", "yuv444p")
    source = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=0.6")
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(clips.ffmpeg(*source, *options, "-f", muxer, "-"))
    with open_source(str(path)) as frames:
        if suffix == "mkv":
            assert frames.info.frames is None
        assert [(frame.index, frame.time) for frame in frames] == [(n, Fraction(n, 25)) for n in range(15)]


def test_no_rate(tmp_path: Path) -> None:
    """What a browser records: Matroska's clock of 1000 ticks a second is not its rate."""
    path = clips.vfr(tmp_path / "a.mkv", clips.numbered(4), UNEVEN[:4], rate=1000)
    with open_source(str(path)) as frames:
        assert frames.info.rate == 25
        assert [frame.time for frame in frames] == UNEVEN[:4]


def test_size_that_changes_in_mid_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = []
    for size in ("64x48", "96x80", "64x48"):
        source = ("-f", "lavfi", "-i", f"color=red:size={size}:rate=25:duration=0.4")
        parts.append(clips.ffmpeg(*source, "-c:v", "libx264", "-bf", 0, "-qp", 2, "-f", "h264", "-"))
    path = tmp_path / "a.h264"
    path.write_bytes(b"".join(parts))
    frames = read(path)
    assert len(frames) == len(clips.times(path)) == 30
    assert [frame.index for frame in frames] == list(range(30))
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert all(np.abs(frame.image.astype(int) - (255, 0, 0)).max() < 6 for frame in frames)
    assert f"{path} changes its frame size to 96x80: scaled to the first" in caplog.messages


def test_fields_are_left_alone(tmp_path: Path) -> None:
    frames = clips.numbered(4)
    frames[:, 1::2] = 255 - frames[:, 1::2]
    options = ("-c:v", "libx264rgb", "-qp", 0, "-flags", "+ildct+ilme", "-x264-params", "tff=1")
    path = clips.write(tmp_path / "a.mp4", frames, *options)
    assert "top first" in clips.banner(path)
    np.testing.assert_array_equal(images(path), frames)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (65, 97)])
def test_odd_sizes(tmp_path: Path, height: int, width: int) -> None:
    frames = clips.numbered(3, height, width)
    np.testing.assert_array_equal(images(clips.write(tmp_path / "a.mkv", frames)), frames)


def test_animated_gif(tmp_path: Path) -> None:
    frames = clips.numbered(3)
    path = clips.write(tmp_path / "a.gif", frames, "-c:v", "gif")
    assert [(frame.time, clips.number(frame.image)) for frame in read(path)] == [(Fraction(n, 10), n) for n in range(3)]


def test_time_of_the_sound_counts(tmp_path: Path) -> None:
    """Sound that begins first is where the file begins; ffmpeg says so too."""
    video = clips.write(tmp_path / "1.mkv", clips.numbered(5))
    sound = clips.lavfi(tmp_path / "2.mkv", "sine=duration=0.5", "-c:a", "flac")
    clips.ffmpeg("-i", sound, "-itsoffset", 0.25, "-i", video, "-map", 0, "-map", 1, "-c", "copy", tmp_path / "a.mkv")
    expected = clips.times(tmp_path / "a.mkv")
    assert expected[0] == Fraction(1, 4)
    assert [frame.time for frame in read(tmp_path / "a.mkv")] == expected


MEASURE = """
import resource, sys
from flowcli.video import open_source
count = 0
with open_source(sys.argv[1]) as frames:
    for frame in frames:
        count += 1
        if count == 20:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
def test_memory_does_not_grow_with_length(tmp_path: Path, root: Path) -> None:
    path = clips.lavfi(tmp_path / "a.mkv", "testsrc=size=320x240:rate=25:duration=80", "-c:v", "mpeg2video", "-g", 9)
    command = [sys.executable, "-c", MEASURE, str(path)]
    out = subprocess.run(command, cwd=root, capture_output=True, check=True, timeout=60).stdout
    count, grown = map(int, out.split())
    assert count == 2000
    assert grown < 4096


def test_nothing_is_said_about_a_sound_video(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    read(clips.write(tmp_path / "a.mkv", clips.numbered(5)), every=2)
    assert caplog.messages == []
