"""Frames from a video file or a pipe: an ffmpeg child decodes them, and prints the time of each on stderr."""

from __future__ import annotations

import logging
import os
import queue
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import ffmpeg
import numpy as np

from flowcli.environment import PIXELS, max_pixels
from flowcli.errors import FfmpegError, InputError
from flowcli.inputs import STDIN, find_input
from flowcli.pictures import PICTURE_SUFFIXES
from flowcli.types import Closes, Frame, FrameSource, Gaps, StreamInfo
from flowcli.video.facts import Facts
from flowcli.video.ffmpeg import Child, every_frame, file_url
from flowcli.video.formats import SELF_CONTAINED
from flowcli.video.selection import Selection
from flowcli.video.sequence import PictureSource, is_animated, open_pictures, picture_pair

_LOG = logging.getLogger("flowcli")
_PIPE = "pipe:0"
_STDIN = "standard input"
_STDIN_FILE = "/dev/stdin"
_WITHOUT_HEADER = frozenset((".yuv", ".rgb", ".bgr", ".raw", ".nv12", ".uyvy", ".yuyv", ".i420"))


_HINTS = {
    r"\btrex\b|\btfhd\b": "it is a segment of a stream: put the init segment first, as in cat init.mp4 1.m4s > a.mp4",
    r"(?i)encrypt|decrypt|\bcenc\b": "it is encrypted: decrypt it first",
    r"max pixel count": f"{PIXELS}=N allows more",
    r"(?i)palette": "its palette is missing: get the file again, or convert it where it came from",
}
"""What to do, by what ffmpeg complains of."""


@dataclass(frozen=True)
class Pixels:
    """The form in which ffmpeg delivers pictures: (H, W, 3) arrays of `dtype`."""

    codec: str
    format: str
    depth: bytes
    """The third line of each picture's header."""
    dtype: str


RGB24 = Pixels("ppm", "rgb24", b"255\n", "u1")
RGB48 = Pixels("ppm", "rgb48be", b"65535\n", ">u2")
FLOATS = Pixels("pfm", "gbrpf32le", b"-1.000000\n", "<f4")


def open_source(
    source: str,
    second: str | None = None,
    *,
    start: int | Fraction | None = None,
    stop: int | Fraction | None = None,
    every: int = 1,
    strict: bool = False,
    gaps: Gaps = "skip",
) -> FrameSource:
    """The frames of a video file, of a folder or pattern of pictures, of two pictures, or ("-") of a video on stdin.

    start, stop: frame numbers if int, seconds if Fraction; `stop` is exclusive. every: keeps each nth frame from
    `start` on. A frame keeps its number in the source. gaps: how pictures follow on each other where the numbers in
    their names have gaps, or another sequence begins; both are logged. Raises InputError, at once or from the iterator;
    ValueError for bounds below 0. A stream that is damaged, or cut off, gives the frames that can be decoded, then one
    logged warning, or with `strict` InputError.
    """
    selection = Selection(start, stop, every)
    if second is not None:
        return PictureSource(picture_pair(source, second), selection, strict=strict)
    given = find_input(source)
    if given.form == "stdin" or (given.form == "file" and not _is_still(given.paths[0])):
        return open_video(source, selection, strict=strict)
    return open_pictures(given, selection, gaps, strict)


def _is_still(file: Path) -> bool:
    return file.suffix.lower() in PICTURE_SUFFIXES and not is_animated(file)


def open_video(source: str, selection: Selection, pixels: Pixels = RGB24, strict: bool = False) -> VideoSource:
    """The frames of a video file, or ("-") of a video on stdin. Raises InputError."""
    if source == STDIN:
        return _open_stdin(selection, pixels, strict)
    path = Path(source)
    if not os.access(path, os.R_OK):
        raise InputError(f"file is not readable: {source}", "check its permissions")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        # A pipe with a name, such as the shell's <(...): opened here, for a child does not have all our open files.
        with path.open("rb", buffering=0) as pipe:
            return VideoSource(source, _PIPE, pipe.fileno(), selection, pixels, strict)
    if status.st_size == 0:
        raise InputError(f"file is empty: {source}", "get it again, it has 0 bytes")
    return VideoSource(source, file_url(path), subprocess.DEVNULL, selection, pixels, strict)


