"""Frames from picture files."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from flowcli.errors import InputError
from flowcli.inputs import Input, find_input
from flowcli.pictures import PICTURE_SUFFIXES, read_picture
from flowcli.types import Closes, Frame, StreamInfo
from flowcli.video.selection import Selection

_RATE = Fraction(25)
_FORMS = {"stdin": "standard input", "folder": "a folder", "pattern": "a pattern"}


class PictureSource(Closes):
    """The pictures in `files` as frames, in that order, at 25 per second.

    Raises InputError if one cannot be read or has another size.
    """

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


def picture_files(given: Input) -> list[Path]:
    """The pictures that an input names. Raises InputError if it is a folder without any, or names another file."""
    files = given.files(PICTURE_SUFFIXES)
    if given.form == "folder" and not files:
        raise InputError(f"no pictures in folder: {given.text}", f"it may hold {' '.join(sorted(PICTURE_SUFFIXES))}")
    if not files:
        raise InputError(f"no file matches: {given.text}", "check the pattern")
    for file in files:
        _check_picture(file)
    return files


def picture_pair(first: str, second: str) -> list[Path]:
    """The two files. Raises InputError if one of them is not a picture file."""
    files = []
    for given in map(find_input, (first, second)):
        if given.form != "file":
            form = _FORMS[given.form]
            raise InputError(f"two pictures are needed, this is {form}: {given.text}", f"pass {form} alone")
        _check_picture(given.paths[0])
        files.append(given.paths[0])
    return files


def _check_picture(file: Path) -> None:
    if file.suffix.lower() not in PICTURE_SUFFIXES:
        raise InputError(f"not a picture file: {file}", "pass a video alone, or two pictures")
