"""Files that have an end: devices and pipes, to which a name or a link may lead, are not read as files."""

from __future__ import annotations

import errno
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path) -> BufferedReader:
    """The file, open for reading. Raises OSError, also for a device, which may never end, and a pipe."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "not a file but a device or a pipe", str(path))
    return path.open("rb")


def read_regular(path: Path) -> bytes:
    """All of the file. Raises OSError, as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()
