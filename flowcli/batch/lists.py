"""Lists of names: text files and standard input, as editors, shells and `find -print0` write them."""

from __future__ import annotations

import codecs
import os
import re
import sys
from pathlib import Path

from flowcli.errors import InputError
from flowcli.inputs import STDIN
from flowcli.regular import read_regular

_SUFFIX = ".txt"


def is_list(text: str) -> bool:
    """Whether an input names a list, and not what it is to be read from."""
    return text == STDIN or (text.lower().endswith(_SUFFIX) and os.path.isfile(text))


def read_list(text: str) -> list[str]:
    """The names in a list, or ("-") on standard input. Raises InputError if it cannot be read."""
    try:
        if text != STDIN:
            data = read_regular(Path(text))
        elif sys.stdin is None or sys.stdin.isatty():
            raise InputError("standard input is a terminal", "pipe names into it, one a line, or name a list: list.txt")
        else:
            data = sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(f"cannot read {text}: {error.strerror}", "check its permissions") from error
    return parse_list(data)


def parse_list(data: bytes) -> list[str]:
    """The names in the list: one a line, or each up to a NUL.

    Text is UTF-8 with or without a byte order mark, or UTF-16; bytes that are neither stay the bytes of a name. Blanks
    and quotes around a name are left out unless there is a file with them in its name.
    """
    text, separator = _text(data)
    return [_name(each) for each in re.split(separator, text) if each.strip()]


def _text(data: bytes) -> tuple[str, str]:
    """The text, and a pattern for what separates names in it."""
    lines = r"\r\n|\n|\r"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace"), lines
    for encoding, end in (("utf-16-le", b"\n\0"), ("utf-16-be", b"\0\n")):
        # Letters of ASCII in UTF-16 are NULs and the letters, by turns.
        if end in data and not any(data[encoding == "utf-16-le" :: 2]):
            return data.decode(encoding, "replace"), lines
    text = os.fsdecode(data.removeprefix(codecs.BOM_UTF8))
    return text, "\0" if "\0" in text else lines


def _name(text: str) -> str:
    """The name that is meant: with blanks and quotes around it only if such a file is there."""
    bare = text.strip()
    quoted = len(bare) > 2 and bare[0] == bare[-1] and bare[0] in "'\""
    names = [text, bare, *([bare[1:-1]] if quoted else [])]
    return next((name for name in names if os.path.lexists(name)), names[-1])
