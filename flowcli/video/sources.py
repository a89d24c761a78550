"""Frames from a video file or a pipe: an ffmpeg child decodes them, and prints the time of each on stderr."""

from __future__ import annotations

import logging
import os
import queue
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from flowcli.environment import MORE_PIXELS
from flowcli.errors import FfmpegError, InputError
from flowcli.inputs import STDIN, find_input
from flowcli.types import Closes, Frame, FrameSource, Gaps, StreamInfo
from flowcli.video.decoding import DEEP, PIPE, RGB24, Reading, can_map_tones, decoder
from flowcli.video.facts import Facts
from flowcli.video.ffmpeg import Child, file_url
from flowcli.video.selection import Selection
from flowcli.video.sequence import (
    SEQUENCE_SUFFIXES,
    PictureSource,
    check_kind,
    is_animated,
    open_pictures,
    picture_pair,
)
from flowcli.video.streams import CURVES, shown_by_players

_LOG = logging.getLogger("flowcli")
_STDIN = "standard input"
_STDIN_FILE = "/dev/stdin"
_WITHOUT_HEADER = {
    **dict.fromkeys((".yuv", ".raw", ".i420"), "yuv420p"),
    ".rgb": "rgb24",
    ".bgr": "bgr24",
    ".nv12": "nv12",
    ".uyvy": "uyvy422",
    ".yuyv": "yuyv422",
}
"""Suffixes of videos that do not say their size, and the layout of pixels that is most likely."""


_HINTS = {
    r"\btrex\b|\btfhd\b": "it is a segment of a stream: put the init segment first, as in cat init.mp4 1.m4s > a.mp4",
    r"(?i)encrypt|decrypt|\bcenc\b": "it is encrypted: decrypt it first",
    r"max pixel count": MORE_PIXELS,
    r"(?i)palette": "its palette is missing: get the file again, or convert it where it came from",
}
"""What to do, by what ffmpeg complains of."""


def open_source(
    source: str,
    second: str | None = None,
    *,
    start: int | Fraction | None = None,
    stop: int | Fraction | None = None,
    every: int = 1,
    rate: Fraction | None = None,
    strict: bool = False,
    gaps: Gaps = "skip",
    deep: bool = False,
    deinterlace: bool = False,
) -> FrameSource:
    """The frames of a video file, of a folder or pattern of pictures, of two pictures, or ("-") of a video on stdin.

    start, stop: frame numbers if int, seconds if Fraction; `stop` is exclusive. every: keeps each nth frame from
    `start` on. rate: keeps so many frames per second, as in `Selection`. A frame keeps its number in the source.
    gaps: how pictures follow on each other where the numbers in their names have gaps, or another sequence begins; both
    are logged. deinterlace: makes whole pictures of frames of two fields. Raises InputError, at once or from the
    iterator; ValueError for bounds below 0. A stream that is damaged, or cut off, gives the frames that can be decoded,
    then one logged warning, or with `strict` InputError.
    """
    selection = Selection(start, stop, every, rate)
    if second is not None:
        return PictureSource(picture_pair(source, second), selection, strict=strict, deep=deep)
    given = find_input(source)
    if given.form == "file":
        check_kind(given.paths[0])
    if given.form == "stdin" or (given.form == "file" and not _is_still(given.paths[0])):
        reading = Reading(selection, DEEP if deep else RGB24, deinterlace)
        return open_video(source, reading, strict)
    return open_pictures(given, selection, gaps, strict=strict, deep=deep)


def _is_still(file: Path) -> bool:
    return file.suffix.lower() in SEQUENCE_SUFFIXES and not is_animated(file)


def open_video(source: str, reading: Reading, strict: bool = False) -> VideoSource:
    """The frames of a video file, or ("-") of a video on stdin. Raises InputError."""
    if source == STDIN:
        return _open_stdin(reading, strict)
    path = Path(source)
    if not os.access(path, os.R_OK):
        raise InputError(f"file is not readable: {source}", "check its permissions")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        # A pipe with a name, such as the shell's <(...): opened here, for a child does not have all our open files.
        with path.open("rb", buffering=0) as pipe:
            if pipe.isatty():
                raise InputError(f"input is a terminal: {source}", "pipe a video into it, or name a file")
            return VideoSource(source, PIPE, pipe.fileno(), reading, strict)
    if status.st_size == 0:
        raise InputError(f"file is empty: {source}", "get it again; it has 0 bytes")
    return VideoSource(source, file_url(path), subprocess.DEVNULL, reading, strict)


def _open_stdin(reading: Reading, strict: bool) -> VideoSource:
    if sys.stdin is None:
        raise InputError("standard input is closed", "pipe a video into it, or name a file")
    if sys.stdin.isatty():
        raise InputError("standard input is a terminal", "pipe a video into it, or name a file")
    descriptor = sys.stdin.fileno()
    # A file behind `<` is opened by its name: unlike a pipe it can be searched for an index at the end.
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode) and os.path.exists(_STDIN_FILE)
    # ffmpeg reads our own stdin, so that a slow run holds back whoever writes into the pipe.
    return VideoSource(_STDIN, file_url(_STDIN_FILE) if is_file else PIPE, descriptor, reading, strict)


