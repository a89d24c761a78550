"""Files of flow vectors: Middlebury .flo and KITTI 16-bit .png."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from flowcli.atomic import Part, write_error
from flowcli.errors import InputError, OutputError
from flowcli.pictures import read_unscaled, write_picture
from flowcli.types import FlowPair, Sink

Flow = tuple[np.ndarray, np.ndarray | None]
"""uv: (2, H, W) float32, 0 where unknown; valid: (H, W) bool, None where all of it is known."""

_MAGIC = b"PIEH"
_UNKNOWN = 1e9
"""In a .flo file greater values mean unknown."""
_WRITTEN_UNKNOWN = 1e10
_LARGEST = 99_999
"""Greatest width or height of a .flo file."""


def read_flow(path: str | PathLike[str]) -> Flow:
    """The flow in the file; its suffix names the format. Raises InputError if it is missing, damaged or not a flow."""
    path = Path(path)
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise InputError(f"unknown kind of flow file: {path}", f"flow is read from {' '.join(FORMATS)}")
    return form.read(path)


def write_flow(path: str | PathLike[str], uv: np.ndarray, valid: np.ndarray | None = None) -> None:
    """Writes the flow in the format that the suffix names. uv: (2, H, W) pixels, NaN where unknown; valid: (H, W) bool.

    Raises OutputError for an unknown suffix, OSError if the file cannot be written.
    """
    path = Path(path)
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise OutputError(f"unknown kind of flow file: {path}", f"flow is written to {' '.join(FORMATS)}")
    known = np.isfinite(uv).all(axis=0)
    form.write(path, uv, known if valid is None else known & valid)


def open_flow_sink(
    target: Path, *, folder: bool, suffix: str = ".flo", tag: str = "", overwrite: bool = False
) -> Sink[FlowPair]:
    """Writes forward flows: one to the file `target`, or each to `target`/<name of the earlier frame><tag><suffix>.

    Nothing appears under the final names before `close`. Raises OutputError if the target is taken or cannot be made.
    """
    return _FlowSink(Part(target, overwrite, folder), suffix, tag)


class _FlowSink:
    def __init__(self, part: Part, suffix: str, tag: str) -> None:
        self._part = part
        self._suffix = suffix
        self._tag = tag

    def write(self, pair: FlowPair) -> None:
        path = self._part.path
        if self._part.folder:
            path /= f"{pair.earlier.stem}{self._tag}{self._suffix}"
        if path.exists():
            target = self._part.target
            if self._part.folder:
                raise OutputError(f"two frames have the same name: {path.name} in {target}", "rename one of them")
            raise OutputError(f"{target} holds one flow, but there are more", "give a folder instead")
        flow = pair.forward
        valid = None if flow.valid is None else flow.valid.cpu().numpy()
        try:
            write_flow(path, flow.uv.cpu().numpy(), valid)
        except OSError as error:
            raise write_error(self._part.target, error) from error

    def close(self) -> None:
        if not self._part.path.exists():
            raise OutputError(f"no flow for {self._part.target}: there is only one frame", "flow needs two frames")
        self._part.publish()

    def abort(self) -> None:
        self._part.discard()


def _read_flo(path: Path) -> Flow:
    hint = "get the file again"
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            header = file.read(12)
            if header[:4] != _MAGIC or len(header) < 12:
                raise InputError(f"not a .flo file: {path}", hint)
            width, height = (int(value) for value in np.frombuffer(header, "<i4", 2, offset=4))
            # Before anything of this size is allocated.
            if not (1 <= width <= _LARGEST and 1 <= height <= _LARGEST) or size != 12 + 8 * width * height:
                raise InputError(f"damaged .flo file: {path} says {width}x{height} and has {size} bytes", hint)
            data = file.read()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", "check the name and the permissions") from error
    uv = np.array(np.frombuffer(data, "<f4").reshape(height, width, 2).transpose(2, 0, 1), np.float32, order="C")
    return _flow(uv, np.all(np.abs(uv) <= _UNKNOWN, axis=0))


def _write_flo(path: Path, uv: np.ndarray, valid: np.ndarray) -> None:
    height, width = valid.shape
    data = np.where(valid, uv, _WRITTEN_UNKNOWN).transpose(1, 2, 0).astype("<f4")
    path.write_bytes(_MAGIC + np.array((width, height), "<i4").tobytes() + data.tobytes())


def _read_kitti(path: Path) -> Flow:
    image = read_unscaled(path)
    if image.dtype != np.uint16 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"a picture, but not a flow (16-bit RGB): {path}", "give a KITTI flow file")
    uv = (image[..., :2].astype(np.float32).transpose(2, 0, 1) - 32768) / 64
    return _flow(uv, image[..., 2] > 0)


def _write_kitti(path: Path, uv: np.ndarray, valid: np.ndarray) -> None:
    stored = np.clip(np.rint(np.where(valid, uv, 0) * 64.0) + 32768, 0, 65535)
    write_picture(path, np.dstack((*np.where(valid, stored, 0), valid)).astype(np.uint16))


def _flow(uv: np.ndarray, valid: np.ndarray) -> Flow:
    if valid.all():
        return uv, None
    uv[:, ~valid] = 0
    return uv, valid


@dataclass(frozen=True)
class Format:
    """How one kind of flow file is read and written."""

    read: Callable[[Path], Flow]
    write: Callable[[Path, np.ndarray, np.ndarray], None]


FORMATS = {".flo": Format(_read_flo, _write_flo), ".png": Format(_read_kitti, _write_kitti)}
"""Suffix, lower case, to format."""
