"""Video files and picture files that are written."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import torch

from flowcli.draw.color import flow_to_rgb
from flowcli.errors import OutputError
from flowcli.pictures import read_unscaled
from flowcli.types import Frame, StreamInfo, drain
from flowcli.video import open_picture_sink, open_source, open_video_sink
from tests.video import clips

SUFFIXES = [".mp4", ".mov", ".mkv", ".webm", ".gif"]
H264 = [".mp4", ".mov", ".mkv"]
UNEVEN = [Fraction(text) for text in ("0", "1/30", "1/10", "1001/3000", "1/2", "2", "600")]
CLOCK = {".mkv": 1000, ".webm": 1000, ".gif": 100}
"""Ticks per second of a container that has no finer ones."""


def frames(images: np.ndarray, times: list[Fraction] | None = None) -> list[Frame]:
    times = times or [Fraction(index, 25) for index in range(len(images))]
    return [Frame(image, index, time) for index, (image, time) in enumerate(zip(images, times, strict=True))]


def write(
    path: Path,
    images: np.ndarray,
    times: list[Fraction] | None = None,
    *,
    rate: Fraction = Fraction(25),
    aspect: Fraction = Fraction(1),
    **options: Any,
) -> Path:
    """A video file of `images`, made by the sink."""
    _, height, width, channels = images.shape
    bits: Literal[8, 16] = 16 if images.dtype == np.uint16 else 8
    info = StreamInfo(height, width, rate, aspect=aspect, alpha=channels == 4, bits=bits)
    drain(frames(images, times), [open_video_sink(path, info, **options)])
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", [".mkv", ".png"])
def test_grey_frames(tmp_path: Path, suffix: str) -> None:
    image = np.repeat(np.arange(48, dtype=np.uint8)[:, None] * 5, 64, axis=1)
    path = tmp_path / f"a{suffix}"
    info = StreamInfo(48, 64, Fraction(25))
    sink = open_picture_sink(path, folder=False) if suffix == ".png" else open_video_sink(path, info, crf=0)
    drain([Frame(image, 0, Fraction(0))], [sink])
    if suffix == ".png":
        np.testing.assert_array_equal(read_unscaled(path), image)
    else:
        (stored,) = clips.rgb(path, *clips.SIZE)
        assert np.abs(stored.astype(int) - image[..., None]).max() <= 2


def rounded(times: list[Fraction], suffix: str) -> list[Fraction]:
    clock = CLOCK.get(suffix)
    return [Fraction(math.floor(time * clock + Fraction(1, 2)), clock) for time in times] if clock else times


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frames_keep_their_times(tmp_path: Path, suffix: str) -> None:
    start = Fraction(10)
    path = write(tmp_path / f"a{suffix}", clips.numbered(7), [start + time for time in UNEVEN])
    assert clips.times(path) == rounded(UNEVEN, suffix)
    assert [clips.number(image) for image in clips.rgb(path, *clips.SIZE)] == list(range(7))
    assert names(tmp_path) == [path.name]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24), Fraction(60000, 1001)])
def test_constant_rate_stays_constant(tmp_path: Path, suffix: str, rate: Fraction) -> None:
    times = [index / rate for index in range(20)]
    path = write(tmp_path / f"a{suffix}", clips.numbered(20), times, rate=rate)
    assert clips.times(path) == rounded(times, suffix)
    if suffix != ".gif":
        assert f" {round(float(rate), 2):g} fps" in clips.banner(path)
    last = clips.durations(path)[-1]
    assert abs(last - 1 / rate) <= Fraction(1, CLOCK.get(suffix, 10**6))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_frame_lasts_as_long_as_others(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", clips.numbered(1), [Fraction(5)])
    assert clips.times(path) == [0]
    assert clips.durations(path) == [Fraction(1, 25)]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_fps(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", clips.numbered(7), UNEVEN, fps=Fraction(12))
    assert clips.times(path) == rounded([Fraction(index, 12) for index in range(7)], suffix)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_times_that_repeat_or_step_back(tmp_path: Path, suffix: str) -> None:
    times = [Fraction(each, 10) for each in (0, 1, 1, 0, 3)]
    path = write(tmp_path / f"a{suffix}", clips.numbered(5), times)
    assert [clips.number(image) for image in clips.rgb(path, *clips.SIZE)] == [0, 1, 2, 3, 4]


def test_a_pause_that_mp4_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        write(tmp_path / "a.mp4", clips.numbered(2), [Fraction(0), Fraction(3000)])
    assert caught.value.message == "frame 1 comes more than 49 minutes after the one before it"
    assert caught.value.hint == "use --fps"
    assert names(tmp_path) == []
    pause = Fraction(2900)
    assert clips.times(write(tmp_path / "a.mp4", clips.numbered(2), [Fraction(0), pause])) == [0, pause]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("height", "width"), [(65, 97), (48, 97), (1, 1), (2, 1)])
def test_odd_sizes_are_neither_cropped_nor_shifted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, height: int, width: int
) -> None:
    images = clips.numbered(3, height, width)
    images[:, height // 2 :] //= 2
    path = write(tmp_path / f"a{suffix}", images)
    even = (height + height % 2, width + width % 2) if suffix in H264 else (height, width)
    written = clips.rgb(path, *even)
    assert np.abs(written[:, :height, :width].astype(int) - images).max() < 20
    np.testing.assert_allclose(written[:, height:, :width], images[:, -1:].repeat(even[0] - height, 1), atol=20)
    expected = [f"{path} is {even[1]}x{even[0]}: H.264 needs even sizes, the border is repeated"]
    assert caplog.messages == (expected if suffix in H264 else [])


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_aspect_of_pixels(tmp_path: Path, suffix: str) -> None:
    text = clips.banner(write(tmp_path / f"a{suffix}", clips.numbered(2), aspect=Fraction(3, 2)))
    # A GIF can only come near.
    assert ("SAR 96:64" if suffix == ".gif" else "SAR 3:2") in text


@pytest.fixture(scope="module")
def wheel() -> np.ndarray:
    """The colour wheel, 96x128, zero flow in the middle."""
    y, x = np.mgrid[-1:1:96j, -1:1:128j]
    return flow_to_rgb(torch.from_numpy(np.stack([x, y])).float(), 1.0).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_colours_and_what_is_said_of_them(tmp_path: Path, wheel: np.ndarray, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", wheel[None].repeat(3, 0), crf=4)
    assert "yuv420p(tv, bt709, progressive)" in clips.banner(path)
    for y, u, v in clips.planes(path, "yuv420p", "u1", (96, 128), (48, 64), (48, 64)):
        error = wheel - clips.yuv_to_rgb(y, u, v, "bt709", False)
        assert np.abs(error).mean() < 2.5
        assert np.abs(error.mean((0, 1))).max() < 1
    with open_source(str(path)) as source:
        for frame in source:
            assert np.abs(frame.image.astype(int) - wheel).mean() < 3


@pytest.mark.slow
def test_quality(tmp_path: Path, wheel: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(-20, 20, (8, *wheel.shape))
    images = np.clip(wheel + noise, 0, 255).astype(np.uint8)
    for suffix in (".mp4", ".webm"):
        fine, normal, coarse = (
            write(tmp_path / f"{crf}{suffix}", images, crf=crf).stat().st_size for crf in (5, None, 45)
        )
        assert fine > 1.5 * normal > 3 * coarse


def test_gif_has_a_palette_per_frame(tmp_path: Path, wheel: np.ndarray) -> None:
    images = np.stack([wheel // 4, 255 - wheel // 4])
    path = write(tmp_path / "a.gif", images)
    for written, image in zip(clips.rgb(path, 96, 128), images, strict=True):
        assert np.abs(written.astype(int) - image).mean() < 3
    assert path.read_bytes().count(b"\x21\xf9\x04") == 2


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".webm", ".mov"])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (65, 97)])
def test_alpha(tmp_path: Path, suffix: str, height: int, width: int) -> None:
    images = np.concatenate([clips.numbered(4, height, width), np.full((4, height, width, 1), 255, np.uint8)], 3)
    images[:, : height // 2, :, 3] = 0
    images[:, height // 2 :, width // 2 :, 3] = 128
    path = write(tmp_path / f"a{suffix}", images, comment=lambda: "holes")
    decoder = ("-c:v", "libvpx-vp9") if suffix == ".webm" else ()
    raw = clips.ffmpeg(*decoder, "-i", path, "-f", "rawvideo", "-pix_fmt", "rgba", "-")
    written = np.frombuffer(raw, np.uint8).reshape(images.shape).astype(int)
    error = np.abs(written[..., 3] - images[..., 3])
    assert error.mean() < 1
    assert np.abs(written - images)[images[..., 3] == 255].mean() < 4
    assert clips.comment(path) == "holes"


def test_alpha_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^\.mp4 holds no alpha, only \.webm \.mov do$"):
        open_video_sink(tmp_path / "a.mp4", StreamInfo(48, 64, Fraction(25), alpha=True))
    assert names(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_comment(tmp_path: Path, suffix: str) -> None:
    text = "flow colours are full at 3 px; ünï \"q\" 'a' =x;#\\ %d"
    bare = write(tmp_path / f"b{suffix}", clips.numbered(7), UNEVEN)
    path = write(tmp_path / f"a{suffix}", clips.numbered(7), UNEVEN, comment=lambda: text, aspect=Fraction(3, 2))
    assert clips.comment(path) == (None if suffix == ".gif" else text)
    assert clips.times(path) == clips.times(bare)
    assert clips.durations(path) == clips.durations(bare)
    np.testing.assert_array_equal(clips.rgb(path, *clips.SIZE), clips.rgb(bare, *clips.SIZE))
    if suffix != ".gif":
        assert "(tv, bt709, progressive)" in clips.banner(path)
        assert "SAR 3:2" in clips.banner(path)
    assert names(tmp_path) == [path.name, bare.name]


@pytest.mark.slow
@pytest.mark.parametrize("comment", [None, lambda: "text"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_index_comes_first(tmp_path: Path, suffix: str, comment: object) -> None:
    """So that a browser or a pipe can play the file as it comes."""
    data = write(tmp_path / f"a{suffix}", clips.numbered(3), comment=comment).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


NAMES = ["a b;c.mp4", "http:x.mp4", "-x.mp4", "x%03d.mp4", "it's.mkv", 'a"b\nc.mkv', "ünï.MP4", "a\udcff.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_file_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(name), clips.numbered(3), comment=lambda: "text")
    assert names(tmp_path) == [name]
    (tmp_path / name).rename("a.mp4")
    assert len(clips.times(tmp_path / "a.mp4")) == 3


def test_pictures_in_a_folder(tmp_path: Path) -> None:
    images = clips.numbered(3, 5, 7)
    sink = open_picture_sink(tmp_path / "out", folder=True, tag="_bwd")
    drain([Frame(images[0], 4, Fraction(0)), Frame(images[1], 12, Fraction(0), "name")], [sink])
    assert names(tmp_path / "out") == ["000004_bwd.png", "name_bwd.png"]
    for name, image in (("000004_bwd", images[0]), ("name_bwd", images[1])):
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / f"out/{name}.png")), image[..., ::-1])


def test_one_picture(tmp_path: Path) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    drain([Frame(rgba, 0, Fraction(0))], [open_picture_sink(tmp_path / "a.png", folder=False)])
    stored = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    np.testing.assert_array_equal(stored, rgba[..., [2, 1, 0, 3]])
    sink = open_picture_sink(tmp_path / "b.png", folder=False)
    with pytest.raises(ValueError, match=rf"^a second frame for the one picture {re.escape(str(tmp_path))}/b\.png$"):
        drain(frames(clips.numbered(2)), [sink])
    assert names(tmp_path) == ["a.png"]
