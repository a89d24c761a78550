"""Outputs that appear whole or not at all, and replace nothing unasked."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from flowcli.errors import OutputError
from flowcli.private import Private
from flowcli.renames import merge, rename_new, replace_folder

_LONGEST_SUFFIX = 16
"""Bytes; what is longer is no kind of file."""
_OLD = "old"
_ANOTHER = "pass -y to replace it, or choose another name"
_SPECIAL = {stat.S_ISFIFO: "a pipe", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device", stat.S_ISSOCK: "a socket"}


class Part:
    """A private path to write to: `publish` renames it to `target`, `discard` removes it.

    target: a file, or with `folder` a folder; if it is a link, what it points to. Of a folder that is there already,
    files are replaced whose names differ from new ones in digits alone, and all others stay. Several parts of one
    folder appear together, when the last one is published. Raises OutputError if the target exists and `overwrite` is
    not set (an empty folder counts as free), then or when it is to be published, or if its parent folder is missing or
    not writable. As a context manager it publishes when the block ends well.
    """

    def __init__(self, target: Path, overwrite: bool = False, folder: bool = False) -> None:
        check_free(target, overwrite, folder)
        self.target = target
        self.folder = folder
        self._overwrite = overwrite
        self._place = Path(os.path.realpath(target))
        self._open = True
        try:
            with _LOCK:
                self._space = (_spaces.get(self._place) if folder else None) or _Space(self._place, folder)
                number = self._space.enter()
            # Suffixes tell some writers what to write.
            suffix = target.suffix if len(os.fsencode(target.suffix)) <= _LONGEST_SUFFIX else ""
            self.path = self._space.path / (f"{number}" if folder else f"{number}{suffix}")
            if folder:
                self.path.mkdir()
        except OSError as error:
            raise write_error(target, error) from error

    def publish(self) -> None:
        self._open = False
        try:
            with _LOCK:
                self._space.publish(self.path, self._overwrite)
        except FileExistsError as error:
            raise OutputError(f"output has appeared meanwhile: {self.target}", _ANOTHER) from error
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise OutputError(f"output has appeared meanwhile: {self.target}", _ANOTHER) from error
            raise write_error(self.target, error) from error

    def discard(self) -> None:
        if self._open:
            self._open = False
            with _LOCK:
                self._space.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.publish()
            return
        self.discard()
        if isinstance(error, OSError):
            raise write_error(self.target, error) from error


class _Space:
    """The private folder of a file, or of all parts of a folder."""

    def __init__(self, place: Path, folder: bool) -> None:
        self._place = place
        self._folder = folder
        name = f"flowcli-{hashlib.sha256(os.fsencode(place.name)).hexdigest()[:8]}"
        self._inside = folder and _stays(place)
        self._private = Private(place if self._inside else place.parent, name, self._rescue)
        self.path = self._private.path
        self._count = self._open = 0
        self._ready: list[Path] = []
        if folder:
            _spaces[place] = self

    def enter(self) -> int:
        """Number of one more part."""
        self._count += 1
        self._open += 1
        return self._count

    def publish(self, path: Path, overwrite: bool) -> None:
        """Has the part appear, with all others of the folder if it is the last one. Raises OSError."""
        self._ready.append(path)
        try:
            if self._open == 1:
                self._appear(overwrite)
        finally:
            self._leave()

    def discard(self) -> None:
        """Without this part the others do not appear either, unless they are published later."""
        self._leave()

    def _leave(self) -> None:
        self._open -= 1
        if self._open == 0:
            _spaces.pop(self._place, None)
            self._private.remove()

    def _appear(self, overwrite: bool) -> None:
        new, place = self._ready[0], self._place
        if not self._folder:
            if overwrite:
                _check_kind(place, place, folder=False)
                os.replace(new, place)
            else:
                rename_new(new, place)
            return
        for other in self._ready[1:]:
            merge(other, new)
        shapes = {_shape(file.relative_to(new)) for file in new.rglob("*") if not file.is_dir()}
        occupied = place.is_dir() and any(map(_counts, os.listdir(place)))
        if self._inside or _is_around(place):
            if occupied and not overwrite:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place))
            old = [file for file in place.rglob("*") if _shape(file.relative_to(place)) in shapes]
            merge(new, place, after=old)
        elif occupied and overwrite:
            replace_folder(new, place, self.path / _OLD, lambda file: _shape(file) in shapes)
        else:
            if place.is_dir():
                with suppress(OSError):
                    shutil.copystat(place, new)
            os.rename(new, place)

    def _rescue(self, left: Path) -> None:
        """Of a run that was killed between two renames, the folder that it was to replace."""
        if (left / _OLD).is_dir() and not os.path.lexists(self._place):
            os.rename(left / _OLD, self._place)


_LOCK = threading.Lock()
_spaces: dict[Path, _Space] = {}
"""Of the folders that this process is writing."""


def check_free(target: Path, overwrite: bool = False, folder: bool = False) -> None:
    """Raises OutputError if `target` exists and may not be replaced, or its parent folder cannot take it."""
    try:
        place = Path(os.path.realpath(target)) if target.is_symlink() else target
        exists = _check_kind(place, target, folder)
        if not place.parent.is_dir():
            raise OutputError(f"no such folder for the output: {place.parent}", f"create it: mkdir -p {place.parent}")
        for needed in (place,) if folder and exists else (place.parent,):
            if not os.access(needed, os.W_OK | os.X_OK):
                raise OutputError(
                    f"output folder is not writable: {needed}", "choose another folder, or change its permissions"
                )
        if exists and not overwrite and (not folder or any(map(_counts, os.listdir(place)))):
            raise OutputError(f"output exists already: {target}", _ANOTHER)
    except OSError as error:
        raise write_error(target, error) from error


def write_error(target: Path, error: OSError) -> OutputError:
    """The error to raise when writing `target` failed: no space, no permission, ..."""
    hint = "choose a shorter name" if error.errno == errno.ENAMETOOLONG else "check the free space and the permissions"
    return OutputError(f"cannot write {target}: {error.strerror or error}", hint)


def _check_kind(place: Path, target: Path, folder: bool) -> bool:
    """Whether there is something at `place`. Raises OutputError if it is nothing that an output may replace."""
    try:
        mode = place.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    for is_special, what in _SPECIAL.items():
        if is_special(mode):
            raise OutputError(f"output is {what}, not a file: {target}", "pass --out - and send stdout there")
    if folder and not stat.S_ISDIR(mode):
        raise OutputError(f"output is a file, a folder is needed: {target}", "choose another name")
    if not folder and stat.S_ISDIR(mode):
        raise OutputError(f"output is a folder, a file is needed: {target}", "choose another name")
    return True


def _shape(file: Path) -> Path:
    """What the names of frames of one sequence have in common."""
    return file.with_name(re.sub(r"\d+", "0", file.name))


def _counts(name: str) -> bool:
    """Whether a file of that name occupies a folder."""
    return not re.fullmatch(r"\.flowcli-.*\.part", name)


def _stays(place: Path) -> bool:
    """Whether a folder is there and cannot get another name, so that its files are moved into it one by one."""
    return place.is_dir() and (
        sys.platform == "win32" or place.is_mount() or not os.access(place.parent, os.W_OK | os.X_OK)
    )


def _is_around(place: Path) -> bool:
    """Whether this process works in it: the shell that started it would find itself in a folder that is gone."""
    try:
        return place in (here := Path.cwd()).parents or place == here
    except FileNotFoundError:
        return False
