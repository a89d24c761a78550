"""Reading weights that others wrote with torch, safetensors or Torch7. No code in a file is ever run.

Files of torch.save are read here and not by torch.load, which refuses all that holds more than weights or else runs its
code, and which inflates compressed data to any size. Here nothing is read that is not as long as it says.

Source of the formats of torch: pytorch/pytorch, torch/serialization.py, `_save` and `_legacy_save`.
"""

from __future__ import annotations

import io
import mmap
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from flowcli.errors import WeightsError
from flowcli.regular import open_regular
from flowcli.weights import torch7
from flowcli.weights.pickles import Global, Pickle, Reference, View, read_pickle

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_WRAPPERS, _MOST_WRAPPERS = ("module.", "model."), 4
_DTYPES = {**torch7.DTYPES, "BFloat16": torch.bfloat16, "Bool": torch.bool, "Untyped": torch.uint8}
_DAMAGE = (*torch7.DAMAGE, AttributeError, EOFError, OSError, SafetensorError, zipfile.BadZipFile)


@dataclass(frozen=True)
class _Storage:
    """Numbers that tensors are views of. count: how many; part: in old files, (key, first, how many) are meant."""

    key: str
    dtype: torch.dtype
    count: int
    part: Any


_Load = Callable[[_Storage], Tensor]


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The weights in the file, on the CPU, by their names and in their order there.

    In a pickle they are what `state_dict` or `model` holds, or all of it; a prefix `module.` or `model.` of every name
    is taken off. From Torch7 they come as from `torch7.weights`. As in torch, tensors may be views and share memory.
    Raises WeightsError if the file is missing, damaged, of another kind, or holds no weights.
    """
    calls: list[str] = []
    with _opened(path) as file:
        start = file.read(9)
        file.seek(0)
        if start.startswith(b"PK\x03\x04"):
            state, calls = _read_zip(file)
        elif start.startswith(b"\x80"):
            state, calls = _read_legacy(file)
        elif start[8:] == b"{":
            state = load_file(path)
        elif start[:8] in (struct.pack("<2i", kind, 1) for kind in (3, 4)):
            state = torch7.weights(file.read())
        else:
            said = "not a checkpoint" if start else "checkpoint is empty"
            hint = "fetch it again; of a repository with large files, fetch those as well"
            raise WeightsError(f"{said}: {path}", hint)
    if not state:
        called = next((call for call in calls if re.fullmatch(r"[\w.]+", call)), "")
        would = f": it would call {called}" if called else ""
        raise WeightsError(f"no weights in the checkpoint: {path}{would}", "choose a file with a state_dict")
    # Several GPUs; Lightning; or one in the other.
    for _ in range(_MOST_WRAPPERS):
        prefix = next((each for each in _WRAPPERS if all(name.startswith(each) for name in state)), "")
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = open_regular(path)
    except OSError as error:
        raise WeightsError(f"cannot read checkpoint: {path}: {error.strerror}", "check the name") from error
    with file:
        try:
            yield file
        except _DAMAGE as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise WeightsError(f"damaged checkpoint: {path}: {reason}", "fetch it again") from error


def _read_zip(file: IO[bytes]) -> tuple[dict[str, Tensor], list[str]]:
    """The weights, and what the pickle would have called.

    The format of torch 1.6 and later: a zip archive of a pickle and a file for each storage.
    """
    with zipfile.ZipFile(file) as archive:
        name = pickle_name(archive, file.seek(0, io.SEEK_END))
        folder = name.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("its numbers are big-endian")
        pickle = read_pickle(io.BytesIO(archive.read(name)))

        def load(storage: _Storage) -> Tensor:
            return _numbers(archive.read(f"{folder}data/{storage.key}"), storage)

        return _weights(pickle, load), pickle.calls


def pickle_name(archive: zipfile.ZipFile, size: int) -> str:
    """The name of the pickle in an archive of torch's, whose file has `size` bytes. Raises ValueError."""
    parts = archive.infolist()
    # torch.save compresses nothing; files that lie upon each other in the archive, or grow, are an attack.
    if sum(part.file_size for part in parts) > size or any(part.compress_type for part in parts):
        raise ValueError("it is compressed, or larger inside than outside")
    name = next((part.filename for part in parts if re.fullmatch(r"[^/]+/data\.pkl", part.filename)), "")
    if not name:
        raise ValueError("a zip archive, but not of torch")
    return name


