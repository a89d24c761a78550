"""Frames of film and rendering, for tests that read them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def write_exr(path: Path, channels: dict[str, np.ndarray], **header: object) -> Path:
    """An OpenEXR file, by the library."""
    import OpenEXR

    form = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File({**form, **header}, channels).write(str(path))
    return path


def write_dpx(path: Path, codes: np.ndarray) -> Path:
    """(H, W, 3) of 10 bits, as SMPTE ST 268 has them: three to a word of 32 bits, most significant first."""
    height, width = codes.shape[:2]
    head = bytearray(2048)
    struct.pack_into(">4sI8sI", head, 0, b"SDPX", 2048, b"V1.0\0\0\0\0", 2048 + 4 * height * width)
    struct.pack_into(">I", head, 660, 0xFFFFFFFF)
    struct.pack_into(">HHII", head, 768, 0, 1, width, height)
    struct.pack_into(">BBBBHHI", head, 800, 50, 2, 2, 10, 1, 0, 2048)
    red, green, blue = codes.astype(np.uint32).transpose(2, 0, 1)
    words = red << 22 | green << 12 | blue << 2
    path.write_bytes(bytes(head) + words.astype(">u4").tobytes())
    return path
