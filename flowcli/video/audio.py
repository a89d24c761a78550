"""The sound that goes with a video: which file it is in, and how ffmpeg takes it along."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg

from flowcli.errors import InputError
from flowcli.video.ffmpeg import Child, file_url

_STREAM = re.compile(r" *Stream #0:\d+.*?: Audio: (\w+)")
_PROTOCOLS = "file,crypto,data"
_SLOWEST, _FASTEST = Fraction(1, 2), Fraction(2)
"""What one `atempo` does without leaving out samples."""


@dataclass(frozen=True)
class Soundtrack:
    """The first audio stream of a file, for a video; ValueError for a start below 0, or a tempo that is not above."""

    path: Path
    start: Fraction | None = None
    """Seconds into the file at which the first frame is shown; None for the time of that frame."""
    tempo: Fraction = Fraction(1)
    """How many times as fast it is played; its pitch stays."""

    def __post_init__(self) -> None:
        if (self.start is not None and self.start < 0) or self.tempo <= 0:
            raise ValueError(f"sound cannot start at {self.start} s and be {self.tempo} times as fast")


@dataclass(frozen=True)
class SoundEncoding:
    """What sound one kind of video file holds."""

    codecs: Collection[str] | None
    """Those that are copied, as ffmpeg calls them; None for all."""
    options: dict[str, str]
    """What others are encoded with."""


_AAC = {"c:a": "aac", "b:a": "192k"}
# libopus refuses some layouts that others have, such as 5.1(side).
_OPUS = {"c:a": "libopus", "b:a": "160k", "af": "aformat=channel_layouts=7.1|5.1|stereo|mono"}
_PCM = tuple(f"pcm_{kind}" for kind in ("u8", "s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "f32le", "f32be"))
MP4 = SoundEncoding(("aac", "mp3", "ac3", "eac3", "alac", "opus"), _AAC)
MOV = SoundEncoding(("aac", "mp3", "ac3", "eac3", "alac", *_PCM), _AAC)
MATROSKA = SoundEncoding(None, _AAC)
WEBM = SoundEncoding(("opus", "vorbis"), _OPUS)


def audio_codec(path: Path) -> str | None:
    """What the first audio stream of the file is coded in, as ffmpeg calls it; None if it has none.

    Raises InputError if it is no file (a pipe is read once, and that by whoever reads the frames), or not readable.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}", "sound is taken from files only")
    if not os.access(path, os.R_OK):
        raise InputError(f"file is not readable: {path}", "check its permissions")
    found: list[str] = []

    def note(who: str, level: str, text: str) -> None:
        if match := _STREAM.match(text):
            found.append(match[1])

    # Copying nothing to nowhere makes ffmpeg print what there is.
    source = ffmpeg.input(file_url(path), protocol_whitelist=_PROTOCOLS)
    Child(source.output("pipe:1", f="null", c="copy", t=0), watch=note).wait()
    return found[0] if found else None


def sound_input(track: Soundtrack, first: Fraction, seconds: Fraction) -> Any:
    """The stream for ffmpeg-python. first: time of the first frame; seconds: how long the video is."""
    start = max(first, Fraction(0)) if track.start is None else track.start
    limits = {"ss": _decimal(start), "t": _decimal(seconds * track.tempo)}
    return ffmpeg.input(file_url(track.path), protocol_whitelist=_PROTOCOLS, **limits)["a:0"]


def sound_options(track: Soundtrack, codec: str, encoding: SoundEncoding) -> dict[str, str]:
    """ffmpeg's options for its output: a copy if the file can hold the codec, and the tempo stays."""
    if track.tempo == 1 and (encoding.codecs is None or codec in encoding.codecs):
        # Packets before the start are left out: with them all others would be late.
        return {"c:a": "copy", "copypriorss:a": "0"}
    filters = [f"atempo={float(each):.9g}" for each in _tempos(track.tempo)]
    filters += [encoding.options["af"]] if "af" in encoding.options else []
    return encoding.options | ({"af": ",".join(filters)} if filters else {})


def _tempos(tempo: Fraction) -> list[Fraction]:
    """Factors that one filter each can do, whose product is `tempo`."""
    factors = []
    while not _SLOWEST <= tempo <= _FASTEST:
        factors.append(_FASTEST if tempo > 1 else _SLOWEST)
        tempo /= factors[-1]
    return factors + [tempo] * (tempo != 1)


def _decimal(seconds: Fraction) -> str:
    return f"{float(seconds):.6f}"
