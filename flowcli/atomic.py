"""Outputs that appear whole or not at all."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from flowcli.errors import OutputError

_number = itertools.count()


class Part:
    """A private path beside `target` to write to: `publish` renames it to `target`, `discard` removes it.

    target: a file, or with `folder` a folder; files already in an existing folder stay unless a new one has their name.
    Raises OutputError if the target exists and `overwrite` is not set (an empty folder counts as free), or if its
    parent folder is missing or not writable. As a context manager it publishes when the block ends well.
    """

    def __init__(self, target: Path, overwrite: bool = False, folder: bool = False) -> None:
        check_free(target, overwrite, folder)
        self.target = target
        self.folder = folder
        self.path = target.with_name(f".{target.stem}.{os.getpid()}-{next(_number)}.part{target.suffix}")
        if folder:
            self.path.mkdir()

    def publish(self) -> None:
        try:
            if self.folder and self.target.is_dir():
                merge(self.path, self.target)
            else:
                os.replace(self.path, self.target)
        except OSError as error:
            self.discard()
            raise write_error(self.target, error) from error

    def discard(self) -> None:
        if self.folder:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)

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


def merge(source: Path, target: Path) -> None:
    """Moves all files of the folder `source` to the same places in the folder `target`, and removes `source`."""
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)
    shutil.rmtree(source)


def check_free(target: Path, overwrite: bool = False, folder: bool = False) -> None:
    """Raises OutputError if `target` exists and may not be replaced, or its parent folder cannot take it."""
    parent = target.parent
    if folder and target.exists() and not target.is_dir():
        raise OutputError(f"output is a file, a folder is needed: {target}", "choose another name")
    if not folder and target.is_dir():
        raise OutputError(f"output is a folder, a file is needed: {target}", "choose another name")
    occupied = any(target.iterdir()) if folder and target.is_dir() else target.exists()
    if occupied and not overwrite:
        raise OutputError(f"output exists already: {target}", "pass -y to replace it, or choose another name")
    if not parent.is_dir():
        raise OutputError(f"no such folder for the output: {parent}", f"create it: mkdir -p {parent}")
    for place in (parent, target) if target.is_dir() else (parent,):
        if not os.access(place, os.W_OK | os.X_OK):
            raise OutputError(
                f"output folder is not writable: {place}", "choose another folder, or change its permissions"
            )


def write_error(target: Path, error: OSError) -> OutputError:
    """The error to raise when writing `target` failed: no space, no permission, ..."""
    return OutputError(f"cannot write {target}: {error.strerror or error}", "check the free space and the permissions")
