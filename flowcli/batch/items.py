"""The inputs of a batch: videos and folders of frames with unique names."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flowcli.errors import InputError, UsageError
from flowcli.inputs import STDIN, find_input, list_folder

VIDEO_SUFFIXES = frozenset((
    ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf",
    ".nut", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
))  # fmt: skip
"""Suffixes of videos in a folder, lower case; a file that is named directly may have any suffix."""

_LOG = logging.getLogger("flowcli")
_LIST = ".txt"


@dataclass(frozen=True)
class Item:
    """A video, or a folder of frames; `path` is absolute."""

    name: str
    """The path below the named folder or glob, with slashes; unique in a batch."""
    path: Path


@dataclass(frozen=True)
class Stamp:
    """Identifies a version of an input: bytes, time of the latest change in ns, files. All 0: it does not exist."""

    size: int = 0
    mtime: int = 0
    files: int = 0


def find_items(inputs: Iterable[str], out: Path, root: Path | None = None) -> list[Item]:
    """The items that `inputs` name, sorted by name.

    inputs: videos, folders of frames, folders that contain these, globs, and lists (.txt, or "-" for stdin) of these.
    out: the folder of the outputs, which is not searched. root: items are named by their path below it; by default by
    their path below the named folder or glob, or by their file name. A file in a list need not exist.
    Raises InputError for an input that is missing or contains no items, UsageError for two equal names.
    """
    items: dict[str, Item] = {}
    for path, base in _expanded(inputs, os.path.realpath(out)):
        top = Path(os.path.abspath(root)) if root else base
        if top not in path.parents:
            raise UsageError(f"input is not below --root {root}: {path}", "name a folder above all inputs")
        name = path.relative_to(top).as_posix()
        if items.setdefault(name, Item(name, path)).path != path:
            raise UsageError(
                f"two inputs have the name {name}: {items[name].path} and {path}",
                "--root FOLDER names them by their path below FOLDER",
            )
    return sorted(items.values(), key=lambda item: item.name)


def stamp(path: Path) -> Stamp:
    """The stamp of a video, or of the pictures in a folder."""
    try:
        own = path.stat()
        if not path.is_dir():
            return Stamp(own.st_size, own.st_mtime_ns, 1)
        files = [each.stat() for each in os.scandir(path) if _is_picture(Path(each)) and each.is_file()]
    except OSError:
        return Stamp()
    # The time of the folder itself changes when a picture is renamed.
    return Stamp(sum(each.st_size for each in files), max(each.st_mtime_ns for each in [own, *files]), len(files))


def _expanded(inputs: Iterable[str], out: str) -> Iterator[tuple[Path, Path]]:
    """Each item's absolute path, and the folder below which it is named."""
    for text in inputs:
        if text != STDIN and not (text.endswith(_LIST) and os.path.isfile(text)):
            yield from _found(text, out)
            continue
        for line in _lines(text):
            try:
                yield from _found(line, out)
            except InputError:
                path = Path(os.path.abspath(line))
                yield path, path.parent


def _lines(text: str) -> list[str]:
    try:
        if text != STDIN:
            data = Path(text).read_bytes()
        elif sys.stdin is None or sys.stdin.isatty():
            raise InputError("standard input is a terminal", "pipe names into it, one a line, or name a list: list.txt")
        else:
            data = sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(f"cannot read {text}: {error.strerror}", "check its permissions") from error
    return [os.fsdecode(line) for line in data.splitlines() if line.strip()]


def _found(text: str, out: str) -> list[tuple[Path, Path]]:
    given = find_input(text)
    base = None if given.base is None else Path(os.path.abspath(given.base))
    found: list[tuple[Path, Path]] = []
    for path in map(Path, map(os.path.abspath, given.paths)):
        if path.is_dir():
            found += [(each, base or (path.parent if each == path else path)) for each in _searched(path, out)]
        elif _is_picture(path):
            if base is None:
                raise InputError(f"a picture is no sequence: {path}", "name the folder that it is in")
        else:
            found.append((path, base or path.parent))
    if not found:
        raise InputError(f"no videos and no folders of frames in {text}", "name a folder that holds some")
    return found


def _searched(top: Path, out: str) -> Iterator[Path]:
    """`top` itself if it is a folder of frames, otherwise the videos and folders of frames below it."""
    if os.path.realpath(top) == out:
        raise UsageError(f"outputs would lie among the inputs: {top}", "choose another folder for --out")
    waiting, seen = [top], {out}
    while waiting:
        folder = waiting.pop()
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        entries = list_folder(folder)
        videos = [Path(entry) for entry in entries if _is_video(Path(entry)) and entry.is_file()]
        frames = sum(_is_picture(Path(entry)) for entry in entries) > 1
        if frames and not videos:
            yield folder
            continue
        if frames:
            _LOG.warning("pictures beside videos are left out: %s", folder)
        yield from videos
        waiting += [Path(entry) for entry in entries if entry.is_dir()]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _is_picture(path: Path) -> bool:
    from flowcli.pictures import PICTURE_SUFFIXES

    return path.suffix.lower() in PICTURE_SUFFIXES