def _open_stdin(selection: Selection, pixels: Pixels, strict: bool) -> VideoSource:
    if sys.stdin is None:
        raise InputError("standard input is closed", "pipe a video into it, or name a file")
    if sys.stdin.isatty():
        raise InputError("standard input is a terminal", "pipe a video into it, or name a file")
    descriptor = sys.stdin.fileno()
    # A file behind `<` is opened by its name: unlike a pipe it can be searched for an index at the end.
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode) and os.path.exists(_STDIN_FILE)
    # ffmpeg reads our own stdin, so that a slow run holds back whoever writes into the pipe.
    return VideoSource(_STDIN, file_url(_STDIN_FILE) if is_file else _PIPE, descriptor, selection, pixels, strict)


class VideoSource(Closes):
    """Every coded frame of the first real video stream once, upright, with its exact time; memory holds one frame.

    Raises InputError if there is none. If the size changes in mid-stream, frames are scaled to the first size (logged).
    """

    def __init__(
        self,
        name: str,
        url: str | bytes,
        stdin: int,
        selection: Selection,
        pixels: Pixels = RGB24,
        strict: bool = False,
    ) -> None:
        self.damage = ""
        self._strict = strict
        self._name = name
        self._pixels = pixels
        self._piped = url == _PIPE
        self._selection = selection
        self._facts = Facts()
        self._count = 0
        self._child = Child(_decoder(url, selection, pixels), stdin, subprocess.PIPE, self._facts.note)
        try:
            self._next = self._read()
            if self._next is None:
                raise self._nothing()
        except BaseException:
            self.close()
            raise
        height, width = self._next.image.shape[:2]
        facts = self._facts
        frames = None
        if facts.duration is not None:
            frames = len(selection.indices(round(facts.duration * facts.rate), facts.rate))
        self.info = StreamInfo(height, width, facts.rate, frames, facts.aspect, facts.audio)
        self.comment, self.stored = facts.comment, facts.pixels
        """The file's `comment` tag, "" if it has none, and the pixel format of what it holds, as ffmpeg calls it."""

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._next) is not None:
            self._next = None
            yield frame
            del frame
            self._next = self._read()
        self.close()

    def close(self) -> None:
        self._child.stop()

    def _read(self) -> Frame | None:
        """The next selected frame; None after the last one, once any damage has been reported."""
        image = self._read_image()
        if image is None:
            self._report(self._child.wait())
            return None
        try:
            index, time = self._facts.stamp()
        except queue.Empty:
            raise FfmpegError(
                f"ffmpeg does not tell the time of frame {self._count} of {self._name}", "use ffmpeg 4.2 or newer"
            ) from None
        if self._selection.over(index, time):
            self._child.stop()
            self._report(0)
            return None
        self._count += 1
        return Frame(image, index, time)

    def _read_image(self) -> np.ndarray | None:
        stdout = self._child.process.stdout
        assert stdout is not None
        header = [stdout.readline() for _ in range(3)]
        if not header[0]:
            return None
        if header[2] == self._pixels.depth:
            width, height = map(int, header[1].split())
            image = np.empty((height, width, 3), self._pixels.dtype)
            if stdout.readinto(image.data) == image.nbytes:  # type: ignore[attr-defined]
                # The bottom row of a PFM comes first.
                return image[::-1] if self._pixels.codec == "pfm" else image
        self._child.wait()
        raise FfmpegError(
            f"frame {self._count} of {self._name} came incomplete: {self._child.cause()}",
            "ffmpeg broke off: is there enough memory?",
        )

    def _report(self, status: int) -> None:
        """Logs one warning if the stream is damaged; raises FfmpegError if ffmpeg was killed."""
        if status < 0:
            raise FfmpegError(
                f"ffmpeg was killed by signal {-status} while reading {self._name}",
                "start again; if that does not help, the input is damaged or memory is short",
            )
        if self._count == 0:
            return
        if damage := self._facts.damage or (self._child.cause() if status else ""):
            self.damage = damage
            told = f"{self._name} is damaged or cut off ({damage}): {self._count} frames could be read"
            if self._strict:
                raise InputError(told, "get it again; without --strict these frames are used")
            _LOG.warning("%s", told)
        if self._facts.implausible:
            _LOG.warning(
                "%s: the times of %d frames go back, stand still or jump: these follow at the nominal rate",
                self._name,
                self._facts.implausible,
            )
        if self._facts.resized:
            _LOG.warning("%s changes its frame size to %s: scaled to the first", self._name, self._facts.resized)

    def _nothing(self) -> InputError:
        """The error that says why there is no frame."""
        name, facts, said = self._name, self._facts, " ".join(self._child.complaints)
        if facts.count:
            all_seen = self._selection.stop is None
            gap = f"it has {facts.count} frames" if all_seen else "no frame is between start and stop"
            return InputError(f"nothing is left of {name}: {gap}", "choose an earlier start or a later stop")
        if Path(name).suffix.lower() in _WITHOUT_HEADER:
            return InputError(
                f"raw video, which does not say its size: {name}",
                "ffmpeg -f rawvideo -pix_fmt yuv420p -s WIDTHxHEIGHT -i FILE -f nut - | flowcli estimate - ...",
            )
        if facts.refused:
            return InputError(
                f"not a video that stands alone: {name}",
                "name the video itself: playlists, scripts and patterns, which name others, are not followed",
            )
        if self._piped and ("partial file" in said or "moov atom not found" in said):
            return InputError(f"{name} is an mp4 with its index at the end", "pass the file, or use mkv")
        if hint := next((hint for words, hint in _HINTS.items() if re.search(words, said)), ""):
            return InputError(f"no frame can be decoded from {name}: {self._child.cause()}", hint)
        if facts.video:
            return InputError(f"no frame can be decoded from {name}: {self._child.cause()}", "get the file again")
        if facts.audio or facts.cover:
            return InputError(f"no video in {name}", "it holds only sound: choose another file")
        if "misdetection" in said:
            return InputError(f"not a video: {name}", "choose another file: this is not what its name says")
        if "moov atom not found" in said:
            return InputError(
                f"mp4 without its index (moov atom): {name}", "it was cut off or never finished: get it again"
            )
        return InputError(f"not a video: {name}", f"choose another file; ffmpeg says: {self._child.cause()}")


def _decoder(url: str | bytes, selection: Selection, pixels: Pixels) -> object:
    """The ffmpeg command: PPM or PFM pictures on stdout; on stderr a line for each frame, two if it is selected.

    reinit_filter=0 keeps the filters' frame numbers running when the size changes in mid-stream; `scale` then scales.
    After them the times are renumbered, since the muxer complains of times that repeat. The conversion to RGB is the
    fast one, up to two levels off: flags=accurate_rnd would cost 9 ms per frame of 1920x1080 (measured).
    """
    # Whatever a file says: it opens no other one.
    trust = {
        "format_whitelist": SELF_CONTAINED,
        "protocol_whitelist": "pipe" if url == _PIPE else "file",
        "max_pixels": str(max_pixels()),
    }
    source = ffmpeg.input(url, reinit_filter=0, **trust)
    chain = f"showinfo@all=checksum=0,select='{selection.expression()}',showinfo@kept=checksum=0,scale"
    chain += ",settb=1/25,setpts=N"
    picture = {"c:v": pixels.codec, "pix_fmt": pixels.format, "f": "image2pipe"}
    timing = {"enc_time_base": "1/25", **every_frame()}
    return ffmpeg.output(source["V:0"], "pipe:1", vf=chain, **picture, **timing)
