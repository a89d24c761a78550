"""Files with several pictures, animations and TIFFs of several pages, told by their bytes: nothing is decoded."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_REDUCED, _MASK = 1, 4
"""Bits of a page that is no picture of its own: a thumbnail, the mask of another page."""
_MOST = 100_000
"""Pages that are looked for; more are a mistake, or a ring of pages."""
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

    Source: TIFF 6.0, section 2, and the tag NewSubfileType in section 8; BigTIFF by the libtiff project.
    """
    orders = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
    order = orders.get(bytes(data[:4]))
    if order is None:
        return [0]
    big = bytes(data[:4]) in (b"II+\0", b"MM\0+")
    offset_format, count_format, entry = (order + "Q", order + "Q", 20) if big else (order + "I", order + "H", 12)
    found: list[int] = []
    try:
        (place,) = struct.unpack_from(offset_format, data, 8 if big else 4)
        for number in range(_MOST):
            if not place:
                break
            (count,) = struct.unpack_from(count_format, data, place)
            first = place + struct.calcsize(count_format)
            if not _kind(data, order, first, entry, count) & (_REDUCED | _MASK):
                found.append(number)
            (place,) = struct.unpack_from(offset_format, data, first + entry * count)
    except (struct.error, OverflowError):
        # Cut off; who decodes it says so.
        pass
    return found or [0]


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


def _kind(data: bytes | memoryview, order: str, first: int, entry: int, count: int) -> int:
    """The value of NewSubfileType; entries of a page are sorted by their tags, and it is the lowest."""
    for place in range(first, first + entry * min(count, 2), entry):
        tag, _ = struct.unpack_from(order + "HH", data, place)
        if tag == _SUBFILE_TYPE:
            value: int = struct.unpack_from(order + "I", data, place + entry - (8 if entry == 20 else 4))[0]
            return value
    return 0
