"""Folders of .npz files with the arrays of frames: those of key frames, and those of all frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flowcli.atomic import Part, write_error
from flowcli.carry.frames import by_number, find_for
from flowcli.errors import InputError
from flowcli.flowfile.arrays import read_arrays
from flowcli.inputs import find_input
from flowcli.types import Frame

_SUFFIXES = {".npz"}


@dataclass(eq=False)
class ArrayFiles:
    """The files of key frames."""

    files: dict[str, Path]
    """By their names without suffix."""
    first: bool
    """Whether it is one file, which belongs to the first frame, whatever its name."""
    kinds: dict[str, tuple[np.dtype, tuple[int, ...]]] = field(default_factory=dict)
    """Type and shape of each array, as the first file that was read has them."""

    def find(self, frame: Frame, first: bool) -> str | None:
        """The name of the file of a frame; first: whether it is the first frame."""
        if self.first:
            return next(iter(self.files)) if first else None
        names = {name: name for name in self.files}
        return find_for(frame, names, by_number(names))

    def read(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of a file. Raises InputError if it is damaged, or they differ from those of the first one."""
        path = self.files[name]
        arrays = read_arrays(path)
        if not arrays:
            raise InputError(f"no arrays in {path}", "save some by numpy.savez(path, features=array)")
        for each, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise InputError(f"{each} of {path} has numbers that are not finite", "leave none out")
        kinds = {each: (array.dtype, array.shape) for each, array in arrays.items()}
        self.kinds = self.kinds or kinds
        if kinds != self.kinds:
            raise InputError(
                f"{path} has {_shown(kinds)}, but the key frame before it {_shown(self.kinds)}",
                "give all key frames arrays of the same names, types and shapes",
            )
        return arrays


def find_arrays(text: str) -> ArrayFiles:
    """The files that `text` names: a folder or a pattern of .npz, or one for the first frame. Raises InputError."""
    given = find_input(text)
    files = given.files(_SUFFIXES)
    if not files:
        raise InputError(f"no .npz files in {text}", "put at least one there, named as its frame")
    return ArrayFiles({file.stem: file for file in files}, first=given.form == "file")


class ArrayFolder:
    """A sink of a folder of .npz files; items are names without suffix, and the arrays. Raises OutputError."""

    def __init__(self, folder: Path, overwrite: bool) -> None:
        self._part = Part(folder, overwrite, folder=True)

    def write(self, item: tuple[str, Mapping[str, np.ndarray]]) -> None:
        name, arrays = item
        try:
            # numpy takes arrays by any name, but its types say that `allow_pickle` may be among them.
            with (self._part.path / f"{name}.npz").open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)
        except OSError as error:
            raise write_error(self._part.target, error) from error

    def close(self) -> None:
        self._part.publish()

    def abort(self) -> None:
        self._part.discard()


def _shown(kinds: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {dtype} {shape}" for name, (dtype, shape) in kinds.items())
