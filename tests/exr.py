"""A reader of EXR files that uses neither flowcli nor the OpenEXR library: float scan lines, ZIPS or ZIP.

Source: "OpenEXR File Layout", https://openexr.com/en/latest/OpenEXRFileLayout.html.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

_LINES = {0: 1, 2: 1, 3: 16}
"""Scan lines of a chunk: not compressed, ZIPS, ZIP."""


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The attributes (windows and text, the rest as bytes) and the channels (H, W) float32 from the top."""
    data = path.read_bytes()
    assert data[:4] == bytes((0x76, 0x2F, 0x31, 0x01))
    assert data[4:8] == bytes((2, 0, 0, 0)), "one part of scan lines"
    attributes: dict[str, Any] = {}
    place = 8
    while data[place]:
        name, place = _text(data, place)
        kind, place = _text(data, place)
        (size,) = struct.unpack_from("<i", data, place)
        value: Any = data[place + 4 : place + 4 + size]
        if kind == "box2i":
            value = struct.unpack("<4i", value)
        elif kind == "string":
            value = value.decode()
        attributes[name] = value
        place += 4 + size
    place += 1
    names = _channel_names(attributes["channels"])
    left, top, right, bottom = attributes["dataWindow"]
    height, width, lines = bottom - top + 1, right - left + 1, _LINES[attributes["compression"][0]]
    count = -(-height // lines)
    planes = np.empty((height, len(names), width), np.float32)
    for offset in struct.unpack_from(f"<{count}Q", data, place):
        y, size = struct.unpack_from("<2i", data, offset)
        rows = min(lines, bottom + 1 - y)
        raw = rows * len(names) * width * 4
        chunk = data[offset + 8 : offset + 8 + size]
        if size < raw:
            chunk = _undone(zlib.decompress(chunk))
        planes[y - top : y - top + rows] = np.frombuffer(chunk, "<f4").reshape(rows, len(names), width)
    return attributes, {name: planes[:, number] for number, name in enumerate(names)}


def _channel_names(table: bytes) -> list[str]:
    names, place = [], 0
    while table[place]:
        name, place = _text(table, place)
        kind, _, x, y = struct.unpack_from("<iIii", table, place)
        assert (kind, x, y) == (2, 1, 1), "32-bit float, every pixel"
        names.append(name)
        place += 16
    return names


def _undone(data: bytes) -> bytes:
    """Undoes the predictor and the interleaving of EXR's ZIP compression."""
    values = np.frombuffer(data, np.uint8).astype(np.int64)
    values[1:] -= 128
    values = np.cumsum(values) % 256
    half = (len(values) + 1) // 2
    woven = np.empty(len(values), np.uint8)
    woven[0::2], woven[1::2] = values[:half], values[half:]
    return woven.tobytes()


def _text(data: bytes, place: int) -> tuple[str, int]:
    end = data.index(0, place)
    return data[place:end].decode(), end + 1
