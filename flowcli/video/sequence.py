"""Frames out of picture files."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from flowcli.errors import InputError
from flowcli.pictures import PICTURE_SUFFIXES, read_picture
from flowcli.types import Closes, Frame, StreamInfo
from flowcli.video.selection import Selection

_RATE = Fraction(25)


class PictureSource(Closes):
    """The pictures of `files` in that order, 25 a second. Raises InputError if one is unreadable or of another size."""

    def __init__(self, files: list[Path], selection: Selection) -> None:
        self._files = files
        self._indices = selection.indices(len(files), _RATE)
        self._named = len({file.stem for file in files}) == len(files)
        if not self._indices:
            raise InputError(f"nothing is left of {len(files)} pictures", "choose an earlier start or a later stop")
        self._first = read_picture(files[self._indices[0]])
        height, width = self._first.shape[:2]
        self.info = StreamInfo(height, width, _RATE, len(self._indices))

    def __iter__(self) -> Iterator[Frame]:
        for index in self._indices:
            file = self._files[index]
            image = self._first if index == self._indices[0] else read_picture(file)
            self._check_size(file, image)
            yield Frame(image, index, index / _RATE, file.stem if self._named else None)

    def close(self) -> None:
        """Nothing is held open."""

    def _check_size(self, file: Path, image: np.ndarray) -> None:
        height, width = image.shape[:2]
        if image.shape != self._first.shape:
            first = self._files[self._indices[0]]
            raise InputError(
                f"{file} is {width}x{height}, but {first} is {self.info.width}x{self.info.height}",
                "make all pictures the same size",
            )


def picture_files(folder: Path) -> list[Path]:
    """The pictures in `folder`, frame2 before frame10, without hidden files. Raises InputError if there is none."""
    try:
        files = [file for file in folder.iterdir() if _is_picture(file) and not file.name.startswith(".")]
    except PermissionError as error:
        raise InputError(f"folder is not readable: {folder}", "check its permissions") from error
    if not files:
        raise InputError(f"no pictures in folder: {folder}", f"it may hold {' '.join(sorted(PICTURE_SUFFIXES))}")
    return sorted(files, key=natural)


def glob_files(pattern: str) -> list[Path]:
    """The pictures that match, frame2 before frame10. Raises InputError if none matches or a match is no picture."""
    files = [file for file in map(Path, glob.glob(pattern)) if file.is_file()]
    if not files:
        raise InputError(f"no file matches: {pattern}", "check the pattern")
    for file in files:
        _check_picture(file)
    return sorted(files, key=natural)


def pair_files(first: Path, second: Path) -> list[Path]:
    """The two. Raises InputError if one of them is not a picture file."""
    for file in (first, second):
        if file.is_dir():
            raise InputError(f"two pictures are needed, this is a folder: {file}", "pass a folder alone")
        if not file.exists():
            raise InputError(f"no such file: {file}", "check the name")
        _check_picture(file)
    return [first, second]


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURE_SUFFIXES and file.is_file()


def _check_picture(file: Path) -> None:
    if not _is_picture(file):
        raise InputError(f"not a picture file: {file}", "pass a video alone, or two pictures")


def natural(file: Path) -> tuple[list[tuple[int, str]], str]:
    """Sorts numbers in a name by their value."""
    parts = re.split(r"(\d+)", str(file))
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in parts], str(file)
