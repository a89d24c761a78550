"""Frames from picture files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from flowcli.errors import InputError
from flowcli.inputs import Input, find_input, quoted
from flowcli.pages import is_animation, mapped, picture_pages
from flowcli.pictures import PICTURE_SUFFIXES, PLATE_SUFFIXES, read_picture, warn_of_damage
from flowcli.sequences import arrange, listed
from flowcli.types import Closes, Frame, Gaps, StreamInfo
from flowcli.video.plates import read_plate
from flowcli.video.selection import Selection

_LOG = logging.getLogger("flowcli")
_RATE = Fraction(25)
_HINT = "--gaps skip leaves out flow across gaps, --gaps bridge takes what follows as neighbours; or name one sequence"
_CONVERT = "convert it to PNG first"
_EXPORT = "export it as PNG or JPEG, or: heif-convert IN.heic OUT.png"
_DEVELOP = "develop it first, to PNG or TIFF, with a program for the camera's raw files"
_OTHER_PICTURES = {
    **dict.fromkeys((".cin", ".hdr", ".tga", ".psd", ".pfm", ".jxl", ".jxr", ".svg", ".pcx", ".ico"), _CONVERT),
    **dict.fromkeys((".heic", ".heif"), _EXPORT),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"), _DEVELOP),
}
"""Suffixes of pictures that are not read, and what to do with them."""
SEQUENCE_SUFFIXES = (*PICTURE_SUFFIXES, *PLATE_SUFFIXES)
"""Suffixes of files that can be frames, lower case."""
_FORMS = {"stdin": "standard input", "folder": "a folder", "pattern": "a pattern"}


@dataclass(frozen=True)
class Picture:
    """A picture file, or a page of one."""

    file: Path
    page: int | None = None

    def read(self, deep: bool, on_damage: Callable[[Path, str], None] = warn_of_damage) -> np.ndarray:
        """(H, W, 3) uint8 RGB, or with `deep` uint16 if the file has more. on_damage: as of `read_picture`.

        Raises InputError.
        """
        if self.file.suffix.lower() in PLATE_SUFFIXES:
            return read_plate(self.file, on_damage, deep=deep)
        return read_picture(self.file, self.page, on_damage, deep=deep)

    def __str__(self) -> str:
        return str(self.file) if self.page is None else f"page {self.page + 1} of {self.file}"


class PictureSource(Closes):
    """The pictures as frames, in their order, at 25 per second.

    starts: places of pictures that are marked as cuts, since they do not follow on the one before. deep: all are uint16
    if the first has 16 bits. Damaged ones are used as far as they can be decoded; one warning at the end names them.
    Raises InputError if one cannot be read, or has another size or fewer bits; with `strict` also if it is damaged.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        selection: Selection,
        starts: Set[int] = frozenset(),
        *,
        strict: bool = False,
        deep: bool = False,
    ) -> None:
        self.damage = ""
        self._damaged: list[Path] = []
        self._strict = strict
        self._pictures = pictures
        self._starts = starts
        self._indices = selection.indices(len(pictures), _RATE)
        self.named = len({picture.file.stem for picture in pictures}) == len(pictures)
        """Whether its frames have the names of their files."""
        if not self._indices:
            raise InputError(f"nothing is left of {len(pictures)} pictures", "choose an earlier start or a later stop")
        self._first = pictures[self._indices[0]].read(deep, self._note_damage)
        self._deep = self._first.dtype == np.uint16
        height, width = self._first.shape[:2]
        self.info = StreamInfo(height, width, _RATE, len(self._indices), bits=16 if self._deep else 8)

    def __iter__(self) -> Iterator[Frame]:
        last: int | None = None
        for index in self._indices:
            picture = self._pictures[index]
            cut = last is not None and not self._starts.isdisjoint(range(last + 1, index + 1))
            last = index
            image = self._first if index == self._indices[0] else picture.read(self._deep, self._note_damage)
            self._check_form(picture, image)
            yield Frame(image, index, index / _RATE, picture.file.stem if self.named else None, cut)
        if len(self._damaged) > 1:
            names = listed([file.name for file in self._damaged[1:]])
            self.damage += f"; so are {len(self._damaged) - 1} more: {names}"
        if self.damage:
            _LOG.warning("%s", self.damage)

    def close(self) -> None:
        """Nothing is held open."""

    def _note_damage(self, file: Path, damage: str) -> None:
        told = f"{file} is damaged ({damage})"
        if self._strict:
            raise InputError(told, "get it again; without --strict it is used as far as it goes")
        self.damage = self.damage or told
        self._damaged.append(file)

    def _check_form(self, picture: Picture, image: np.ndarray) -> None:
        height, width = image.shape[:2]
        if image.shape != self._first.shape:
            first = self._pictures[self._indices[0]]
            raise InputError(
                f"{picture} is {width}x{height}, but {first} is {self.info.width}x{self.info.height}",
                "make all pictures the same size",
            )
        if image.dtype != self._first.dtype:
            first = self._pictures[self._indices[0]]
            raise InputError(f"{picture} has 8 bits per channel, but {first} has 16", "convert them to the same depth")


