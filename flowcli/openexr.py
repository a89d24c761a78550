"""The channels of OpenEXR files. Needs the package OpenEXR."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from flowcli.complaints import overheard
from flowcli.environment import MORE_PIXELS, max_pixels
from flowcli.errors import InputError
from flowcli.stored import check_size, damaged, need, read_bytes, strange

MARK = "flowcli"
"""The attribute that says of a file written here that it holds motion, and which."""
_MAGIC = b"\x76\x2f\x31\x01"
_DENSEST = 65_536
"""Most bytes of pixels that one byte of a file may expand to; a picture of one colour comes near it."""
_MAIN = "Combined."
"""What the layer of the finished picture ends with in Blender's files of several layers."""


class _Muted:
    """Standard output as all other threads know it; what this thread writes is dropped.

    The library prints its complaints there.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._stdout = sys.stdout

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stdout.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stdout, name)


_muting = threading.Lock()
"""One thread at a time: of two, the first to end would bring back what the second had found."""


@contextmanager
def open_channels(path: Path) -> Iterator[Channels]:
    """The channels of the file. What is wrong with it raises InputError, here or in the context."""
    need("OpenEXR", path)
    data = read_bytes(path)
    if not data.startswith(_MAGIC):
        raise strange(path)
    with _muting, contextlib.redirect_stdout(_Muted()), overheard():
        try:
            yield Channels(path, data)
        except InputError:
            raise
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
            raise damaged(path) from error


class Channels:
    """The channels of all parts of a file, read once their sizes are checked."""

    def __init__(self, path: Path, data: bytes) -> None:
        import OpenEXR

        self.path = path
        headers = [part.header for part in OpenEXR.File(io.BytesIO(data), header_only=True).parts]
        self._display = _corners(headers[0]["displayWindow"])
        left, top, right, bottom = self._display
        check_size(path, bottom - top, right - left)
        if (bottom - top) * (right - left) > max_pixels():
            raise InputError(f"picture of more than {max_pixels()} pixels: {path}", MORE_PIXELS)
        size = 4 * (bottom - top) * (right - left)
        for header in headers:
            left, top, right, bottom = _corners(header["dataWindow"])
            check_size(path, bottom - top, right - left)
            size += 4 * (bottom - top) * (right - left) * len(header["channels"])
        if size > len(data) * _DENSEST:
            raise damaged(path, f"promises {size} bytes and has {len(data)}")
        self.said = str(headers[0].get(MARK, "")).split()
        """The directions that flowcli wrote; empty for files of other programs."""
        parts = OpenEXR.File(io.BytesIO(data), separate_channels=True).parts
        # The library leaves out a part that it cannot read.
        if len(parts) != len(headers):
            raise damaged(path)
        self._channels = {
            name: (channel.pixels, _corners(part.header["dataWindow"]))
            for part in parts
            for name, channel in part.channels.items()
        }

    @property
    def names(self) -> list[str]:
        return sorted(self._channels)

    def holds(self, names: tuple[str, ...]) -> bool:
        """Whether one layer has all of these channels."""
        return self._prefix(names) is not None

    def planes(self, names: tuple[str, ...]) -> np.ndarray:
        """(len(names), H, W) float32 of the display window, NaN outside the data window."""
        prefix = self._prefix(names)
        left, top, right, bottom = self._display
        planes = np.full((len(names), bottom - top, right - left), np.nan, np.float32)
        for plane, name in zip(planes, names, strict=True):
            pixels, (x, y, x_end, y_end) = self._channels[f"{prefix}{name}"]
            if pixels.shape != (y_end - y, x_end - x) or pixels.dtype.kind != "f":
                raise damaged(self.path, f"has {pixels.dtype} {pixels.shape} in {name}")
            # The part of the data window that lies in the display window, in the coordinates of both.
            x_in, y_in, x_out, y_out = max(x, left), max(y, top), min(x_end, right), min(y_end, bottom)
            if x_in < x_out and y_in < y_out:
                inside = pixels[y_in - y : y_out - y, x_in - x : x_out - x]
                plane[y_in - top : y_out - top, x_in - left : x_out - left] = inside
        return planes

    def _prefix(self, names: tuple[str, ...]) -> str | None:
        """The layer that has all of these channels: "" or a name that ends with a dot; None if there is none.

        Of several the one without a name, then that of the finished picture, then the first.
        """
        ends = {name.removesuffix(names[0]) for name in self.names if name.endswith(names[0])}
        layers = [
            layer
            for layer in sorted(ends)
            if layer[-1:] in ("", ".") and all(layer + name in self._channels for name in names)
        ]
        return min(layers, key=lambda layer: (layer != "", not layer.endswith(_MAIN)), default=None)


def _corners(window: Any) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the window; right and bottom are exclusive."""
    (left, top), (right, bottom) = ((int(value) for value in corner) for corner in window)
    return left, top, right + 1, bottom + 1
