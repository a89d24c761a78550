"""KITTI's 16-bit .png: steps of 1/64 pixel from -512 to 511.98."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from flowcli.errors import InputError
from flowcli.flowfile.base import Flow, known
from flowcli.packing import from_uint16, to_uint16
from flowcli.pictures import read_unscaled, write_picture
from flowcli.stored import check_size, check_stored, damaged, read_bytes, strange

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_START = _SIGNATURE + b"\0\0\0\rIHDR"
_RGB = 2
_BYTES = 6
"""Bytes of one pixel."""


def read(path: Path) -> Flow:
    data = read_bytes(path)
    if not data.startswith(_START) or len(data) < len(_START) + 10:
        raise strange(path)
    width, height, bits, colour = struct.unpack_from(">IIBB", data, len(_START))
    if (bits, colour) != (16, _RGB):
        raise InputError(f"a picture, but not a flow (16-bit RGB): {path}", "give a KITTI flow file")
    check_size(path, height, width)
    check_stored(path, height * width * _BYTES, len(data))
    if not _whole(data):
        raise damaged(path, "is cut off, or its chunks are")
    image = read_unscaled(path)
    if image.dtype != np.uint16 or image.shape != (height, width, 3):
        raise damaged(path)
    return known(*from_uint16(image))


def _whole(data: bytes) -> bool:
    """Whether every chunk ends in the file: OpenCV takes the memory that a chunk asks for, 4 GB at most."""
    place = len(_SIGNATURE)
    while place + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        place += 12 + length
        if name == b"IEND":
            break
    return place <= len(data)


def write(path: Path, uv: np.ndarray) -> None:
    write_picture(path, to_uint16(uv))
