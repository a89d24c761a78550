"""The words of `--as`: what an output shows, and the format that holds it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from flowcli.errors import UsageError
from flowcli.types import Style

What = Literal["color", "flow", "warp", "occlusion", "confidence", Style]
"""`color` is the style that --style names."""
WHATS: tuple[What, ...] = get_args(What)
STYLES: tuple[Style, ...] = get_args(Style)
NEED_FRAMES: frozenset[What] = frozenset({"warp", "overlay", "side-by-side"})
"""What cannot be made of flow alone."""
COMPARE: frozenset[What] = frozenset({"occlusion", "confidence"})
"""What cannot be made without the flow both ways."""

_PICTURES: tuple[What, ...] = tuple(what for what in WHATS if what != "flow")


@dataclass(frozen=True)
class Format:
    """A way to store pictures or flow."""

    place: Literal["video", "files", "file", "folder", "stdout"]
    """`files`: one file for a pair of pictures, a folder of files for a video. `file`, `folder`: that, for both."""
    whats: tuple[What, ...]
    """What it can hold, the default first."""
    alpha: bool = False
    """Whether it holds transparency."""
    suffix: str = ""
    """Where the name of the format is none."""
    stack: bool = False
    """Whether one of the `files` can hold the flows of a video."""
    both: bool = False
    """Whether a file in a folder holds the flow both ways."""
    needs: str = ""
    """The package that it needs besides what flowcli is installed with."""


FORMATS = {
    "mp4": Format("video", _PICTURES),
    "mkv": Format("video", (*_PICTURES, "flow")),
    "mov": Format("video", _PICTURES, alpha=True),
    "webm": Format("video", _PICTURES, alpha=True),
    "gif": Format("video", _PICTURES),
    "flo": Format("files", ("flow",)),
    "png": Format("files", (*_PICTURES, "flow"), alpha=True),
    "jpg": Format("files", _PICTURES),
    "pfm": Format("files", ("flow",)),
    "flo5": Format("files", ("flow",), needs="h5py"),
    "npy": Format("files", ("flow",), stack=True),
    "npz": Format("files", ("flow",)),
    "exr": Format("files", ("flow",), both=True, needs="OpenEXR"),
    "tsn": Format("folder", ("flow",), suffix="jpg"),
    "i3d": Format("file", ("flow",), suffix="npy"),
    "y4m": Format("stdout", _PICTURES),
    "nut": Format("stdout", ("flow",)),
}


def sequence_kind(word: str) -> tuple[What, str, str]:
    """What an `--as` word makes of a sequence, the format, and how its name ends: ".mp4", "/" for a folder of files.

    Raises UsageError for what is written to stdout only.
    """
    what, form = parse_kind(word)
    form = form or ("flo" if what == "flow" else "mp4")
    place = FORMATS[form].place
    if place == "stdout":
        raise UsageError(f"{form} is for stdout: --as {word}", "name a kind of file: --as color --as flo --as warp.png")
    return what or FORMATS[form].whats[0], form, "/" if place in ("files", "folder") else suffix_of(form)


def parse_kind(word: str) -> tuple[What | None, str | None]:
    """What and format that an `--as` word names: WHAT, FORMAT or WHAT.FORMAT. Raises UsageError."""
    first, dot, rest = word.partition(".")
    what = first if dot or word in WHATS else None
    form = rest if dot else None if what else word
    if what not in (None, *WHATS) or form not in (None, *FORMATS):
        known = [*WHATS, *FORMATS, *(f"{each}.{name}" for name in FORMATS for each in FORMATS[name].whats)]
        close = difflib.get_close_matches(word, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"known: {' '.join([*WHATS, *FORMATS])}, or both as warp.png"
        raise UsageError(f"unknown kind of output: --as {word}", hint)
    if what and form:
        check_holds(form, what, f"--as {word}")
    return what, form


def check_holds(form: str, what: What, place: str) -> None:
    """Raises UsageError if the format cannot hold it."""
    whats = FORMATS[form].whats
    if what not in whats:
        held = [each for each in whats if each not in STYLES]
        raise UsageError(f"{form} cannot hold {what}: {place}", f"{form} holds {either(held)}")


def suffix_of(form: str) -> str:
    """The suffix of files of this format."""
    return f".{FORMATS[form].suffix or form}"


def either(names: Sequence[str]) -> str:
    """The names as a list that ends in "or"."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
