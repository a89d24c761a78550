"""Built libraries that are kept: taken again only if they are whole, and nobody else can have changed them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import suppress
from pathlib import Path

from flowcli.errors import DeviceError
from flowcli.private import lock

_OWN = "set XDG_CACHE_HOME to a folder of your own"
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_NOTE = 4096
"""Bytes of the note on a build: there before the build, so that a full disk has room for what it will say."""


def checked(folder: Path) -> Path:
    """The folder, made if it is not there, by its real name. Raises DeviceError if others could plant libraries in it.

    As ssh checks its keys: it has to be this user's or root's, and others must not be able to write to it.
    """
    folder = Path(os.path.realpath(folder))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not hasattr(os, "geteuid"):
        return folder
    status = folder.stat()
    if status.st_uid not in (0, os.geteuid()):
        raise DeviceError(f"the folder of native kernels belongs to another user: {folder}", _OWN)
    if status.st_mode & _OTHERS and status.st_uid == os.geteuid():
        folder.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)
    elif status.st_mode & _OTHERS:
        raise DeviceError(f"others may write to the folder of native kernels: {folder}", _OWN)
    for parent in folder.parents:
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise DeviceError(f"all users may replace the folder of native kernels: {parent} is writable for all", _OWN)
    return folder


def find(folder: Path, name: str) -> Path | None:
    """The library of this name; one that is damaged, or that others have made or may write, is removed."""
    for path in sorted(folder.glob(f"{name}-*.so")):
        with suppress(OSError):
            if _is_ours(path) and _digest(path) == path.stem.rpartition("-")[2]:
                return path
            path.unlink()
    return None


def keep(folder: Path, name: str, built: Path) -> Path:
    """Moves a library that was just built into the folder. Its hash is in what it is called, so that both come at once.

    Raises OSError.
    """
    built.chmod(0o755)
    path = folder / f"{name}-{_digest(built)}.so"
    os.replace(built, path)
    return path


class Note:
    """What became of the last build of a name, in a file beside the libraries; another compiler is another build."""

    def __init__(self, folder: Path, name: str, compiler: str) -> None:
        self.path = folder / f"{name}.failed"
        self._compiler = compiler

    def failure(self) -> str:
        """Why it failed; empty if it did not, or was interrupted, or nobody has tried."""
        with suppress(OSError, ValueError, TypeError):
            compiler, reason = json.loads(self.path.read_bytes())
            return str(reason) if compiler == self._compiler and _is_ours(self.path) else ""
        return ""

    def write(self, reason: str) -> None:
        """Raises OSError."""
        text = json.dumps([self._compiler, reason[: _NOTE // 16]])
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        # Written over, not anew: a full disk has no room for another one.
        descriptor = os.open(self.path, flags, 0o600)
        try:
            os.write(descriptor, text.encode().ljust(_NOTE))
        finally:
            os.close(descriptor)

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)

    def claim(self) -> int | None:
        """An open file that keeps others from claiming the build until all who have it open close it, or end.

        None where there are no such locks. Raises BlockingIOError if the build is claimed, OSError if nothing can be
        written there.
        """
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            try:
                locked = lock(descriptor)
                # Not of the one before, which forgot the note between these lines.
                with suppress(FileNotFoundError):
                    if locked and os.path.samestat(os.fstat(descriptor), os.stat(self.path)):
                        kept, descriptor = descriptor, -1
                        return kept
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
            if not locked:
                return None


def _is_ours(path: Path) -> bool:
    """Whether this is a file of this user or root that no others may write."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return False
    return not hasattr(os, "geteuid") or (status.st_uid in (0, os.geteuid()) and not status.st_mode & _OTHERS)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
