"""Where frames go: video files, picture files, and video on a pipe."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from flowcli.atomic import Part, write_error
from flowcli.errors import OutputError
from flowcli.pictures import write_picture
from flowcli.types import Frame, Sink, StreamInfo
from flowcli.video import audio
from flowcli.video.audio import Soundtrack
from flowcli.video.encoder import GIF_PAUSE, MP4_PAUSE, REPEATABLE, Encoder, Encoding, VideoSink

_TAGS = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}
_MARK = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"


def _bt709(codec: dict[str, str], pixels: str) -> dict[str, str]:
    """Options whose tags and whose conversion say the same: BT.709, limited range."""
    return {"vf": f"scale=out_color_matrix=bt709:out_range=tv,format={pixels},{_MARK}", **codec, **_TAGS}


# cpu-used 8 is libvpx's fastest preset.
_LIBVPX = {"c:v": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8", "row-mt": "1", "b:v": "0"}
_PALETTES = "split[a][b];[a]palettegen=stats_mode=single[palette];[b][palette]paletteuse=new=1"
_FASTSTART = {"movflags": "+faststart"}


def _encodings(depth: str) -> tuple[dict[str, Encoding], dict[str, Encoding]]:
    """By suffix, those without and those with alpha. depth: what the names of pixel formats of that depth end with."""
    # Without B frames decoding order is showing order: times and duration stay exact without an edit list.
    x264 = _bt709({"c:v": "libx264", "preset": "veryfast", "bf": "0"}, f"yuv420p{depth}")
    vp9 = _bt709(_LIBVPX, f"yuv420p{depth}")
    # Alpha in more than 8 bits no ffmpeg writes.
    vp9_alpha = _bt709(_LIBVPX | {"auto-alt-ref": "0"}, "yuva420p")
    # ProRes 4444 is the one codec with alpha in .mov that every editing program opens; its alpha is lossless.
    prores = _bt709({"c:v": "prores_ks", "profile:v": "4444"}, "yuva444p10le")
    opaque = {
        ".mp4": Encoding("mp4", x264, 18, even=True, muxer_options=_FASTSTART, sound=audio.MP4, longest=MP4_PAUSE),
        ".mov": Encoding("mov", x264, 18, even=True, muxer_options=_FASTSTART, sound=audio.MOV, longest=MP4_PAUSE),
        ".mkv": Encoding("matroska", x264, 18, even=True, muxer_options=REPEATABLE, sound=audio.MATROSKA),
        ".webm": Encoding("webm", vp9, 24, muxer_options=REPEATABLE, sound=audio.WEBM),
        ".gif": Encoding("gif", {"filter_complex": _PALETTES, "c:v": "gif"}, longest=GIF_PAUSE),
    }
    alpha = {
        ".webm": Encoding("webm", vp9_alpha, 24, muxer_options=REPEATABLE, sound=audio.WEBM),
        ".mov": Encoding("mov", prores, muxer_options=_FASTSTART, sound=audio.MOV, longest=MP4_PAUSE),
    }
    return opaque, alpha


_ENCODINGS = {8: _encodings(""), 16: _encodings("10le")}
"""By the bits of the frames."""


def open_video_sink(
    path: Path,
    info: StreamInfo,
    *,
    fps: Fraction | None = None,
    crf: int | None = None,
    overwrite: bool = False,
    comment: Callable[[], str] | None = None,
    sound: Soundtrack | None = None,
) -> Sink[Frame]:
    """A sink that encodes frames such as `info` tells of as `path`'s suffix says: .mp4 .mov .mkv .webm .gif.

    Frames keep their distance in time from the first one, which is shown at 0 (Matroska and WebM round to 1 ms, GIF to
    10 ms); with `fps` they come at that constant rate instead. Those of 16 bits are stored in 10; in 8 in a GIF, and
    with alpha in WebM. RGBA is for .webm and .mov. crf: quality of x264 (default 18) or VP9 (24), lower is better.
    comment: called at the end, gives the `comment` tag; GIF has none. sound: is copied when all frames are there, as
    long as they last, or encoded anew where the file cannot hold its codec; GIF has none (logged). H.264 needs even
    sizes: a column is added on the right, a row below (logged). Raises OutputError, InputError for sound that cannot be
    read, ValueError for alpha in another kind.
    """
    opaque, with_alpha = _ENCODINGS[info.bits]
    suffix = path.suffix.lower()
    if suffix not in opaque:
        raise OutputError(f"unknown kind of video: {path}", f"use one of {' '.join(opaque)}")
    if info.alpha and suffix not in with_alpha:
        raise ValueError(f"{suffix} holds no alpha, only {' '.join(with_alpha)} do")
    encoding = (with_alpha if info.alpha else opaque)[suffix]
    return VideoSink(Part(path, overwrite), encoding, info, fps, crf, None if suffix == ".gif" else comment, sound)


def open_y4m_sink(stream: BinaryIO, info: StreamInfo, *, fps: Fraction | None = None) -> Sink[Frame]:
    """A sink that writes 4:4:4 y4m to `stream` (an open file or pipe) at a constant rate, `fps` or info.rate.

    8 bits, or 10 for frames of 16. BT.601, limited range: what readers assume, for y4m cannot say it. Raises
    OutputError, and BrokenPipeError when the reader goes away; ValueError for RGBA.
    """
    if info.alpha:
        raise ValueError("y4m holds no alpha")
    return _Y4mSink(stream, info, fps or info.rate)


def open_picture_sink(
    target: Path,
    *,
    folder: bool,
    suffix: str = ".png",
    tag: str = "",
    overwrite: bool = False,
    write: Callable[[Path, np.ndarray], None] = write_picture,
) -> Sink[Frame]:
    """A sink that writes one picture file, or with `folder` one per frame: its name or number, then `tag` and `suffix`.

    write: makes the file of a frame's image. Raises OutputError; ValueError for a second frame where one file is asked
    for.
    """
    return _PictureSink(Part(target, overwrite, folder), suffix, tag, write)


class _Y4mSink:
    def __init__(self, stream: BinaryIO, info: StreamInfo, rate: Fraction) -> None:
        stream.flush()
        self._encoder = Encoder(info, rate)
        deep = info.bits > 8
        chain = f"scale=out_color_matrix=bt601:out_range=tv,format=yuv444p{'10le' if deep else ''}"
        # More than 8 bits are an extension of y4m, which is common by now.
        extended = {"strict": "-1"} if deep else {}
        self._encoder.start({"f": "yuv4mpegpipe", "vf": chain, **extended}, "pipe:1", stream)

    def write(self, frame: Frame) -> None:
        try:
            self._encoder.write(frame)
        except BrokenPipeError as error:
            raise self._failed(self._encoder.child.wait()) from error

    def close(self) -> None:
        try:
            status = self._encoder.finish()
        except BrokenPipeError:
            status = self._encoder.child.wait()
        if status:
            raise self._failed(status)

    def abort(self) -> None:
        self._encoder.child.stop()

    def _failed(self, status: int) -> Exception:
        words = self._encoder.child.cause()
        if status == -signal.SIGPIPE or "Broken pipe" in " ".join(self._encoder.child.complaints):
            return BrokenPipeError(errno.EPIPE, "the reader of the y4m stream went away")
        return OutputError(f"cannot write y4m: {words}", "check where standard output goes")


class _PictureSink:
    def __init__(self, part: Part, suffix: str, tag: str, write: Callable[[Path, np.ndarray], None]) -> None:
        self._part = part
        self._suffix = suffix
        self._tag = tag
        self._write = write
        self._count = 0

    def write(self, frame: Frame) -> None:
        part = self._part
        if self._count and not part.folder:
            raise ValueError(f"a second frame for the one picture {part.target}")
        name = f"{frame.stem}{self._tag}{self._suffix}"
        try:
            self._write(part.path / name if part.folder else part.path, frame.image)
        except OSError as error:
            raise write_error(part.target, error) from error
        self._count += 1

    def close(self) -> None:
        if not self._count:
            self.abort()
            raise OutputError(f"no frame was written to {self._part.target}", "check the input")
        self._part.publish()

    def abort(self) -> None:
        self._part.discard()
