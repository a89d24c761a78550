"""Private folders for what is not finished yet; the next run removes those of runs that died."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LOCK = "lock"
"""File in each of them that is locked as long as its run lives; removed last."""
_DAY = 86_400.0
"""Seconds. A lock of another machine may not be seen here: its folder counts as left over if it is as old as that."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Private:
    """A new folder at `path`, below `folder`, that is this process's own until `remove`.

    name: what it is for, short. Before, those of the same name whose runs have died are removed; rescue: gets each of
    them first. Neither the length of a target's name nor the number of a process is in what it is called: process 1
    of one container is not that of another. Raises OSError if it cannot be made.
    """

    def __init__(self, folder: Path, name: str, rescue: Callable[[Path], None] = lambda path: None) -> None:
        self._name = name
        for left in folder.glob(f".{name}.*.part"):
            _remove_if_dead(left, name, rescue)
        while True:
            self.path = _fresh(folder, name)
            # Not if something of that name is there, a link that somebody planted neither.
            self.path.mkdir(0o700)
            # Another run can take it for one that was left until it is locked.
            with suppress(FileNotFoundError, BlockingIOError):
                self._lock = _claim(self.path)
                return

    def remove(self) -> None:
        """Removes it and what is in it; does nothing the second time."""
        if self._lock is not None:
            _remove(self.path, self._name)
            os.close(self._lock)
            self._lock = None


def lock(descriptor: int) -> bool:
    """Keeps others out of an open file until it is closed or this process dies; False where there are no such locks.

    Raises BlockingIOError if another one has it.
    """
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        # Some network file systems have none.
        return False
    return True


def _fresh(folder: Path, name: str) -> Path:
    return folder / f".{name}.{secrets.token_hex(8)}.part"


def _claim(path: Path) -> int | None:
    """Locks a folder that was just made. Raises FileNotFoundError or BlockingIOError if another run is at it."""
    descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        lock(descriptor)
        # Whose it is is for people to read.
        os.write(descriptor, f"{_boot()} {os.getpid()}\n".encode())
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _boot() -> str:
    """Names this machine, until it starts again; containers on it have the same, and see each other's locks."""
    with suppress(OSError):
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return platform.node()


def _remove_if_dead(path: Path, name: str, rescue: Callable[[Path], None]) -> None:
    with suppress(OSError):
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or (hasattr(os, "geteuid") and status.st_uid != os.geteuid()):
            return
        try:
            descriptor = os.open(path / _LOCK, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:
            # Only if it is empty: its run takes another one then, if it has just made it.
            path.rmdir()
            return
        try:
            if lock(descriptor) and (
                os.read(descriptor, 256).decode().partition(" ")[0] in ("", _boot())
                or time.time() - status.st_mtime > _DAY
            ):
                rescue(path)
                _remove(path, name)
        finally:
            os.close(descriptor)


def _remove(path: Path, name: str) -> None:
    # Under another name first: what a worker left running can then make no more files in it.
    with suppress(OSError):
        path = path.rename(_fresh(path.parent, name))
    with suppress(OSError):
        for entry in list(os.scandir(path)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.name != _LOCK:
                os.unlink(entry.path)
        (path / _LOCK).unlink(missing_ok=True)
        path.rmdir()
