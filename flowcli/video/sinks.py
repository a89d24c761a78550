"""Where frames and flow go: video files, picture files, and video on a pipe."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, BinaryIO

import ffmpeg
import numpy as np

from flowcli.atomic import Part, write_error
from flowcli.errors import OutputError
from flowcli.pictures import write_picture
from flowcli.types import FlowPair, Frame, Sink, StreamInfo
from flowcli.video import nut
from flowcli.video.ffmpeg import Child, every_frame, file_url

_LOG = logging.getLogger("flowcli")

TICK = Fraction(1, 720_000)
"""Unit of the times in what is written. It divides 1/90000, 1/48000, 1/1000, 1001/24000, 1001/60000 and so on; others
are rounded by less than a microsecond. In mp4 a frame lasts less than 2^31 ticks, which leaves 49 minutes here."""
_LONGEST = 2**31 - 1
_NO_ROOM = 0.01
"""Seconds until a pipe that was full is tried again."""

_TAGS = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}
_MARK = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"


@dataclass(frozen=True)
class _Encoding:
    """How ffmpeg writes one kind of file. Tags and the conversion always say the same: BT.709, limited range."""

    muxer: str
    options: dict[str, str]
    pixels: str = "yuv420p"
    crf: int | None = None
    even: bool = False
    """Whether height and width must be even."""
    muxer_options: dict[str, str] = field(default_factory=dict)


# Without B frames decoding order is showing order: times and duration stay exact without an edit list.
_X264 = {"c:v": "libx264", "preset": "veryfast", "bf": "0"}
# cpu-used 8 is libvpx's fastest preset.
_VP9 = {"c:v": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8", "row-mt": "1", "b:v": "0"}
_FASTSTART = {"movflags": "+faststart"}

_OPAQUE = {
    ".mp4": _Encoding("mp4", _X264, crf=18, even=True, muxer_options=_FASTSTART),
    ".mov": _Encoding("mov", _X264, crf=18, even=True, muxer_options=_FASTSTART),
    ".mkv": _Encoding("matroska", _X264, crf=18, even=True),
    ".webm": _Encoding("webm", _VP9, crf=24),
    ".gif": _Encoding("gif", {"c:v": "gif"}, "pal8"),
}
_WITH_ALPHA = {
    ".webm": _Encoding("webm", _VP9 | {"auto-alt-ref": "0"}, "yuva420p", crf=24),
    # ProRes 4444 is the one codec with alpha in .mov that every editing program opens; its alpha is lossless.
    ".mov": _Encoding("mov", {"c:v": "prores_ks", "profile:v": "4444"}, "yuva444p10le", muxer_options=_FASTSTART),
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
    10 ms); with `fps` they come at that constant rate instead. crf: quality of x264 (default 18) or VP9 (24), less is
    better. alpha: frames are RGBA, for .webm and .mov only. comment: asked at the end for the file's `comment` tag; GIF
    has none. H.264 needs even sizes: a column is added on the right, a row below (logged). Raises OutputError,
    ValueError for alpha in another kind.
    """
    kinds = _WITH_ALPHA if alpha else _OPAQUE
    suffix = path.suffix.lower()
    if suffix not in _OPAQUE:
        raise OutputError(f"unknown kind of video: {path}", f"use one of {' '.join(_OPAQUE)}")
    if suffix not in kinds:
        raise ValueError(f"{suffix} holds no alpha, only {' '.join(kinds)} do")
    return _VideoSink(Part(path, overwrite), kinds[suffix], info, fps, crf, alpha, comment)


def open_y4m_sink(stream: BinaryIO, info: StreamInfo, *, fps: Fraction | None = None) -> Sink[Frame]:
    """A sink that writes 8-bit 4:4:4 y4m to `stream` (an open file or pipe) at a constant rate, `fps` or info.rate.

    BT.601, limited range: what readers assume, for y4m cannot say it. Raises OutputError, and BrokenPipeError when the
    reader goes away.
    """
    return _Y4mSink(stream, info, fps or info.rate)


