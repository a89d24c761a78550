"""ffmpeg children that encode: they take frames on stdin, and write a file or a pipe."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import BinaryIO

import ffmpeg
import numpy as np

from flowcli.atomic import Part, write_error
from flowcli.errors import LimitError, OutputError
from flowcli.types import Frame, StreamInfo
from flowcli.video import nut
from flowcli.video.audio import SoundEncoding, Soundtrack, audio_codec, sound_input, sound_options
from flowcli.video.ffmpeg import Child, every_frame, file_url

_LOG = logging.getLogger("flowcli")

TICK = Fraction(1, 720_000)
"""Unit of written times, seconds. It divides 1/90000, 1/48000, 1/1000, 1001/24000, 1001/60000 and so on; other times
are rounded by less than a microsecond."""
MP4_PAUSE = (2**31 - 1) * TICK
"""Seconds that a frame can be shown in mp4 and mov: less than 2^31 ticks, which are 49 minutes."""
GIF_PAUSE = Fraction(65535, 100)
REPEATABLE = {"fflags": "+bitexact"}
"""Muxer options that leave random numbers out of Matroska: the same input gives the same file."""


@dataclass(frozen=True)
class Encoding:
    """How ffmpeg writes one kind of file."""

    muxer: str
    options: dict[str, str]
    crf: int | None = None
    """Default quality, for codecs that have this setting."""
    even: bool = False
    """Whether height and width must be even."""
    muxer_options: dict[str, str] = field(default_factory=dict)
    sound: SoundEncoding | None = None
    """None where the file holds none."""
    longest: Fraction | None = None
    """Seconds that a frame can be shown, None where there is no limit."""


_FOURCC = {(False, 8): nut.RGB24, (True, 8): nut.RGBA, (False, 16): nut.RGB48LE, (True, 16): nut.RGBA64LE}
"""What ffmpeg gets, by `alpha` and `bits` of the frames."""


_ANY_HINT = "check the free space and memory"
_HINTS = {
    r"[Ii]nvalid width|[Ww]idth or height|[Dd]imensions|number \d+ of slices|[Pp]icture size|Invalid parameter": (
        "this kind of video takes no pictures of that size: write a folder of pictures, or another kind"
    ),
}
"""What to do, by what ffmpeg complains of first."""


class Encoder:
    """An ffmpeg child that takes frames with exact times on stdin; `info` says what they are."""

    def __init__(
        self, info: StreamInfo, fps: Fraction | None, even: bool = False, longest: Fraction | None = None
    ) -> None:
        self._shape = (info.height, info.width, 3 + info.alpha)
        self._dtype = np.dtype(f"<u{info.bits // 8}")
        rows, columns = (info.height % 2, info.width % 2) if even else (0, 0)
        self.padded = bool(rows or columns)
        self._padding = ((0, rows), (0, columns), (0, 0))
        self._fixed = fps is not None
        self._longest = longest
        self.size = (info.height + rows, info.width + columns)
        self._rate = fps or info.rate
        fourcc = _FOURCC[info.alpha, info.bits]
        self._muxer = nut.Muxer(fourcc, *self.size, self._rate, 1 / fps if fps else TICK, info.aspect)
        self.zero: Fraction | None = None
        """Time of the first frame, which is shown at 0."""
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
        image = frame.image
        if image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=2)
        if image.shape != self._shape:
            raise ValueError(f"frame {frame.index} is {image.shape}, the video {self._shape}")
        if image.dtype.newbyteorder("<") != self._dtype:
            raise ValueError(f"frame {frame.index} is {image.dtype}, the video {self._dtype}")
        if self.zero is None:
            self.zero = frame.time
        image = np.pad(image, self._padding, "edge") if self.padded else image
        ticks = self.count if self._fixed else round((frame.time - self.zero) / self._muxer.tick)
        if self._longest is not None and self._last >= 0 and (ticks - self._last) * self._muxer.tick > self._longest:
            minutes = int(self._longest // 60)
            raise LimitError(
                f"frame {frame.index} comes more than {minutes} minutes after the one before it",
                "use --fps, or another kind of file, as .mkv",
            )
        # A damaged stream can repeat a time or step back; no container takes that.
        self._last = max(ticks, self._last + 1)
        self._pipe.write(self._muxer.frame(self._last, image.nbytes))
        self._pipe.write(np.ascontiguousarray(image, self._dtype).data)
        self.count += 1

    @property
    def seconds(self) -> Fraction:
        """How long what was written so far is shown."""
        return self._last * self._muxer.tick + 1 / self._rate if self.count else Fraction(0)

    def finish(self) -> int:
        """ffmpeg's exit status when all is written. Raises BrokenPipeError if it ended before."""
        self._pipe.close()
        return self.child.wait()


