"""Renames that replace nothing, or a whole folder at once."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

_NOREPLACE, _EXCHANGE = 1, 2
"""Of Linux's renameat2(2)."""
_AT_FDCWD = -100
_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
"""What it answers where the file system or the system has no such rename."""


def rename_new(source: Path, target: Path) -> None:
    """Gives the file `source` the name `target`. Raises FileExistsError if there is one by then, OSError."""
    if _renameat2(source, target, _NOREPLACE):
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        # No links either: between the look and the rename another file may come.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        os.rename(source, target)
    else:
        os.unlink(source)


def replace_folder(new: Path, target: Path, aside: Path, is_old: Callable[[Path], bool]) -> None:
    """Puts the folder `new` in the place of `target`, which is at `aside` afterwards, or at `new`.

    is_old: whether a file, by its path in the folder, is replaced; all others are in the new folder too, unless it has
    one of that name. Killed at any time, this leaves the old folder, or the new one, at `target`; only where two names
    cannot be exchanged at once there is a moment without any, and the old one is at `aside`. Raises OSError.
    """
    _keep(target, new, is_old)
    with suppress(OSError):
        shutil.copystat(target, new)
    if _renameat2(new, target, _EXCHANGE):
        aside = new
    else:
        os.rename(target, aside)
        os.rename(new, target)
    # What came into it meanwhile.
    _keep(aside, target, is_old)


def merge(source: Path, target: Path, after: Iterable[Path] = ()) -> None:
    """Moves all files of the folder `source` to the same places in `target`, one by one; then removes those `after`."""
    moved = set()
    for file in sorted(path for path in source.rglob("*") if not path.is_dir()):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)
        moved.add(place)
    for file in after:
        if file not in moved and not file.is_dir():
            file.unlink()


def _keep(old: Path, new: Path, is_old: Callable[[Path], bool]) -> None:
    """Has the files of the folder `old` in `new`, too: those that are not replaced."""
    for root, folders, files in os.walk(old):
        here = Path(root).relative_to(old)
        links = [name for name in folders if (old / here / name).is_symlink()]
        for name in folders:
            if name not in links and not os.path.lexists(new / here / name):
                (new / here / name).mkdir()
                with suppress(OSError):
                    shutil.copystat(old / here / name, new / here / name)
        for name in (*files, *links):
            place = here / name
            if is_old(place) or os.path.lexists(new / place):
                continue
            try:
                os.link(old / place, new / place, follow_symlinks=False)
            except (OSError, NotImplementedError):
                shutil.copy2(old / place, new / place, follow_symlinks=False)


def _renameat2(source: Path, target: Path, flag: int) -> bool:
    """Whether this was done; False if it cannot be done here. Raises OSError."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flag) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))
