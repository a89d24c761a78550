"""Where frames go: video files, picture files, and video on a pipe."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from flowcli.atomic import Part, write_error
from flowcli.errors import OutputError
from flowcli.pictures import write_picture
from flowcli.types import Frame, Sink, StreamInfo
from flowcli.video import nut
from flowcli.video.encoder import REPEATABLE, Encoder, Encoding, VideoSink

_TAGS = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}
_MARK = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"


def _bt709(codec: dict[str, str], pixels: str) -> dict[str, str]:
    """Options whose tags and whose conversion say the same: BT.709, limited range."""
    return {"vf": f"scale=out_color_matrix=bt709:out_range=tv,format={pixels},{_MARK}", **codec, **_TAGS}


# Without B frames decoding order is showing order: times and duration stay exact without an edit list.
_X264 = _bt709({"c:v": "libx264", "preset": "veryfast", "bf": "0"}, "yuv420p")
# cpu-used 8 is libvpx's fastest preset.
_LIBVPX = {"c:v": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8", "row-mt": "1", "b:v": "0"}
_VP9, _VP9_ALPHA = _bt709(_LIBVPX, "yuv420p"), _bt709(_LIBVPX | {"auto-alt-ref": "0"}, "yuva420p")
# ProRes 4444 is the one codec with alpha in .mov that every editing program opens; its alpha is lossless.
_PRORES = _bt709({"c:v": "prores_ks", "profile:v": "4444"}, "yuva444p10le")
_PALETTES = "split[a][b];[a]palettegen=stats_mode=single[palette];[b][palette]paletteuse=new=1"
_FASTSTART = {"movflags": "+faststart"}

_OPAQUE = {
    ".mp4": Encoding("mp4", _X264, crf=18, even=True, muxer_options=_FASTSTART),
    ".mov": Encoding("mov", _X264, crf=18, even=True, muxer_options=_FASTSTART),
    ".mkv": Encoding("matroska", _X264, crf=18, even=True, muxer_options=REPEATABLE),
    ".webm": Encoding("webm", _VP9, crf=24, muxer_options=REPEATABLE),
    ".gif": Encoding("gif", {"filter_complex": _PALETTES, "c:v": "gif"}),
}
_WITH_ALPHA = {
    ".webm": Encoding("webm", _VP9_ALPHA, nut.RGBA, crf=24, muxer_options=REPEATABLE),
    ".mov": Encoding("mov", _PRORES, nut.RGBA, muxer_options=_FASTSTART),
}


def open_video_sink(
    path: Path,
    info: StreamInfo,
    *,
    fps: Fraction | None = None,
    crf: int | None = None,
    overwrite: bool = False,
    alpha: bool = False,
    comment: Callable[[], str] | None = None,
) -> Sink[Frame]:
    """A sink that encodes frames of the size and aspect in `info` as `path`'s suffix says: .mp4 .mov .mkv .webm .gif.

    Frames keep their distance in time from the first one, which is shown at 0 (Matroska and WebM round to 1 ms, GIF to
    10 ms); with `fps` they come at that constant rate instead. crf: quality of x264 (default 18) or VP9 (24), lower is
    better. alpha: frames are RGBA, for .webm and .mov only. comment: called at the end, gives the `comment` tag; GIF
    has none. H.264 needs even sizes: a column is added on the right, a row below (logged). Raises OutputError,
    ValueError for alpha in another kind.
    """
    kinds = _WITH_ALPHA if alpha else _OPAQUE
    suffix = path.suffix.lower()
    if suffix not in _OPAQUE:
        raise OutputError(f"unknown kind of video: {path}", f"use one of {' '.join(_OPAQUE)}")
    if suffix not in kinds:
        raise ValueError(f"{suffix} holds no alpha, only {' '.join(kinds)} do")
    return VideoSink(Part(path, overwrite), kinds[suffix], info, fps, crf, None if suffix == ".gif" else comment)


def open_y4m_sink(stream: BinaryIO, info: StreamInfo, *, fps: Fraction | None = None) -> Sink[Frame]:
    """A sink that writes 8-bit 4:4:4 y4m to `stream` (an open file or pipe) at a constant rate, `fps` or info.rate.

    BT.601, limited range: what readers assume, for y4m cannot say it. Raises OutputError, and BrokenPipeError when the
    reader goes away.
    """
    return _Y4mSink(stream, info, fps or info.rate)


def open_picture_sink(
    target: Path, *, folder: bool, suffix: str = ".png", tag: str = "", overwrite: bool = False
) -> Sink[Frame]:
    """A sink that writes one picture file, or with `folder` one per frame: its name or number, then `tag` and `suffix`.

    Raises OutputError; ValueError for a second frame where one file is asked for.
    """
    return _PictureSink(Part(target, overwrite, folder), suffix, tag)


class _Y4mSink:
    def __init__(self, stream: BinaryIO, info: StreamInfo, rate: Fraction) -> None:
        stream.flush()
        self._encoder = Encoder(info, rate)
        chain = "scale=out_color_matrix=bt601:out_range=tv,format=yuv444p"
        self._encoder.start({"f": "yuv4mpegpipe", "vf": chain}, "pipe:1", stream)

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
        words = self._encoder.child.last_words()
        if status == -signal.SIGPIPE or "Broken pipe" in words:
            return BrokenPipeError(errno.EPIPE, "the reader of the y4m stream went away")
        return OutputError(f"cannot write y4m: {words}", "check where standard output goes")


class _PictureSink:
    def __init__(self, part: Part, suffix: str, tag: str) -> None:
        self._part = part
        self._suffix = suffix
        self._tag = tag
        self._count = 0

    def write(self, frame: Frame) -> None:
        part = self._part
        if self._count and not part.folder:
            raise ValueError(f"a second frame for the one picture {part.target}")
        name = f"{frame.stem}{self._tag}{self._suffix}"
        try:
            write_picture(part.path / name if part.folder else part.path, frame.image)
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