def open_nut_sink(stream: BinaryIO, info: StreamInfo) -> Sink[FlowPair]:
    """A sink that writes forward flow as a NUT stream of gbrpf32le pictures: G = u, B = v, R = 1 where known, else 0.

    Unknown flow is written as 0. The pictures have the source's own times. Raises OutputError, and BrokenPipeError when
    the reader goes away.
    """
    return _NutSink(stream, info)


def open_picture_sink(
    target: Path, *, folder: bool, suffix: str = ".png", tag: str = "", overwrite: bool = False
) -> Sink[Frame]:
    """A sink that writes one picture file, or with `folder` one per frame: its name or number, then `tag` and `suffix`.

    Raises OutputError; ValueError for a second frame where one file is asked for.
    """
    return _PictureSink(Part(target, overwrite, folder), suffix, tag)


class _Encoder:
    """An ffmpeg child that gets frames with exact times on its stdin."""

    def __init__(self, info: StreamInfo, fps: Fraction | None, even: bool, alpha: bool) -> None:
        self._shape = (info.height, info.width, 4 if alpha else 3)
        rows, columns = (info.height % 2, info.width % 2) if even else (0, 0)
        self.padded = bool(rows or columns)
        self._padding = ((0, rows), (0, columns), (0, 0))
        self._fixed = fps is not None
        fourcc = nut.RGBA if alpha else nut.RGB24
        self.size = (info.height + rows, info.width + columns)
        self._muxer = nut.Muxer(fourcc, *self.size, fps or info.rate, 1 / fps if fps else TICK, info.aspect)
        self._zero: Fraction | None = None
        self._last = -1
        self.count = 0

    def start(self, options: dict[str, str], url: str | bytes, stdout: int | BinaryIO) -> None:
        tick = self._muxer.tick
        timing = {"enc_time_base": f"{tick.numerator}/{tick.denominator}", **every_frame()}
        source = ffmpeg.input("pipe:0", f="nut", protocol_whitelist="pipe")
        command = source.output(filename=url, **timing, **options)
        self.child = Child(command.overwrite_output(), subprocess.PIPE, stdout)
        assert self.child.process.stdin is not None
        self._pipe = self.child.process.stdin
        self._pipe.write(self._muxer.header)

    def write(self, frame: Frame) -> None:
        if frame.image.shape != self._shape:
            raise ValueError(f"frame {frame.index} is {frame.image.shape}, the video {self._shape}")
        if self._zero is None:
            self._zero = frame.time
        image = np.pad(frame.image, self._padding, "edge") if self.padded else frame.image
        ticks = self.count if self._fixed else round((frame.time - self._zero) / self._muxer.tick)
        if ticks - self._last > _LONGEST:
            raise OutputError(f"frame {frame.index} comes more than 49 minutes after the one before it", "use --fps")
        # A damaged stream can repeat a time or step back; no container takes that.
        self._last = max(ticks, self._last + 1)
        self._pipe.write(self._muxer.frame(self._last, image.nbytes))
        self._pipe.write(np.ascontiguousarray(image).data)
        self.count += 1

    def finish(self) -> int:
        """ffmpeg's exit status when all is written. Raises BrokenPipeError if it ended before."""
        self._pipe.close()
        return self.child.wait()


