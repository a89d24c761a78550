"""The video streams of a file, as ffmpeg lists them, and which of them players show."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction

_STREAM = re.compile(r" *Stream #0:(\d+).*?: Video: [^,]*(?:, (\w+)(?:\(([^)]*))?)?")
_SIZE = re.compile(r", (\d+)x(\d+)[ ,]")
_MEAN_RATE = re.compile(r" (\d+(?:\.\d+)?)(k?) fps,")
_COLOURS = re.compile(r"(?:(\w+)/(\w+)/)?(smpte2084|arib-std-b67)")
_INTERLACED = re.compile(r"(?:top|bottom) (?:coded )?first")
CURVES = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
"""ffmpeg's names for the transfer curves of HDR, and those that people use."""


@dataclass(frozen=True)
class Hdr:
    """The colours of HDR video, by ffmpeg's names; "unknown" where a file does not say them."""

    transfer: str
    matrix: str = "unknown"
    primaries: str = "unknown"


@dataclass(frozen=True)
class VideoStream:
    """What is known of a stream before its frames come."""

    index: int
    """Among all streams of the file."""
    pixels: str = ""
    """ffmpeg's name of the pixel format."""
    width: int = 0
    height: int = 0
    mean_rate: Fraction | None = None
    """Frames per second, rounded to two digits."""
    default: bool = False
    cover: bool = False
    """Whether it is a picture that belongs to sound."""
    interlaced: bool = False
    hdr: Hdr | None = None

    def __str__(self) -> str:
        return f"stream {self.index} ({self.width}x{self.height}{', the default' if self.default else ''})"


def parse_stream(line: str) -> VideoStream | None:
    """The video stream in this line of ffmpeg's list; None if it is another line."""
    match = _STREAM.match(line)
    if match is None:
        return None
    colours = match[3] or ""
    size, rate, hdr = _SIZE.search(line), _MEAN_RATE.search(line), _COLOURS.search(colours)
    return VideoStream(
        index=int(match[1]),
        pixels=match[2] or "",
        width=int(size[1]) if size else 0,
        height=int(size[2]) if size else 0,
        mean_rate=Fraction(rate[1]) * (1000 if rate[2] else 1) if rate else None,
        default="(default)" in line,
        cover="(attached pic)" in line,
        interlaced=_INTERLACED.search(colours) is not None,
        hdr=Hdr(hdr[3], hdr[1] or "unknown", hdr[2] or "unknown") if hdr else None,
    )


def shown_by_players(streams: Collection[VideoStream]) -> VideoStream | None:
    """The stream that players take: a default one before others, then the largest, then the first; no covers."""
    real = [stream for stream in streams if not stream.cover]
    return max(real, key=lambda each: (each.default, each.width * each.height, -each.index), default=None)
