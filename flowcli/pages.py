"""Files with several pictures, animations and TIFFs of several pages, told by their bytes: nothing is decoded."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from flowcli.headers import tiff_order, tiff_pages

_REDUCED, _MASK = 1, 4
"""Bits of a page that is no picture of its own: a thumbnail, the mask of another page."""
_SUBFILE_TYPE = 254


def mapped(path: Path) -> memoryview:
    """The bytes of the file, which are read where they are looked at; none of what is no file. Raises OSError."""
    if not path.is_file() or not path.stat().st_size:
        return memoryview(b"")
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def is_animation(data: bytes | memoryview) -> bool:
    """Whether these are the bytes of an animated PNG, WebP or AVIF. Sources: the specifications of the three."""
    start = bytes(data[:64])
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return _is_animated_png(data)
    if start[:4] == b"RIFF" and start[8:16] == b"WEBPVP8X":
        return bool(start[20:21]) and bool(start[20] & 2)
    return start[4:8] == b"ftyp" and b"avis" in start[: int.from_bytes(start[:4])]


def picture_pages(data: bytes | memoryview) -> list[int]:
    """The numbers of the pages, from 0, of a TIFF that are pictures of their own; [0] for other bytes.

    Source: TIFF 6.0, the tag NewSubfileType in section 8.
    """
    order = tiff_order(data)
    own = []
    for number, page in enumerate(tiff_pages(data) if order else ()):
        place = page.get(_SUBFILE_TYPE)
        if place is None or not _number(data, order, place) & (_REDUCED | _MASK):
            own.append(number)
    return own or [0]


def _is_animated_png(data: bytes | memoryview) -> bool:
    """Whether there are several frames: the chunk that says so stands before the first pixels."""
    place = 8
    while place + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        if name == b"acTL" and length >= 4:
            return int.from_bytes(data[place + 8 : place + 12]) > 1
        if name == b"IDAT":
            return False
        place += 12 + length
    return False


def _number(data: bytes | memoryview, order: str, place: int) -> int:
    value: int = struct.unpack_from(order + "I", data, place)[0]
    return value