def open_pictures(
    given: Input, selection: Selection, gaps: Gaps, *, strict: bool = False, deep: bool = False
) -> PictureSource:
    """The pictures that an input names, by the numbers in their names; what is unusual about these is logged.

    Raises InputError if it is a folder without pictures, or names another file; with "error" for gaps, for several
    sequences, and for several files of one frame.
    """
    if given.form == "file":
        return PictureSource(_pages(given.paths[0]), selection, strict=strict, deep=deep)
    found = arrange(_picture_files(given), SEQUENCE_SUFFIXES)
    if found.notes and gaps == "error":
        raise InputError(f"no gapless sequence: {given.text}: {'; '.join(found.notes)}", _HINT)
    if found.notes:
        across = "; no flow leads across, unless --gaps bridge" if gaps == "skip" else "; flow leads across"
        _LOG.warning("%s: %s%s", given.text, "; ".join(found.notes), across if found.starts else "")
    starts = found.starts if gaps == "skip" else frozenset[int]()
    return PictureSource(list(map(Picture, found.files)), selection, starts, strict=strict, deep=deep)


def is_animated(file: Path) -> bool:
    """Whether the file is an animated picture, which ffmpeg reads as a video."""
    try:
        return is_animation(mapped(file))
    except OSError:
        return False


def _pages(file: Path) -> list[Picture]:
    """The pages of a TIFF that has several, or the picture itself."""
    try:
        pages = picture_pages(mapped(file))
    except OSError:
        pages = []
    return [Picture(file, page) for page in pages] if len(pages) > 1 else [Picture(file)]


def _picture_files(given: Input) -> list[Path]:
    # Beside pictures an .exr is more likely to be their flow.
    files = given.files(PICTURE_SUFFIXES) or given.files(PLATE_SUFFIXES)
    if given.form == "folder" and not files:
        raise InputError(f"no pictures in folder: {given.text}", f"it may hold {' '.join(sorted(SEQUENCE_SUFFIXES))}")
    if not files:
        raise InputError(f"no file matches: {given.text}", "check the pattern")
    for file in files:
        _check_picture(file)
    return files


def picture_pair(first: str, second: str) -> list[Picture]:
    """The two pictures. Raises InputError if one of them is not a picture file."""
    if hint := quoted((first, second)):
        raise InputError(f"no such file: {first}", hint)
    pair = []
    for given in map(find_input, (first, second)):
        if given.form != "file":
            form = _FORMS[given.form]
            raise InputError(f"two pictures are needed, this is {form}: {given.text}", f"pass {form} alone")
        _check_picture(given.paths[0])
        pair.append(Picture(given.paths[0]))
    return pair


def _check_picture(file: Path) -> None:
    check_kind(file)
    if file.suffix.lower() not in SEQUENCE_SUFFIXES:
        hint = "give a video alone, or two pictures; flowcli batch takes many videos"
        raise InputError(f"not a picture file: {file}", hint)


def check_kind(file: Path) -> None:
    """Raises InputError for a file that has the suffix of a kind of pictures that is not read."""
    suffix = file.suffix.lower()
    if suffix in _OTHER_PICTURES:
        raise InputError(f"pictures of this kind are not read: {file}", _OTHER_PICTURES[suffix])