class VideoSink:
    """A sink that writes a video file. comment: called at the end, gives the `comment` tag. sound: added at the end."""

    def __init__(
        self,
        part: Part,
        encoding: Encoding,
        info: StreamInfo,
        fps: Fraction | None = None,
        crf: int | None = None,
        comment: Callable[[], str] | None = None,
        sound: Soundtrack | None = None,
    ) -> None:
        self._part = part
        self._encoding = encoding
        self._comment = comment
        self._sound = sound
        self._encoder = Encoder(info, fps, encoding.even, encoding.longest)
        options = {"f": encoding.muxer, **encoding.options}
        if encoding.crf is not None:
            options["crf"] = str(encoding.crf if crf is None else crf)
        try:
            self._codec = None if sound is None or encoding.sound is None else audio_codec(sound.path)
            if not self._unfinished:
                options |= encoding.muxer_options
            self._encoder.start(options, file_url(part.path), subprocess.DEVNULL)
        except BaseException:
            part.discard()
            raise

    @property
    def _unfinished(self) -> bool:
        """Whether something is added when all frames are there."""
        return self._comment is not None or self._codec is not None

    def write(self, frame: Frame) -> None:
        try:
            self._encoder.write(frame)
        except LimitError as error:
            raise LimitError(f"cannot write {self._part.target}: {error.message}", error.hint) from error
        except OSError as error:
            raise self._failed() from error

    def close(self) -> None:
        if not self._encoder.count:
            self.abort()
            raise OutputError(f"no frame was written to {self._part.target}", "check the input")
        try:
            if self._encoder.finish():
                raise self._failed()
            if self._unfinished:
                self._complete()
            self._part.publish()
        except BrokenPipeError as error:
            raise self._failed() from error
        except OSError as error:
            self.abort()
            raise write_error(self._part.target, error) from error
        except BaseException:
            self.abort()
            raise
        if self._encoder.padded:
            size = "{1}x{0}".format(*self._encoder.size)
            _LOG.warning("%s is %s: H.264 needs even sizes, the border is repeated", self._part.target, size)
        if self._sound is not None and self._encoding.sound is None:
            _LOG.warning("%s has no sound: %s holds none", self._part.target, self._encoding.muxer.upper())

    def abort(self) -> None:
        self._encoder.child.stop()
        self._part.discard()

    def _complete(self) -> None:
        """Copies the packets into a second file with the tag, which must be known before the first, and the sound."""
        bare = self._part.path
        whole = bare.with_stem(f"{bare.stem}.whole")
        streams = [ffmpeg.input(file_url(bare))["v"]]
        options = {"c:v": "copy", "f": self._encoding.muxer, **self._encoding.muxer_options}
        if self._comment is not None:
            options["metadata"] = f"comment={self._comment()}"
        if self._sound is not None and self._codec is not None and self._encoding.sound is not None:
            streams.append(sound_input(self._sound, self._encoder.zero or Fraction(0), self._encoder.seconds))
            options |= sound_options(self._sound, self._codec, self._encoding.sound)
        copy = Child(ffmpeg.output(*streams, filename=file_url(whole), **options).overwrite_output())
        try:
            if copy.wait():
                raise self._error(copy)
            os.replace(whole, bare)
        finally:
            copy.stop()
            whole.unlink(missing_ok=True)

    def _failed(self) -> OutputError:
        self._encoder.child.wait()
        self.abort()
        return self._error(self._encoder.child)

    def _error(self, child: Child) -> OutputError:
        cause = child.cause()
        hint = next((hint for words, hint in _HINTS.items() if re.search(words, cause)), "")
        kind = LimitError if hint else OutputError
        return kind(f"cannot write {self._part.target}: {cause}", hint or _ANY_HINT)
