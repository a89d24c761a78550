"""Middlebury's .flo: float32; Sintel and FlyingChairs use it too.

Source: the README of the flow code at vision.middlebury.edu.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flowcli.flowfile.base import Flow, interleaved, known, where_known
from flowcli.regular import open_regular
from flowcli.stored import LARGEST, damaged, strange, unreadable

_MAGIC = b"PIEH"
_WRITTEN_UNKNOWN = 1e10


def read(path: Path) -> Flow:
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            header = file.read(12)
            if header[:4] != _MAGIC or len(header) < 12:
                raise strange(path)
            width, height = (int(value) for value in np.frombuffer(header, "<i4", 2, offset=4))
            # Before anything of this size is allocated.
            if not (1 <= width <= LARGEST and 1 <= height <= LARGEST) or size != 12 + 8 * width * height:
                raise damaged(path, f"says {width}x{height} and has {size} bytes")
            data = file.read()
    except OSError as error:
        raise unreadable(path, error) from error
    return known(interleaved(np.frombuffer(data, "<f4").reshape(height, width, 2)))


def write(path: Path, uv: np.ndarray) -> None:
    height, width = uv.shape[1:]
    data = np.where(where_known(uv), uv, _WRITTEN_UNKNOWN).transpose(1, 2, 0).astype("<f4")
    path.write_bytes(_MAGIC + np.array((width, height), "<i4").tobytes() + data.tobytes())
