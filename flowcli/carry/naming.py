"""What `--out` and `--as` mean where something is carried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from flowcli.errors import OutputError, UsageError, closest
from flowcli.output.kinds import CONTAINERS, frames_kind
from flowcli.output.naming import Output, name_frames, plan_frames
from flowcli.output.options import FrameOptions
from flowcli.targets import check_distinct, check_target

What = Literal["masks", "overlay", "alpha", "confidence", "composite", "layer", "tracks", "trails", "tensors"]
"""Masks alone, in colours over the frame, or what they cut out of it; how surely they are right; a painted layer over
the frame, or alone; points as rows, or drawn over the frame; arrays."""
WHATS: tuple[What, ...] = get_args(What)
Mask = Literal["masks", "overlay", "alpha", "confidence"]
MASKS: tuple[What, ...] = ("masks", "overlay", "alpha", "confidence")
PICTURES: tuple[What, ...] = ("composite", "layer", "confidence")
POINTS: tuple[What, ...] = ("tracks", "trails")
TENSORS: tuple[What, ...] = ("tensors", "confidence")
"""What there is of each kind; the first is the default."""
ARRAYS = "npz"
TABLES = ("csv", "json", "jsonl")
_ALPHA = {"alpha", "layer"}
_USUAL: dict[Mask, str] = {"masks": "png", "overlay": "mp4", "alpha": "webm", "confidence": "mp4"}
"""The formats of words that name none, of masks of many videos."""


@dataclass(frozen=True)
class Target:
    """One place to write to."""

    what: What
    output: Output


def plan_carried(options: FrameOptions, whats: Sequence[What] = MASKS, source: Path | None = None) -> list[Target]:
    """The outputs that `options` name, checked as far as that is possible without the input, which none may replace.

    whats: what there is of what is carried. Raises UsageError for a contradiction, OutputError for a name that cannot
    be written.
    """
    if not options.named:
        plan_frames(options, source=source)
    targets = [_target(target, word, options, whats, source) for target, word in options.named]
    check_distinct((each.output.path, each.output.format if each.output.folder else "") for each in targets)
    return targets


def carried_kind(word: str) -> tuple[Mask, str, str]:
    """What, format and end of the name (".mp4", or "/" for a folder) of an `--as` word, for masks of one of many.

    Raises UsageError.
    """
    named, form = parse_words(word)
    what = next((each for each in _USUAL if each == (named or "masks")), None)
    if what is None or form in (ARRAYS, *TABLES):
        raise UsageError(f"--as {word} is not for many videos at once", f"there are {' '.join(_USUAL)}, and masks.mp4")
    return what, *frames_kind(form or _USUAL[what])[1:]


def name_carried(options: FrameOptions) -> list[Output]:
    """The outputs that `options` name, of words as `carried_kind` takes them, whose places are not checked."""
    outputs = []
    for target, word in options.named:
        what, form, _ = carried_kind(word)
        (output,) = name_frames(replace(options, targets=(target,), kinds=(form,)), alpha=what in _ALPHA)
        outputs.append(replace(output, what=what))
    return outputs


def parse_words(word: str) -> tuple[What | None, str]:
    """What and format that an `--as` word names: WHAT, FORMAT or WHAT.FORMAT; None and "" for what it does not name.

    Raises UsageError.
    """
    first, dot, rest = word.partition(".")
    what = next((each for each in WHATS if each == first), None)
    form = rest if what else word
    forms = [*(name for name, container in CONTAINERS.items() if container.pictures), ARRAYS, *TABLES]
    if (form or dot or not what) and form not in forms:
        known = [*WHATS, *forms]
        hint = closest(word, known, f"known: {' '.join(known)}, or both as overlay.png")
        raise UsageError(f"unknown kind of output: --as {word}", hint)
    return what, form


def _target(target: str, word: str, options: FrameOptions, whats: Sequence[What], source: Path | None) -> Target:
    what, form = parse_words(word) if word else (None, "")
    if what not in (None, *whats):
        raise UsageError(f"there are no {what} of what is carried: {target}", f"there are {' '.join(whats)}")
    if "tracks" in whats and what in (None, "tracks") and (what or form in TABLES or _table(target, form)):
        return Target("tracks", _planned_table(target, form, options, source))
    if what is None:
        what = "trails" if "tracks" in whats else whats[0]
    if form in TABLES:
        raise UsageError(f"{form} cannot hold {what}: {target}", f"{form} holds tracks of points")
    if what == "tensors" or form == ARRAYS:
        if what not in ("masks", "tensors") or form not in ("", ARRAYS):
            raise UsageError(f"{form} cannot hold {what}: {target}", "npz files hold masks, and tensors")
        if not _is_folder(target):
            raise UsageError(f"npz files of {what} need a folder: {target}", f"use --out {what}/ --as npz")
        # Planned as a folder of pictures: the same checks.
        return Target(what, replace(_planned(target, "png", options, source, what), format=ARRAYS))
    return Target(what, _planned(target, form, options, source, what))


def _is_folder(target: str) -> bool:
    return target.endswith("/") or Path(target).is_dir() or not Path(target).suffix


def _table(target: str, form: str) -> bool:
    """Whether a target without a word for what it holds is a table."""
    return not form and (target == "-" or Path(target).suffix[1:].lower() in TABLES)


def _planned_table(target: str, form: str, options: FrameOptions, source: Path | None) -> Output:
    if target == "-":
        if form == "json":
            raise UsageError("json cannot be written to stdout", "use --as jsonl or --as csv")
        return Output(None, "frames", form or "csv")
    path = Path(target)
    suffix = path.suffix[1:].lower()
    if form not in ("", *TABLES) or (form and suffix in TABLES and form != suffix):
        raise UsageError(f"{target} cannot hold tracks as {form}", f"tracks are {' '.join(TABLES)}")
    if not form and suffix not in TABLES:
        raise OutputError(f"tracks cannot go to {target}", f"use one of .{' .'.join(TABLES)}, or --as trails")
    check_target(path, [source] if source else [], options.overwrite)
    return Output(path, "frames", form or suffix)


def _planned(target: str, form: str, options: FrameOptions, source: Path | None, what: What) -> Output:
    kinds: Sequence[str] = (form,) if form else ()
    alone = replace(options, targets=(target,), kinds=tuple(kinds))
    (output,) = plan_frames(alone, alpha=what in _ALPHA, source=source)
    return output
