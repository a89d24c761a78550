"""Two grey .jpg for each flow, flow_x_00001.jpg and flow_y_00001.jpg, as two-stream networks read them.

Source: dense_flow, the tool behind temporal segment networks, Wang et al. 2016; it counts from 1.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from flowcli.errors import InputError, OutputError
from flowcli.flowfile.base import Flow, known
from flowcli.packing import TSN_BOUND, from_uint8, to_uint8
from flowcli.pictures import read_unscaled, write_picture
from flowcli.stored import check_size, check_stored, read_bytes, strange

PREFIX = "flow_x_"
_OTHER = "flow_y_"


def name(number: int, tag: str = "") -> str:
    """The name of the file of u; number: counted from 1."""
    return f"{PREFIX}{number:05d}{tag}.jpg"


def read(path: Path, bound: float = TSN_BOUND) -> Flow:
    """The flow in two files. path: that of u. bound: the pixels that black and white stand for; files do not say."""
    other = _other(path)
    if other is None:
        raise InputError(f"a picture, but not of flow: {path}", f"flow as .jpg is {name(1)} beside {_OTHER}00001.jpg")
    levels = [_grey(each) for each in (path, other)]
    if levels[0].shape != levels[1].shape:
        raise InputError(f"different sizes: {path} and {other}", "a flow has one size")
    return known(from_uint8(np.stack(levels), bound))


def write(path: Path, uv: np.ndarray, bound: float = TSN_BOUND) -> None:
    """Writes both files. path: the file of u. Unknown flow is written as rest."""
    other = _other(path)
    if other is None:
        raise OutputError(f"flow as .jpg takes two files, not {path.name}", f"call it {name(1)}")
    for each, levels in zip((path, other), to_uint8(uv, bound), strict=True):
        write_picture(each, levels)


def _grey(path: Path) -> np.ndarray:
    data = read_bytes(path)
    if not data.startswith(b"\xff\xd8"):
        raise strange(path)
    height, width = _size(data)
    check_size(path, height, width)
    check_stored(path, height * width, len(data))
    levels = read_unscaled(path)
    if levels.ndim != 2:
        raise InputError(f"a picture in colours, but not of flow: {path}", "flow as .jpg is grey")
    return levels


def _size(data: bytes) -> tuple[int, int]:
    """Height and width as the frame header says, 0 if there is none. Source: ITU-T T.81, annex B."""
    place = 2
    while len(data) >= place + 9 and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return struct.unpack_from(">HH", data, place + 5)
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return 0, 0


def _other(path: Path) -> Path | None:
    """The file of v for a file of u, None for another file."""
    return path.with_name(_OTHER + path.name.removeprefix(PREFIX)) if path.name.startswith(PREFIX) else None
