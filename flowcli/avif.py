"""How an AVIF picture is turned, told by its bytes: OpenCV shows it as it is stored."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_LARGE, _TO_THE_END = 1, 0
"""Lengths of boxes that mean something else: that 8 bytes follow with the true one, or that it is the last one."""


@dataclass(frozen=True)
class Turn:
    """What makes a stored picture upright: first quarters, of 90 degrees and anticlockwise, then a mirror."""

    quarters: int = 0
    mirror: int | None = None
    """The axis that is reversed, 0 (rows) or 1 (columns)."""


def stored_turn(data: bytes) -> Turn:
    """The turn of the main picture of an AVIF; none for other bytes, and for damaged ones.

    Source: ISO/IEC 23008-12 (HEIF), 6.5.10 and 6.5.12, and 9.3 for which picture has which property.
    """
    if data[4:8] != b"ftyp":
        return Turn()
    try:
        return _turn(data)
    except (struct.error, IndexError, KeyError):
        # Who decodes it says what is wrong.
        return Turn()


def _turn(data: bytes) -> Turn:
    start, end = _inside(data, "meta", 0, len(data))
    start += 4
    item = _main(data, start, end)
    first, last = _inside(data, "iprp", start, end)
    shared = list(_boxes(data, *_inside(data, "ipco", first, last)))
    quarters, mirror = 0, None
    for number in _properties(data, item, *_inside(data, "ipma", first, last)):
        name, place, _ = shared[number - 1]
        if name == "irot":
            quarters = data[place] & 3
        elif name == "imir":
            mirror = data[place] & 1
    return Turn(quarters, mirror)


def _boxes(data: bytes, place: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Name, and where the content begins and ends, of each box."""
    while place + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, place)
        head = 8
        if length == _LARGE:
            (length,), head = struct.unpack_from(">Q", data, place + 8), 16
        last = end if length == _TO_THE_END else place + length
        if not place + head <= last <= end:
            return
        yield name.decode("latin-1"), place + head, last
        place = last


def _inside(data: bytes, name: str, place: int, end: int) -> tuple[int, int]:
    """Where the content of the first box of that name begins and ends. Raises KeyError."""
    for found, first, last in _boxes(data, place, end):
        if found == name:
            return first, last
    raise KeyError(name)


def _main(data: bytes, start: int, end: int) -> int:
    """The number of the main picture."""
    place, _ = _inside(data, "pitm", start, end)
    number: int = struct.unpack_from(">I" if data[place] else ">H", data, place + 4)[0]
    return number


def _properties(data: bytes, item: int, place: int, end: int) -> Iterator[int]:
    """The numbers, from 1, of the properties that a picture has, in their order."""
    version, wide = data[place], data[place + 3] & 1
    (pictures,) = struct.unpack_from(">I", data, place + 4)
    place += 8
    while pictures and place < end:
        pictures -= 1
        form = ">IB" if version else ">HB"
        owner, count = struct.unpack_from(form, data, place)
        place += struct.calcsize(form)
        numbers = struct.unpack_from(f">{count}{'H' if wide else 'B'}", data, place)
        place += count * (2 if wide else 1)
        if owner == item:
            # The highest bit says that a reader has to know the property; number 0 is none.
            yield from (number for each in numbers if (number := each & (0x7FFF if wide else 0x7F)))
            return
