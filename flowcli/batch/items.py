"""The inputs of a batch: videos and folders of frames with unique names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowcli.batch.lists import is_list, read_list
from flowcli.errors import FlowcliError, InputError, UsageError
from flowcli.inputs import find_input, list_folder
from flowcli.pages import holds_several
from flowcli.sequences import arrange

VIDEO_SUFFIXES = frozenset((
    ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf",
    ".nut", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
))  # fmt: skip
"""Suffixes of videos in a folder, lower case; a file that is named directly may have any suffix."""

_MAYBE_TEXT = frozenset((".ts", ".mts"))
"""Suffixes of videos that programs have as well."""
_START = 1024
"""Bytes that tell them apart."""


@dataclass(frozen=True)
class Item:
    """A video, a picture file with several pictures, a folder of frames, or a pattern of frames such as f.%04d.png.

    `path` is absolute.
    """

    name: str
    """The path below the named folder or glob, with slashes; unique in a batch."""
    path: Path


@dataclass(frozen=True)
class LeftOut:
    """What was found among the inputs and is no item; `path` is absolute."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Found:
    """What the inputs hold."""

    items: tuple[Item, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class Stamp:
    """Identifies a version of an input: bytes, time of the latest change in ns, files. All 0: it does not exist."""

    size: int = 0
    mtime: int = 0
    files: int = 0


def find_items(inputs: Iterable[str], out: Path, root: Path | None = None) -> Found:
    """The items that `inputs` name, sorted by name, and what was left out.

    inputs: videos, folders of frames, folders that contain these at any depth, patterns, and lists (.txt, or "-" for
    stdin) of these. out: the folder of the outputs, which is not searched. root: items are named by their path below
    it; by default by their path below the named folder or pattern, or by their file name. A name in a list need not
    exist, and a folder below a named one need not be readable: these are items that fail. Raises InputError for an
    input that is missing or contains no items, UsageError for two equal names.
    """
    items: dict[str, Item] = {}
    left_out: dict[Path, LeftOut] = {}
    for found, base in _expanded(inputs, os.path.realpath(out)):
        if isinstance(found, LeftOut):
            left_out[found.path] = found
            continue
        top = Path(os.path.abspath(root)) if root else base
        if top not in found.parents:
            raise UsageError(f"input is not below --root {root}: {found}", "name a folder above all inputs")
        below = found.relative_to(top)
        name = (below if found.exists() else below.with_name(_sequence_name(found))).as_posix()
        if items.setdefault(name, Item(name, found)).path != found:
            raise UsageError(
                f"two inputs have the name {name}: {items[name].path} and {found}",
                "--root FOLDER names them by their path below FOLDER",
            )
    taken = {item.path for item in items.values()}
    return Found(
        tuple(sorted(items.values(), key=lambda item: item.name)),
        tuple(each for path, each in sorted(left_out.items()) if path not in taken),
    )


def stamp(path: Path) -> Stamp:
    """The stamp of a video, or of the pictures in a folder."""
    try:
        if not path.exists():
            files = [each.stat() for each in find_input(str(path)).paths]
            return Stamp(sum(each.st_size for each in files), max(each.st_mtime_ns for each in files), len(files))
        own = path.stat()
        if not path.is_dir():
            return Stamp(own.st_size, own.st_mtime_ns, 1)
        files = [each.stat() for each in os.scandir(path) if _is_picture(Path(each)) and each.is_file()]
    except (OSError, InputError):
        return Stamp()
    # The time of the folder itself changes when a picture is renamed.
    return Stamp(sum(each.st_size for each in files), max(each.st_mtime_ns for each in [own, *files]), len(files))


def _expanded(inputs: Iterable[str], out: str) -> Iterator[tuple[Path | LeftOut, Path]]:
    """Each item's absolute path, or what is left out, and the folder below which it is named."""
    for text in inputs:
        if not is_list(text):
            yield from _found(text, out)
            continue
        for line in read_list(text):
            try:
                yield from _found(line, out)
            except InputError:
                path = Path(os.path.abspath(line))
                yield path, path.parent


def _found(text: str, out: str) -> list[tuple[Path | LeftOut, Path]]:
    given = find_input(text)
    base = None if given.base is None else Path(os.path.abspath(given.base))
    found: list[tuple[Path | LeftOut, Path]] = []
    if given.sequence and all(map(_is_picture, given.paths)):
        path = Path(os.path.abspath(text))
        return [(path, path.parent)]
    for path in map(Path, map(os.path.abspath, given.paths)):
        if os.path.isdir(path):
            if os.path.realpath(path) == out:
                raise UsageError(f"outputs would lie among the inputs: {path}", "choose another folder for --out")
            # A folder that is named has to be readable, unlike those that are found in it.
            list_folder(path)
            found += [(each, base or (path.parent if each == path else path)) for each in _searched(path, {out})]
        elif not _is_picture(path) or holds_several(path):
            found.append((path, base or path.parent))
        elif base is not None:
            found.append((LeftOut(path, "a picture is no sequence"), base))
        else:
            raise InputError(f"a picture is no sequence: {path}", "name the folder that it is in")
    if all(isinstance(each, LeftOut) for each, _ in found):
        raise InputError(f"no videos and no folders of frames in {text}", "name a folder that holds some")
    return found


def _searched(top: Path, seen: set[str]) -> list[Path | LeftOut]:
    """The videos and folders of frames at and below `top`, and what is left out.

    seen: folders, by their real paths, that are not searched again.
    """
    waiting, found = [top], list[Path | LeftOut]()
    pictures: dict[Path, list[Path]] = {}
    while waiting:
        folder = waiting.pop()
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        try:
            entries = list_folder(folder)
        except InputError:
            found.append(folder)
            continue
        for entry in entries:
            path = Path(entry)
            if os.path.isdir(path) if entry.is_symlink() else entry.is_dir():
                waiting.append(path)
            elif _is_picture(path):
                pictures.setdefault(folder, []).append(path)
            elif _is_video(path) and _may_be_opened(entry):
                found.append(LeftOut(path, "text with the suffix of a video") if _is_text(path) else path)
    pictures = {folder: _without_flow(files) for folder, files in pictures.items()}
    pictures = {folder: files for folder, files in pictures.items() if files}
    for folder, files in pictures.items():
        # One look at each folder: of thousands of frames that would take long.
        if holds_several(files[0]):
            found += [file for file in files if holds_several(file)]
            pictures[folder] = [file for file in files if file not in found]
    pictures = {folder: files for folder, files in pictures.items() if files}
    items = [each for each in found if not isinstance(each, LeftOut)]
    beside = {item.parent for item in items if _is_video(item) or _is_picture(item)}
    above = {folder for item in items for folder in item.parents}
    # From below, so that what is above frames is known when its turn comes.
    for folder in sorted(pictures, key=lambda folder: -len(folder.parts)):
        reason = _why_no_frames(pictures[folder], folder in beside, folder in above)
        if reason:
            found.append(LeftOut(pictures[folder][0] if len(pictures[folder]) == 1 else folder, reason))
        else:
            found.append(folder)
            above.update(folder.parents)
    return found


def _why_no_frames(pictures: Sequence[Path], beside: bool, above: bool) -> str:
    """Why pictures of a folder are left out, "" if they are frames. beside, above: videos are there, or items below."""
    if len(pictures) == 1:
        return "a picture is no sequence"
    if beside:
        return "pictures beside videos"
    if above and not arrange(pictures, ()).numbered:
        return "pictures without frame numbers, above videos or frames"
    return ""


def _sequence_name(path: Path) -> str:
    """What the frames of a pattern are called together; of a file that is missing, its name."""
    try:
        return find_input(str(path)).sequence or path.name
    except InputError:
        return path.name


def _may_be_opened(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link to one or to nothing, of which an item then fails; pipes would be waited for."""
    if entry.is_symlink():
        return os.path.isfile(entry) or not os.path.exists(entry)
    return entry.is_file()


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _is_picture(path: Path) -> bool:
    from flowcli.pictures import PICTURE_SUFFIXES, PLATE_SUFFIXES

    return path.suffix.lower() in (*PICTURE_SUFFIXES, *PLATE_SUFFIXES)


def _without_flow(files: list[Path]) -> list[Path]:
    """The pictures of a folder without .exr files that are flow: those beside other pictures, and those that say so."""
    from flowcli.pictures import PLATE_SUFFIXES

    pictures = [file for file in files if file.suffix.lower() not in PLATE_SUFFIXES]
    if pictures or files[0].suffix.lower() != ".exr":
        return pictures or files
    from flowcli.flowfile import holds_motion

    try:
        return [] if holds_motion(files[0]) else files
    except FlowcliError:
        # Said when its turn comes.
        return files


def _is_text(path: Path) -> bool:
    """Whether a file that may be a program begins like one; a transport stream has zeros in its first packet."""
    if path.suffix.lower() not in _MAYBE_TEXT:
        return False
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError:
        return False
    return bool(start) and b"\0" not in start
