"""Frames of movies by other numbers than those of their places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from flowcli.errors import UsageError
from flowcli.sequences import shifted
from flowcli.types import Closes, Frame, FrameSource
from flowcli.video.sequence import PictureSource


class NumberedSource(Closes):
    """The frames of `source`, called by numbers from `first` on, as `numbered`. Closing it closes the source."""

    def __init__(self, source: FrameSource, first: str) -> None:
        self._source = source
        self._first = first
        self.info = source.info

    @property
    def damage(self) -> str:
        return self._source.damage

    def __iter__(self) -> Iterator[Frame]:
        return numbered(self._source, self._first)

    def close(self) -> None:
        self._source.close()


def number_frames(source: FrameSource, first: str) -> NumberedSource:
    """The frames of a movie, called by numbers. Raises UsageError for pictures, which have names of their own."""
    if isinstance(source, PictureSource) and source.named:
        source.close()
        raise UsageError("--first-frame is for movies: pictures keep the numbers in their names", "leave it out")
    return NumberedSource(source, first)


def numbered(frames: Iterable[Frame], first: str) -> Iterator[Frame]:
    """The frames, called by numbers: that with index 0 is `first`, and all have as many digits at least.

    first: a number, or a name with one; a name without leaves the frames their indices.
    """
    for frame in frames:
        yield replace(frame, name=shifted(first, frame.index))
