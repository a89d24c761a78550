"""Standard streams that are closed, full or have lost their reader, as under daemons and cron."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from pathlib import Path
from typing import Any, TextIO

import click

_CONTROLS = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")
"""All but the end of a line and tabs, and what changes the direction of writing."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def open_closed() -> None:
    """Puts the null device where a standard stream is closed, and has what cannot be written to stderr be lost.

    Otherwise the next file that is opened gets the number of a stream, and the words that are meant for that. A closed
    stdin stays None: nobody can read from it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    if sys.stdout is None:
        sys.stdout = _null()
    own = sys.__stderr__
    if sys.stderr is None:
        sys.stderr = _null()
    elif own is not None and sys.stderr is own:
        lossy: Any = _Lossy(own.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(lossy, own.encoding, "backslashreplace", write_through=True)


def printable(text: str) -> str:
    """The text with escapes in the place of control characters, but of ends of lines and tabs.

    A file's name, or what a file says of itself, could move the cursor, paint the window or turn the line around.
    """
    return _CONTROLS.sub(lambda match: ascii(match[0])[1:-1], text)


def echo(text: str = "", *, err: bool = False, file: TextIO | None = None) -> None:
    """Prints the text as a line on stdout, stderr or `file`, without control characters."""
    click.echo(printable(text), file=file, err=err)


def is_closed(stream: TextIO) -> bool:
    """Whether `open_closed` had to put the null device there."""
    return getattr(stream, "name", None) == os.devnull


def is_of_stdout(error: OSError) -> bool:
    """Whether stdout is what could not be written: errors of files have names, and those of stderr are lost."""
    return error.filename is None and error.errno in _FULL


def drop_stdout() -> None:
    """What is left in the buffer would be flushed at exit, into the pipe that nobody reads or the disk that is full."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _null() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


class _Lossy(io.FileIO):
    """Loses what cannot be written: no work ends because nobody hears of it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes
