"""Inputs named by text: a file, a folder, the matches of a pattern, or standard input ("-")."""

from __future__ import annotations

import glob
import mimetypes
import os
import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flowcli.errors import InputError

STDIN = "-"
_WILD = "*?["
_COUNTED = re.compile(r"%(?:0(\d{1,2}))?d|#+")
"""A frame number in a name, as ffmpeg (%04d) and compositing programs (####) write it."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class Input:
    """The input that a text names."""

    text: str
    form: Literal["stdin", "file", "folder", "pattern"]
    paths: tuple[Path, ...] = ()
    """The file, the folder, or the matches of the pattern in natural order; empty for standard input."""
    base: Path | None = None
    """The folder in which a pattern begins; None if it is no pattern."""
    sequence: str = ""
    """Of a pattern with a frame number, the name without it: "f.png" for f.%04d.png; empty for others."""

    def files(self, suffixes: Collection[str]) -> list[Path]:
        """The file, the files in the folder that end in one of `suffixes` (lower case), or those that match.

        In natural order, without hidden files. Raises InputError for a folder that cannot be read, and for a link to
        a file that is not there.
        """
        if self.form == "folder":
            files = [file for file in map(Path, list_folder(self.paths[0])) if file.suffix.lower() in suffixes]
        elif self.form == "pattern":
            files = list(self.paths)
        else:
            return list(self.paths)
        for file in files:
            check_link(file)
        return [file for file in files if file.is_file()]


def find_input(text: str) -> Input:
    """The input named by `text`. Raises InputError if there is no such file, or nothing matches the pattern.

    A name that exists is never a pattern. `**` in a pattern stands for folders at any depth; %04d and #### in the last
    part of a name stand for numbers of that many digits and more, %d for any.
    """
    path = Path(text)
    if text == STDIN:
        return Input(text, "stdin")
    if os.path.isdir(path):
        return Input(text, "folder", (path,))
    if os.path.exists(path):
        return Input(text, "file", (path,))
    check_link(path)
    if _ADDRESS.match(text):
        raise InputError(f"an address, not a file: {text}", _download(text))
    counted = _COUNTED.search(path.name)
    if counted is None and not any(sign in text for sign in _WILD):
        raise InputError(f"no such file: {text}", "check the name")
    base, matches = _matches(text) if counted is None else (path.parent, _numbered(path, counted))
    if not matches:
        raise InputError(f"no file matches: {text}", "check the pattern")
    sequence = "" if counted is None else _without(path, counted)
    return Input(text, "pattern", tuple(sorted(matches, key=natural)), base, sequence)


def _download(address: str) -> str:
    """A hint how to get what is at an address."""
    word = shlex.quote(address)
    if address.lower().startswith(("http:", "https:", "ftp:")):
        return f"flowcli reads files alone; download it first: curl -LO {word}"
    return f"flowcli reads files and pipes alone: ffmpeg -i {word} -f nut - | flowcli estimate - ..."


def quoted(words: Sequence[str]) -> str:
    """A hint for several words that the shell made of what should be one name; "" if there is no sign of that."""
    whole = " ".join(words)
    if not os.path.exists(words[0]) and os.path.exists(whole):
        return f"quote a name with spaces: {shlex.quote(whole)}"
    paths = [Path(word) for word in words]
    # Of videos no pattern is one input.
    film = (mimetypes.guess_type(paths[0].name)[0] or "").startswith("video/")
    if len(words) > 2 and not film and len({(path.parent, path.suffix) for path in paths}) == 1:
        pattern = paths[0].parent / f"*{paths[0].suffix}"
        return f"quote a pattern, so that it stays one input: '{pattern}'"
    return ""


def check_link(path: Path) -> None:
    """Raises InputError if it is a link to what is not there."""
    if os.path.islink(path) and not os.path.exists(path):
        raise InputError(
            f"a link to what is not there: {path} -> {os.readlink(path)}", "bring the file back, or remove the link"
        )


def list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of the folder in natural order, without hidden ones. Raises InputError if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            seen = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot read folder {folder}: {error.strerror}", "check its permissions") from error
    return sorted(seen, key=lambda entry: natural(entry.name))


def natural(path: Path | str) -> tuple[list[tuple[int, str]], str]:
    """The key for natural order, which sorts numbers in a name by value: frame2 comes before frame10."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in parts], str(path)


def _without(path: Path, counted: re.Match[str]) -> str:
    """The name of a sequence: that of its frames without their number, or that of their folder."""
    before, after = path.name[: counted.start()], path.name[counted.end() :]
    return f"{before.rstrip('._- ') or path.absolute().parent.name}{after}"


def _numbered(path: Path, counted: re.Match[str]) -> set[Path]:
    """The files with any number in the place of `counted`."""
    if not os.path.isdir(path.parent):
        return set()
    digits = int(counted[1] or 1) if counted[0].startswith("%") else len(counted[0])
    before, after = re.escape(path.name[: counted.start()]), re.escape(path.name[counted.end() :])
    # A minus sign counts as a digit, as it does for printf.
    name = re.compile(rf"{before}(\d{{{digits},}}|-\d{{{max(digits - 1, 1)},}}){after}")
    return {path.parent / entry.name for entry in list_folder(path.parent) if name.fullmatch(entry.name)}


def _matches(pattern: str) -> tuple[Path, set[Path]]:
    """The folder in which the pattern begins, and the matches."""
    parts = Path(pattern).parts
    base, depth = Path(), 0
    # Folders whose own names have brackets or stars in them are there by those names.
    while depth < len(parts) - 1 and os.path.isdir(base / parts[depth]):
        base /= parts[depth]
        depth += 1
    # A slash at the end asks for folders.
    rest = os.path.join(*parts[depth:]) + "/" * pattern.endswith("/")
    return base, {base / match for match in glob.glob(rest, root_dir=base, recursive=True)}
