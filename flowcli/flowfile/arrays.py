"""NumPy's .npy and .npz: (2, H, W) float32, NaN where unknown; also one .npy for all flows of a video.

An .npz has the array `flow` and, where some of it is unknown, `valid`, (H, W) bool. What others write is read too:
(H, W, 2), half and double precision, and the `u` and `v` of VIPER, where values above 512 pixels mean unknown.
Nothing is unpickled.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from flowcli.errors import InputError
from flowcli.flowfile.base import Flow, floats, interleaved, known, where_known
from flowcli.regular import open_regular
from flowcli.stored import check_size, check_stored, damaged, read_bytes, strange, unreadable

_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    r"\{'descr': *'([<>|=]?)([fbiu])(\d{1,2})', *'fortran_order': *(True|False), *"
    r"'shape': *\(((?:\d{1,9}L?(?:, *|(?=\)))){0,8})\),? *\} *\n?"
)
_LONGEST = 4096
"""Most bytes that a header may have."""
_VIPER = 512


@dataclass(frozen=True)
class Stack:
    """The flows in one .npy file, which are read one by one. shape: (N, 2, H, W) or (N, H, W, 2)."""

    path: Path
    start: int
    dtype: np.dtype
    order: Literal["C", "F"]
    shape: tuple[int, ...]
    counted: bool
    """Whether the first axis of the array in the file says how many there are; otherwise it is one flow."""

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Each flow, (2, H, W) float32 in memory of its own. Raises InputError."""
        one = self.shape[1:]
        size = self.dtype.itemsize * math.prod(one)
        with open_regular(self.path) as file:
            file.seek(self.start)
            for _ in range(len(self)):
                data = file.read(size)
                if len(data) != size:
                    raise damaged(self.path, "is shorter now")
                flow: np.ndarray = np.frombuffer(data, self.dtype).reshape(one, order=self.order)
                yield floats(flow) if one[0] == 2 else interleaved(flow)


def read(path: Path) -> Flow:
    stack = open_stack(path)
    if len(stack) != 1:
        raise InputError(f"{path} holds {len(stack)} flows, not one", "flowcli convert reads them all")
    return known(next(iter(stack)))


def write(path: Path, uv: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, uv.astype("<f4"))
    path.write_bytes(buffer.getvalue())


def open_stack(path: Path) -> Stack:
    """The flows in the file: one, or as many as its first axis says. Raises InputError."""
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            dtype, order, shape = _read_header(path, file)
            start = file.tell()
    except OSError as error:
        raise unreadable(path, error) from error
    if size != start + dtype.itemsize * math.prod(shape):
        raise damaged(path, f"says {dtype} {shape} and has {size} bytes")
    one = (1, *shape) if len(shape) == 3 else shape
    if dtype.kind != "f" or len(one) != 4 or 2 not in (one[1], one[3]) or not one[0]:
        raise InputError(f"not a flow (2, height, width): {path} has {dtype} {shape}", "give an array of flow")
    if order == "F" and one[0] > 1:
        raise InputError(f"flows in Fortran's order: {path}", "save it by numpy.save(path, numpy.ascontiguousarray(a))")
    check_size(path, *(one[2:] if one[1] == 2 else one[1:3]))
    return Stack(path, start, dtype, order, one, one == shape)


def read_archive(path: Path) -> Flow:
    with _archive(path) as archive:
        arrays = {info.filename: info for info in archive.infolist()}
        if {"u.npy", "v.npy"} <= set(arrays):
            u, v = (_member(path, archive, arrays[name]) for name in ("u.npy", "v.npy"))
            if u.ndim != 2 or u.shape != v.shape:
                raise damaged(path, f"has u {u.shape} and v {v.shape}")
            uv = floats(np.stack((u, v)))
            return known(uv, np.all(np.abs(uv) <= _VIPER, axis=0))
        if "flow.npy" not in arrays:
            raise InputError(f"no flow in {path}", "an .npz of flow has an array called flow")
        uv = _planes(path, _member(path, archive, arrays["flow.npy"]))
        valid = _member(path, archive, arrays["valid.npy"]) != 0 if "valid.npy" in arrays else None
    if valid is not None and valid.shape != uv.shape[1:]:
        raise damaged(path, f"has flow {uv.shape} and valid {valid.shape}")
    return known(uv, valid)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays in an .npz, of numbers of any kind and shape, by name. Raises InputError."""
    with _archive(path) as archive:
        return {info.filename.removesuffix(".npy"): _member(path, archive, info) for info in archive.infolist()}


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; what goes wrong with it in the context raises InputError."""
    data = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, ValueError, EOFError, struct.error) as error:
        raise (damaged if data.startswith(b"PK") else strange)(path) from error


def write_archive(path: Path, uv: np.ndarray) -> None:
    buffer = io.BytesIO()
    flow = uv.astype("<f4")
    valid = where_known(uv)
    if valid.all():
        np.savez_compressed(buffer, flow=flow)
    else:
        np.savez_compressed(buffer, flow=flow, valid=valid)
    path.write_bytes(buffer.getvalue())


def _planes(path: Path, array: np.ndarray) -> np.ndarray:
    if array.ndim != 3 or 2 not in (array.shape[0], array.shape[2]):
        raise InputError(f"not a flow (2, height, width): {path} has {array.shape}", "give an array of flow")
    planar = array.shape[0] == 2
    check_size(path, *(array.shape[1:] if planar else array.shape[:2]))
    return floats(array) if planar else interleaved(array)


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise damaged(path, f"has {info.filename} compressed in a way that NumPy does not know")
    check_stored(path, info.file_size, info.compress_size)
    with archive.open(info) as file:
        dtype, order, shape = _read_header(path, file)
        size = dtype.itemsize * math.prod(shape)
        if size != info.file_size - file.tell():
            raise damaged(path, f"says that {info.filename} is {dtype} {shape}")
        array: np.ndarray = np.frombuffer(file.read(), dtype)
        return array.reshape(shape, order=order)


def _read_header(path: Path, file: IO[bytes]) -> tuple[np.dtype, Literal["C", "F"], tuple[int, ...]]:
    """Type, order and shape that the header of an .npy states; the file is left at the start of the data.

    Source: numpy.lib.format. A header is a Python dictionary; here it is matched, not evaluated.
    """
    start = file.read(8)
    if start[:6] != _MAGIC or len(start) < 8:
        raise strange(path)
    form = "<H" if start[6] == 1 else "<I"
    field = file.read(struct.calcsize(form))
    length = struct.unpack(form, field)[0] if len(field) == struct.calcsize(form) else 0
    match = _HEADER.fullmatch(file.read(min(length, _LONGEST)).decode("latin-1"))
    if match is None:
        raise damaged(path, "has a strange header")
    order, kind, size, fortran, numbers = match.groups()
    try:
        dtype = np.dtype(f"{order}{kind}{size}")
    except TypeError as error:
        raise damaged(path, f"says that its type is {kind}{size}") from error
    return dtype, "F" if fortran == "True" else "C", tuple(int(each) for each in re.findall(r"\d+", numbers))