class VideoSource(Closes):
    """Every coded frame of a video stream once, upright, with its exact time; memory holds one frame.

    The stream is the one that players show; of a pipe, which is read once, the first one. HDR is mapped to BT.709,
    which a pipe's is not. Raises InputError if there is no video. If the size changes in mid-stream, frames are scaled
    to the first size (logged).
    """

    def __init__(self, name: str, url: str | bytes, stdin: int, reading: Reading, strict: bool = False) -> None:
        self.damage = ""
        self._strict = strict
        self._name = name
        self._url = url
        self._stdin = stdin
        self._piped = url == PIPE
        self._told_interlaced = False
        self._start(reading)
        try:
            self._next = self._read()
            wanted = reading if self._piped else self._as_shown(reading)
            if wanted != reading:
                self._child.stop()
                self._start(wanted)
                self._next = self._read()
            if self._next is None:
                raise self._nothing()
        except BaseException:
            self.close()
            raise
        self._tell()
        height, width = self._next.image.shape[:2]
        facts = self._facts
        frames = None
        if facts.duration is not None:
            frames = reading.selection.count(round(facts.duration * facts.rate), facts.rate)
        bits: Literal[8, 16] = 16 if self._next.image.dtype == np.uint16 else 8
        self.info = StreamInfo(height, width, facts.rate, frames, facts.aspect, facts.audio, bits=bits)
        self.comment, self.stored = facts.comment, facts.taken.pixels if facts.taken else ""
        """The file's `comment` tag, "" if it has none, and the pixel format of what it holds, as ffmpeg calls it."""

    def _start(self, reading: Reading) -> None:
        self._reading = reading
        self._facts = Facts()
        self._count = 0
        self._child = Child(decoder(self._url, reading), self._stdin, subprocess.PIPE, self._facts.note)

    def _as_shown(self, reading: Reading) -> Reading:
        """What is to be read, now that it is known what there is."""
        shown = shown_by_players(self._facts.streams.values())
        if shown is None or reading.pixels not in (RGB24, DEEP):
            return reading
        taken = self._facts.taken
        stream = None if taken is not None and taken.index == shown.index else shown.index
        return replace(reading, stream=stream, hdr=shown.hdr if shown.hdr and can_map_tones() else None)

    def _tell(self) -> None:
        """Logs what is unusual about the stream."""
        facts, taken = self._facts, self._facts.taken
        several = sum(not stream.cover for stream in facts.streams.values())
        if several > 1:
            _LOG.warning("%s has %d video streams: %s is taken", self._name, several, taken)
        if taken is not None and taken.hdr is not None and self._reading.pixels in (RGB24, DEEP):
            why = "a pipe is read once: name the file" if self._piped else "this ffmpeg has no zscale and tonemap"
            done = "its colours are mapped to BT.709" if self._reading.hdr else f"its colours are not mapped, {why}"
            _LOG.warning("%s is HDR (%s): %s", self._name, CURVES[taken.hdr.transfer], done)
        self._tell_interlaced()

    def _tell_interlaced(self) -> None:
        if self._facts.interlaced and not self._told_interlaced:
            self._told_interlaced = True
            _LOG.warning("%s is interlaced: --deinterlace makes whole pictures of it", self._name)

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
        if self._reading.selection.over(index, time):
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
        pixels = self._reading.pixels
        if dtype := pixels.dtypes.get(header[2]):
            width, height = map(int, header[1].split())
            image = np.empty((height, width, 3), dtype)
            if stdout.readinto(image.data) == image.nbytes:  # type: ignore[attr-defined]
                image = image.astype(image.dtype.newbyteorder("="), copy=False)
                # The bottom row of a PFM comes first.
                return image[::-1] if pixels.codec == "pfm" else image
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
        if count := self._facts.implausible:
            told = f"the times of {count} frames go back, stand still or jump: these follow"
            if count == 1:
                told = "the time of 1 frame goes back, stands still or jumps: it follows"
            _LOG.warning("%s: %s at the nominal rate", self._name, told)
        self._tell_interlaced()
        if self._facts.resized:
            _LOG.warning("%s changes its frame size to %s: scaled to the first", self._name, self._facts.resized)

    def _nothing(self) -> InputError:
        """The error that says why there is no frame."""
        name, facts, said = self._name, self._facts, " ".join(self._child.complaints)
        if facts.count:
            all_seen = self._reading.selection.stop is None
            gap = f"it has {facts.count} frames" if all_seen else "no frame is between start and stop"
            return InputError(f"nothing is left of {name}: {gap}", "choose an earlier start or a later stop")
        if layout := _WITHOUT_HEADER.get(Path(name).suffix.lower()):
            return InputError(
                f"raw video, which does not say its size: {name}",
                f"say its format and size: ffmpeg -f rawvideo -pix_fmt {layout} -s WIDTHxHEIGHT -r 25 "
                f"-i {shlex.quote(name)} -f nut - | flowcli estimate - ...",
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
        if facts.audio or facts.streams:
            return InputError(f"no video in {name}", "it holds only sound: choose another file")
        if "misdetection" in said:
            return InputError(f"not a video: {name}", "choose another file: this is not what its name says")
        if "moov atom not found" in said:
            return InputError(
                f"mp4 without its index (moov atom): {name}", "it was cut off or never finished: get it again"
            )
        return InputError(f"not a video: {name}", f"choose another file; ffmpeg says: {self._child.cause()}")