class _VideoSink:
    def __init__(
        self,
        part: Part,
        encoding: _Encoding,
        info: StreamInfo,
        fps: Fraction | None,
        crf: int | None,
        alpha: bool,
        comment: Callable[[], str] | None,
    ) -> None:
        self._part = part
        self._encoding = encoding
        self._comment = comment if encoding.muxer != "gif" else None
        self._encoder = _Encoder(info, fps, encoding.even, alpha)
        options = _file_options(encoding, crf)
        if self._comment is None:
            options |= encoding.muxer_options
        self._encoder.start(options, file_url(part.path), subprocess.DEVNULL)

    def write(self, frame: Frame) -> None:
        try:
            self._encoder.write(frame)
        except OSError as error:
            raise self._failed() from error

    def close(self) -> None:
        if not self._encoder.count:
            self.abort()
            raise OutputError(f"no frame was written to {self._part.target}", "check the input")
        try:
            if self._encoder.finish():
                raise self._failed()
            if self._comment is not None:
                self._tag(self._comment())
            self._part.publish()
        except OSError as error:
            raise self._failed() from error
        except BaseException:
            self.abort()
            raise
        if self._encoder.padded:
            size = "{1}x{0}".format(*self._encoder.size)
            _LOG.warning("%s is %s: H.264 needs even sizes, the border is repeated", self._part.target, size)

    def abort(self) -> None:
        self._encoder.child.stop()
        self._part.discard()

    def _tag(self, comment: str) -> None:
        """Copies the packets into a second file, since a tag stands where it must be known before the first frame."""
        untagged = self._part.path
        tagged = untagged.with_stem(f"{untagged.stem}.tagged")
        options = {"c": "copy", "f": self._encoding.muxer, "metadata": f"comment={comment}"}
        options |= self._encoding.muxer_options
        command = ffmpeg.input(file_url(untagged)).output(filename=file_url(tagged), **options)
        copy = Child(command.overwrite_output())
        try:
            if copy.wait():
                raise self._error(copy)
            os.replace(tagged, untagged)
        finally:
            copy.stop()
            tagged.unlink(missing_ok=True)

    def _failed(self) -> OutputError:
        self._encoder.child.wait()
        self.abort()
        return self._error(self._encoder.child)

    def _error(self, child: Child) -> OutputError:
        return OutputError(f"cannot write {self._part.target}: {child.last_words()}", "check the free space and memory")


def _file_options(encoding: _Encoding, crf: int | None) -> dict[str, str]:
    if encoding.pixels == "pal8":
        chain = "split[a][b];[a]palettegen=stats_mode=single[palette];[b][palette]paletteuse=new=1"
        return {"f": encoding.muxer, "filter_complex": chain, **encoding.options}
    chain = f"scale=out_color_matrix=bt709:out_range=tv,format={encoding.pixels},{_MARK}"
    options = {"f": encoding.muxer, "vf": chain, **encoding.options, **_TAGS}
    if encoding.crf is not None:
        options["crf"] = str(encoding.crf if crf is None else crf)
    return options


class _Y4mSink:
    def __init__(self, stream: BinaryIO, info: StreamInfo, rate: Fraction) -> None:
        stream.flush()
        self._encoder = _Encoder(info, rate, even=False, alpha=False)
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


class _NutSink:
    def __init__(self, stream: BinaryIO, info: StreamInfo) -> None:
        stream.flush()
        # Not through the stream's buffer: what is left in it after an error would be written again at exit.
        self._stream: IO[bytes] = getattr(stream, "raw", stream)
        self._size = (info.height, info.width)
        self._muxer = nut.Muxer(nut.GBRPF32LE, info.height, info.width, info.rate, TICK, info.aspect)
        self._last = -1
        self._write(self._muxer.header)

    def write(self, item: FlowPair) -> None:
        flow = item.forward
        if flow.uv.shape != (2, *self._size):
            raise ValueError(f"flow is {tuple(flow.uv.shape)}, the stream {self._size}")
        planes = np.empty((3, *self._size), "<f4")
        planes[:2] = flow.uv.cpu().numpy()
        planes[2] = 1
        if flow.valid is not None:
            planes[:, ~flow.valid.cpu().numpy()] = 0
        self._last = max(round(item.earlier.time / TICK), self._last + 1)
        self._write(self._muxer.frame(self._last, planes.nbytes))
        self._write(planes.data.cast("B"))

    def close(self) -> None:
        """All is written already."""

    def abort(self) -> None:
        """What is on the pipe stays there."""

    def _write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        try:
            while rest:
                # None: a pipe that does not block has no room.
                written = self._stream.write(rest)
                if written is None:
                    time.sleep(_NO_ROOM)
                rest = rest[written or 0 :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write nut: {error.strerror}", "check where standard output goes") from error


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
