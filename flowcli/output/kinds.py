"""The words of `--as`: the content of an output, and its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from flowcli.errors import UsageError, closest
from flowcli.types import Style

What = Literal["color", "flow", "warp", "occlusion", "confidence", "rgb", "stats", Style]
"""Contents that `--as` can name; `color` is drawn in the style of --style, `rgb` are the frames themselves."""
WHATS: tuple[What, ...] = get_args(What)
STYLES: tuple[Style, ...] = get_args(Style)
NEED_FRAMES: frozenset[What] = frozenset({"warp", "overlay", "side-by-side"})
"""Contents that show the frames of a pair."""
NEED_ALL: frozenset[What] = frozenset({"rgb", "stats"})
"""Contents that need all frames, also those without flow."""
NEED_BOTH: frozenset[What] = frozenset({"occlusion", "confidence"})
"""Contents that need the flow both ways."""
USE_BOTH: frozenset[What] = NEED_BOTH | {"trails"}
"""Contents that use the flow both ways if it is there."""
ONE_WAY: frozenset[What] = frozenset({"trails", "rgb", "stats"})
"""Contents of which there is one, whichever ways the flow goes."""
Content = What | Literal["frames", "masks", "alpha"]
"""What an output holds. The last three are not made from one flow: made frames, and masks that are carried along it."""

_PICTURES: tuple[What, ...] = tuple(what for what in WHATS if what not in ("flow", "stats"))


@dataclass(frozen=True)
class Container:
    """A format for pictures or flow."""

    place: Literal["video", "files", "file", "folder", "stdout"]
    """`files`: one file for two pictures, a folder of files for a video. `file` and `folder`: always that."""
    whats: tuple[What, ...]
    """Contents that it can hold, the default first."""
    alpha: bool = False
    """Whether it supports transparency."""
    deep: bool = False
    """Whether it keeps more than 8 bits per channel."""
    suffix: str = ""
    """The suffix of its files, if that is not its name."""
    stack: bool = False
    """Whether one file can hold all flows of a video."""
    both: bool = False
    """Whether a file in a folder holds the flow of both directions."""
    needs: str = ""
    """An additional package that it needs."""

    @property
    def pictures(self) -> bool:
        return self.whats[0] == "color"


CONTAINERS = {
    "mp4": Container("video", _PICTURES, deep=True),
    "mkv": Container("video", (*_PICTURES, "flow"), deep=True),
    "mov": Container("video", _PICTURES, alpha=True, deep=True),
    "webm": Container("video", _PICTURES, alpha=True, deep=True),
    "gif": Container("video", _PICTURES),
    "flo": Container("files", ("flow",)),
    "png": Container("files", (*_PICTURES, "flow"), alpha=True, deep=True),
    "jpg": Container("files", _PICTURES),
    "tif": Container("files", _PICTURES, alpha=True, deep=True),
    "pfm": Container("files", ("flow",)),
    "flo5": Container("files", ("flow",), needs="h5py"),
    "npy": Container("files", ("flow",), stack=True),
    "npz": Container("files", ("flow",)),
    "exr": Container("files", ("flow",), both=True, needs="OpenEXR"),
    "tsn": Container("folder", ("flow",), suffix="jpg"),
    "i3d": Container("file", ("flow",), suffix="npy"),
    "csv": Container("file", ("stats",)),
    "json": Container("file", ("stats",)),
    "jsonl": Container("file", ("stats",)),
    "y4m": Container("stdout", _PICTURES, deep=True),
    "nut": Container("stdout", ("flow",)),
}

KINDS = (*WHATS, *CONTAINERS)
"""The words of `--as` that stand alone."""

ALONE: dict[Content, str] = {"flow": "flo", "rgb": "jpg", "stats": "csv"}
"""The format of contents that are named alone; of others it is a video, or in a folder .png."""


def sequence_kind(word: str) -> tuple[What, str, str]:
    """Content, format and end of the name (".mp4", or "/" for a folder) of an `--as` word, for a sequence.

    Raises UsageError for formats that are for stdout only.
    """
    what, form = parse_kind(word)
    form = form or ("mp4" if what is None else ALONE.get(what, "mp4"))
    return (
        what or CONTAINERS[form].whats[0],
        form,
        _end(form, word, "name a kind of file: --as color --as flo --as warp.png"),
    )


def frames_kind(word: str) -> tuple[str, str, str]:
    """The same for frames that are made otherwise, whose content is "frames"."""
    form = parse_pictures(word)
    return "frames", form, _end(form, word, "name a kind of file: --as mp4 --as png")


def _end(form: str, word: str, hint: str) -> str:
    place = CONTAINERS[form].place
    if place == "stdout":
        raise UsageError(f"{form} is for stdout: --as {word}", hint)
    return "/" if place in ("files", "folder") else suffix_of(form)


def parse_kind(word: str) -> tuple[What | None, str | None]:
    """Content and format of an `--as` word: CONTENT, FORMAT or CONTENT.FORMAT. Raises UsageError."""
    first, dot, rest = word.partition(".")
    what = first if dot or word in WHATS else None
    form = rest if dot else None if what else word
    if what not in (None, *WHATS) or form not in (None, *CONTAINERS):
        known = [*WHATS, *CONTAINERS, *(f"{each}.{name}" for name in CONTAINERS for each in CONTAINERS[name].whats)]
        words = " ".join([*WHATS, *CONTAINERS])
        hint = closest(word, known, f"known: {words}, or both as warp.png")
        raise UsageError(f"unknown kind of output: --as {word}", hint)
    if what and form:
        check_holds(form, what, f"--as {word}")
    return what, form


def parse_pictures(word: str) -> str:
    """The format that an `--as` word names, for outputs of frames. Raises UsageError."""
    known = [name for name, container in CONTAINERS.items() if container.pictures]
    if word not in known:
        hint = closest(word, known, f"known: {' '.join(known)}")
        raise UsageError(f"unknown kind of pictures: --as {word}", hint)
    return word


def check_holds(form: str, what: Content, place: str) -> None:
    """Raises UsageError if the format cannot hold this content. place: the output, in messages."""
    container = CONTAINERS[form]
    whats = container.whats
    if what == "frames" and not container.pictures:
        raise UsageError(f"{form} cannot hold pictures: {place}", f"{form} holds {either(whats)}")
    if what != "frames" and what not in whats:
        held = [each for each in whats if each not in STYLES]
        raise UsageError(f"{form} cannot hold {what}: {place}", f"{form} holds {either(held)}")


def suffix_of(form: str) -> str:
    """The suffix of files of this format."""
    return f".{CONTAINERS[form].suffix or form}"


def either(names: Sequence[str]) -> str:
    """The names as an enumeration with "or": "a, b or c"."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
