"""Frames from picture files."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence, Set
from fractions import Fraction
from pathlib import Path

import numpy as np

from flowcli.errors import InputError
from flowcli.inputs import Input, find_input
from flowcli.pictures import PICTURE_SUFFIXES, read_picture
from flowcli.sequences import arrange
from flowcli.types import Closes, Frame, Gaps, StreamInfo
from flowcli.video.selection import Selection

_LOG = logging.getLogger("flowcli")
_RATE = Fraction(25)
_HINT = "--gaps skip leaves out flow across gaps, --gaps bridge takes what follows as neighbours; or name one sequence"
_OTHER_PICTURES = frozenset((
    ".exr", ".dpx", ".cin", ".hdr", ".heic", ".heif", ".jxl", ".tga", ".psd", ".pfm", ".jxr", ".svg", ".pcx", ".ico",
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2",
))  # fmt: skip
_FORMS = {"stdin": "standard input", "folder": "a folder", "pattern": "a pattern"}


class PictureSource(Closes):
    """The pictures in `files` as frames, in that order, at 25 per second.

    starts: places of files that are marked as cuts, since they do not follow on the one before.
    Raises InputError if one cannot be read or has another size.
    """

    def __init__(self, files: Sequence[Path], selection: Selection, starts: Set[int] = frozenset()) -> None:
        self._files = files
        self._starts = starts
        self._indices = selection.indices(len(files), _RATE)
        self._named = len({file.stem for file in files}) == len(files)
        if not self._indices:
            raise InputError(f"nothing is left of {len(files)} pictures", "choose an earlier start or a later stop")
        self._first = read_picture(files[self._indices[0]])
        height, width = self._first.shape[:2]
        self.info = StreamInfo(height, width, _RATE, len(self._indices))

    def __iter__(self) -> Iterator[Frame]:
        last: int | None = None
        for index in self._indices:
            file = self._files[index]
            cut = last is not None and not self._starts.isdisjoint(range(last + 1, index + 1))
            last = index
            image = self._first if index == self._indices[0] else read_picture(file)
            self._check_size(file, image)
            yield Frame(image, index, index / _RATE, file.stem if self._named else None, cut)

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


def open_pictures(given: Input, selection: Selection, gaps: Gaps) -> PictureSource:
    """The pictures that an input names, by the numbers in their names; what is unusual about these is logged.

    Raises InputError if it is a folder without pictures, or names another file; with "error" for gaps, for several
    sequences, and for several files of one frame.
    """
    found = arrange(_picture_files(given), PICTURE_SUFFIXES)
    if found.notes and gaps == "error":
        raise InputError(f"no gapless sequence: {given.text}: {'; '.join(found.notes)}", _HINT)
    if found.notes:
        across = "; no flow leads across, unless --gaps bridge" if gaps == "skip" else "; flow leads across"
        _LOG.warning("%s: %s%s", given.text, "; ".join(found.notes), across if found.starts else "")
    return PictureSource(found.files, selection, found.starts if gaps == "skip" else frozenset())


def _picture_files(given: Input) -> list[Path]:
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
    if not os.path.exists(first) and os.path.exists(whole := f"{first} {second}"):
        raise InputError(f"no such file: {first}", f"quote a name with spaces: '{whole}'")
    files = []
    for given in map(find_input, (first, second)):
        if given.form != "file":
            form = _FORMS[given.form]
            raise InputError(f"two pictures are needed, this is {form}: {given.text}", f"pass {form} alone")
        _check_picture(given.paths[0])
        files.append(given.paths[0])
    return files


def _check_picture(file: Path) -> None:
    suffix = file.suffix.lower()
    if suffix in _OTHER_PICTURES:
        raise InputError(f"pictures of this kind are not read: {file}", "convert them to PNG first")
    if suffix not in PICTURE_SUFFIXES:
        raise InputError(f"not a picture file: {file}", "pass a video alone, or two pictures")