def _read_legacy(whole: IO[bytes]) -> tuple[dict[str, Tensor], list[str]]:
    """The weights, and what the pickle would have called.

    The format of torch before 1.6: five pickles, then for each storage the number of its elements and the elements.
    """
    # A map gives at most what is there, where a file makes room for all that is asked for.
    with mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        file, size = cast(IO[bytes], mapped), len(mapped)
        if read_pickle(file).content != _MAGIC or read_pickle(file).content != _VERSION:
            raise ValueError("a pickle, but not of torch")
        if read_pickle(file).content.get("little_endian") is False:
            raise ValueError("its numbers are big-endian")
        pickle = read_pickle(file)
        dtypes = {storage.key: storage.dtype for storage in map(_storage, pickle.references) if storage}
        places: dict[str, tuple[int, int]] = {}
        for key in read_pickle(file).content:
            if not isinstance(key, str):  # A tuple in a tuple in a tuple ... would be hashed below.
                raise ValueError("a storage without a name")
            (count,) = struct.unpack("<q", file.read(8))
            length, place = count * dtypes[key].itemsize, file.tell()
            if not 0 <= length <= size - place:
                raise ValueError(f"{count} numbers should follow where {size - place} bytes are left")
            places[key] = place, length
            file.seek(place + length)

        def load(storage: _Storage) -> Tensor:
            place, length = places[storage.key]
            file.seek(place)
            return _numbers(file.read(length), storage)

        return _weights(pickle, load), pickle.calls


def _numbers(content: bytes, storage: _Storage) -> Tensor:
    if len(content) != storage.count * storage.dtype.itemsize:
        raise ValueError(f"{len(content)} bytes where {storage.count} numbers of type {storage.dtype} should be")
    return torch.frombuffer(bytearray(content), dtype=storage.dtype) if content else torch.empty(0, dtype=storage.dtype)


def _storage(reference: Reference) -> _Storage | None:
    """The storage that is meant; None if something else is: old files refer to the source of classes as well."""
    match reference.label:
        case ("storage", Global(name), str(key), _, int(count), *part):
            kind = re.fullmatch(r"torch\.(?:cuda\.|storage\.)?(\w+)Storage", name)
            dtype = _DTYPES.get(kind[1]) if kind else None
            return _Storage(key, dtype, count, part[0] if part else None) if dtype else None
    return None


def _weights(pickle: Pickle, load: _Load) -> dict[str, Tensor]:
    """The tensors of the first state dict in the pickle, by their names; load: reads a storage."""
    content = pickle.content if isinstance(pickle.content, dict) else {}
    states = [content.get("state_dict"), content.get("model"), content]
    views = ({k: v for k, v in state.items() if isinstance(v, View)} for state in states if isinstance(state, dict))
    read: dict[str, Tensor] = {}

    def tensor(view: View) -> Tensor:
        reference, offset, size, stride, *_ = view.arguments
        storage = _storage(reference)
        if storage is None:
            raise ValueError("a tensor has no storage")
        if storage.key not in read:
            read[storage.key] = load(storage)
        flat = read[storage.key]
        if storage.part is not None:
            _, first, count = storage.part
            flat = torch7.strided(flat, first, (count,), (1,))
        return torch7.strided(flat, offset, size, stride)

    return {name: tensor(view) for name, view in next(filter(None, views), {}).items()}
