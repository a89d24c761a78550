"""Frames in another size than their source has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from flowcli.environment import MORE_PIXELS, max_pixels
from flowcli.errors import InputError
from flowcli.pictures import resized
from flowcli.types import Closes, Frame, FrameSource


class ResizedSource(Closes):
    """The frames of `source` in this size; what they show keeps its shape where a player heeds the aspect of pixels.

    Closing it closes the source. Raises InputError for more pixels than are read.
    """

    def __init__(self, source: FrameSource, height: int, width: int) -> None:
        info = source.info
        if height * width > max_pixels():
            source.close()
            raise InputError(f"{width}x{height} are too many pixels", MORE_PIXELS)
        aspect = info.aspect * Fraction(info.width * height, info.height * width)
        self._source = source
        self.info = replace(info, height=height, width=width, aspect=aspect)

    @property
    def damage(self) -> str:
        return self._source.damage

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            yield replace(frame, image=resized(frame.image, self.info.height, self.info.width))

    def close(self) -> None:
        self._source.close()


def resize_to(source: FrameSource, width: int, height: int) -> ResizedSource:
    """The frames of the source in exactly this size, whatever their shape."""
    return ResizedSource(source, height, width)


def resize_short_side(source: FrameSource, side: int) -> ResizedSource:
    """The frames of the source with this shorter side; the other is rounded, and pixels keep their aspect."""
    height, width = source.info.height, source.info.width
    factor = Fraction(side, min(height, width))
    sized = ResizedSource(source, round(height * factor), round(width * factor))
    sized.info = replace(sized.info, aspect=source.info.aspect)
    return sized
