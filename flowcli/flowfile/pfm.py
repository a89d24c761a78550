"""Portable float maps, .pfm, as FlyingThings3D has them: three channels, the bottom row first.

The third channel is 1 where the flow is known; if it is 0 everywhere, as in FlyingThings3D, it is ignored. The scale
in the header gives the byte order and nothing else, as for other readers of flow.
Source: "PFM Portable FloatMap Image Format", https://www.pauldebevec.com/Research/HDR/PFM/.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from flowcli.errors import InputError
from flowcli.flowfile.base import Flow, interleaved, known, where_known
from flowcli.regular import open_regular
from flowcli.stored import check_size, damaged, strange, unreadable

_HEADER = re.compile(rb"P([Ff])\s+(\d{1,9})\s+(\d{1,9})\s+([-+.\deE]{1,20})\s")
_LONGEST = 64


def read(path: Path) -> Flow:
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            header = _HEADER.match(file.read(_LONGEST))
            if header is None:
                raise strange(path)
            if header[1] == b"f":
                raise InputError(f"a .pfm file, but not a flow (one channel): {path}", "give one with three channels")
            width, height, order = int(header[2]), int(header[3]), _byte_order(path, header[4])
            check_size(path, height, width)
            if size != header.end() + 12 * width * height:
                raise damaged(path, f"says {width}x{height} and has {size} bytes")
            file.seek(header.end())
            data = file.read()
    except OSError as error:
        raise unreadable(path, error) from error
    image = np.frombuffer(data, f"{order}f4").reshape(height, width, 3)[::-1]
    mask = image[..., 2] != 0
    return known(interleaved(image), mask if mask.any() else None)


def write(path: Path, uv: np.ndarray) -> None:
    height, width = uv.shape[1:]
    image = np.dstack((*uv, where_known(uv)))[::-1].astype("<f4")
    path.write_bytes(b"PF\n%d %d\n-1.0\n" % (width, height) + image.tobytes())


def _byte_order(path: Path, scale: bytes) -> str:
    try:
        number = float(scale)
    except ValueError:
        number = 0.0
    if number == 0 or not math.isfinite(number):
        raise strange(path)
    return "<" if number < 0 else ">"
