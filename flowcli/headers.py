"""What the headers of picture files say: pages and alpha of TIFFs, and the brightest value of PGM and PPM files."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

_MOST = 1_000_000
"""Entries of a TIFF, of all its pages, that are looked at; more are a mistake, or an attack."""
_EXTRA_SAMPLES, _ASSOCIATED, _UNASSOCIATED = 338, 1, 2
"""The tag that says what a fourth channel is: alpha that the colours are multiplied by, or that they are not."""
_PNM = re.compile(rb"P([2356])(?:(?:\s|#[^\n]*\n)+\d+){2}(?:\s|#[^\n]*\n)+(\d{1,5})\b")
_START = 4096
"""Bytes in which the header of a PGM or PPM is looked for."""


def tiff_order(data: bytes | memoryview) -> str:
    """`<` or `>`, as for struct, if these are the bytes of a TIFF; "" otherwise."""
    return {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}.get(bytes(data[:4]), "")


def tiff_pages(data: bytes | memoryview) -> Iterator[dict[int, int]]:
    """For each page of a TIFF the place of each of its values, by tag; ends where the file is cut off, or goes round.

    Source: TIFF 6.0, section 2; BigTIFF by the libtiff project.
    """
    order = tiff_order(data)
    big = bytes(data[2:4]).strip(b"\0") == b"+"
    offset_format, count_format, entry = (order + "Q", order + "Q", 20) if big else (order + "I", order + "H", 12)
    back = 8 if big else 4
    seen, left = set[int](), _MOST
    try:
        (place,) = struct.unpack_from(offset_format, data, back)
        while place and place not in seen and left > 0:
            seen.add(place)
            (count,) = struct.unpack_from(count_format, data, place)
            first = place + struct.calcsize(count_format)
            last = first + entry * count
            left -= count + 1
            places = range(first, min(last, len(data)), entry) if left >= 0 else ()
            yield {struct.unpack_from(order + "H", data, each)[0]: each + entry - back for each in places}
            (place,) = struct.unpack_from(offset_format, data, last)
    except (struct.error, OverflowError):
        # Cut off; who decodes it says so.
        return


def straight(data: bytes) -> bytes:
    """The same TIFF, of which libtiff leaves the colours as they are stored, whatever alpha is; other bytes unchanged.

    It multiplies colours by alpha where the file says that they are not yet.
    """
    order = tiff_order(data)
    changed = bytearray()
    for page in tiff_pages(data) if order else ():
        place = page.get(_EXTRA_SAMPLES)
        if place is not None and struct.unpack_from(order + "H", data, place)[0] == _UNASSOCIATED:
            changed = changed or bytearray(data)
            struct.pack_into(order + "H", changed, place, _ASSOCIATED)
    return bytes(changed) or data


def brightest(data: bytes) -> int:
    """The value of white in a PGM or PPM that OpenCV does not scale by it; 0 in others, and for other bytes.

    Source: the manual pages of netpbm.
    """
    match = _PNM.match(data[:_START])
    if match is None:
        return 0
    most, plain = int(match[2]), match[1] in b"23"
    return most if 255 < most < 65535 or (0 < most < 255 and not plain) else 0
