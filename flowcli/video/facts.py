"""What ffmpeg tells of a video on stderr: its stream, its damage, and when each frame is shown."""

from __future__ import annotations

import queue
import re
from fractions import Fraction

from flowcli.video.streams import VideoStream, parse_stream

_FALLBACK_RATE = Fraction(25)
_MATROSKA_CLOCK = 1000
"""Ticks per second: ffmpeg gives this clock as the frame rate where a recording of a browser names none."""
_SECONDS_FOR_A_LINE = 5.0
_LONGEST_GAP = 2400
"""Seconds without a frame that are believed; some containers hold no longer ones."""
_RESTART = 1
"""Seconds: a clock that is further off began anew, and one that is less off will be right again."""
_OUTPUT_SIDE = re.compile(r"\[(out#|vost#|enc:)")
_FRAME_LINE = re.compile(r"n: *\d+ pts: *(\S+) .* sar:(\d+)/(\d+) s:(\d+x\d+) (?:i:([PTB]))?")
_CLOCK_LINE = re.compile(r"config in time_base: (\d+)/(\d+), frame_rate: (\d+)/(\d+)")
_TAKEN = re.compile(r" *Stream #0:(\d+) -> #0:0 ")
_DURATION = re.compile(r" *Duration: (\d+):(\d+):(\d+)\.(\d+)")
_AUDIO = re.compile(r" *Stream #0:\d+.*?: Audio: ")
_COMMENT = re.compile(r" *comment *: (.*)", re.IGNORECASE)


class Facts:
    """What ffmpeg says about the stream on stderr: written by the child's thread, read by the source's."""

    def __init__(self) -> None:
        self.duration: Fraction | None = None
        self.rate = _FALLBACK_RATE
        self.aspect = Fraction(1)
        self.audio = False
        self.streams: dict[int, VideoStream] = {}
        """The video streams, by their numbers."""
        self.taken: VideoStream | None = None
        self.damage = ""
        self.resized = ""
        self.comment = ""
        self.refused = False
        """Whether its format is not one that is read."""
        self.count = 0
        """Frames decoded so far, selected or not."""
        self._tick: Fraction | None = None
        self._size = ""
        self.implausible = 0
        """Frames so far whose times are not later than the one before, or much later."""
        self.interlaced = 0
        """Frames so far of which every other line is of another moment."""
        self._offset = Fraction(0)
        self._kept: queue.SimpleQueue[tuple[int, Fraction | None]] = queue.SimpleQueue()
        self._last: tuple[int, Fraction] | None = None

    def note(self, who: str, level: str, text: str) -> None:
        if text.startswith("Format not on whitelist"):
            self.refused = True
        elif "showinfo@" in who:
            self._note_frame(who, text)
        elif level in ("error", "fatal", "panic") or (level == "warning" and "corrupt" in text):
            if not _OUTPUT_SIDE.search(who):
                self.damage = self.damage or text
        elif self._tick is None:
            self._note_banner(text)

    def stamp(self) -> tuple[int, Fraction]:
        """Number and time of the next selected frame; one without a time stamp follows at the nominal rate.

        Raises queue.Empty if its line does not come: ffmpeg prints it before the picture.
        """
        index, time = self._kept.get(timeout=_SECONDS_FOR_A_LINE)
        before, then = self._last or (0, Fraction(0))
        nominal = then + (index - before) / self.rate
        if time is None:
            time = nominal
        elif self._last is not None:
            time = self._plausible(time, then, nominal)
        self._last = index, time
        return index, time

    def _plausible(self, time: Fraction, then: Fraction, nominal: Fraction) -> Fraction:
        """The time of a frame if it can be that; otherwise `nominal`, and those that follow go on from there."""
        moved = time + self._offset
        if then < moved <= nominal + _LONGEST_GAP:
            return moved
        self.implausible += 1
        if abs(moved - nominal) > _RESTART:
            self._offset = nominal - time
        return nominal

    def _note_frame(self, who: str, text: str) -> None:
        if match := _FRAME_LINE.match(text):
            stamp, across, down, size, lines = match.groups()
            if "@all" in who:
                self.count += 1
                self.interlaced += lines in ("T", "B")
                return
            if not self._size:
                self._size = size
                if int(across) and int(down):
                    self.aspect = Fraction(int(across), int(down))
            if size != self._size:
                self.resized = size
            time = None if stamp == "NOPTS" or self._tick is None else int(stamp) * self._tick
            self._kept.put((self.count - 1, time))
        elif self._tick is None and (match := _CLOCK_LINE.match(text)):
            ticks, seconds, frames, period = map(int, match.groups())
            self._tick = Fraction(ticks, seconds)
            exact = Fraction(frames, period) if frames and period else None
            # The banner rounds the mean rate to two digits, the filter knows the exact one of a constant rate.
            mean = None if self.taken is None else self.taken.mean_rate
            rate = exact if mean is None or (exact and abs(exact - mean) < Fraction(1, 100)) else mean
            self.rate = rate if rate and rate < _MATROSKA_CLOCK else _FALLBACK_RATE

    def _note_banner(self, text: str) -> None:
        if match := _DURATION.match(text):
            hours, minutes, seconds, hundredths = map(int, match.groups())
            self.duration = Fraction(hours * 3600 + minutes * 60 + seconds) + Fraction(hundredths, 100)
        elif match := _COMMENT.fullmatch(text):
            self.comment = match[1]
        elif match := _TAKEN.match(text):
            self.taken = self.streams.get(int(match[1]))
        elif stream := parse_stream(text):
            self.streams.setdefault(stream.index, stream)
        elif _AUDIO.match(text):
            self.audio = True

    @property
    def video(self) -> bool:
        """Whether there is a video stream that is no cover."""
        return any(not stream.cover for stream in self.streams.values())
