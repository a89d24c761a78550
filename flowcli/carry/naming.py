"""What `--out` and `--as` mean where masks are carried."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from flowcli.errors import UsageError
from flowcli.output.kinds import CONTAINERS
from flowcli.output.naming import Output, plan_frames
from flowcli.output.options import FrameOptions
from flowcli.targets import check_distinct

What = Literal["masks", "overlay", "alpha", "confidence"]
"""The masks alone, in colours over the frame, or what they cut out of it; or how surely they are right."""
WHATS: tuple[What, ...] = get_args(What)
ARRAYS = "npz"


@dataclass(frozen=True)
class Target:
    """One place to write to."""

    what: What
    output: Output


def plan_masks(options: FrameOptions, source: Path | None = None) -> list[Target]:
    """The outputs that `options` name, checked as far as that is possible without the input, which none may replace.

    Raises UsageError for a contradiction, OutputError for a name that cannot be written.
    """
    if not options.named:
        plan_frames(options, source=source)
    targets = [_target(target, word, options, source) for target, word in options.named]
    check_distinct((each.output.path, each.output.format if each.output.folder else "") for each in targets)
    return targets


def parse_words(word: str) -> tuple[What, str]:
    """What and format that an `--as` word names: WHAT, FORMAT or WHAT.FORMAT; "" for no format. Raises UsageError."""
    first, dot, rest = word.partition(".")
    what = next((each for each in WHATS if each == first), None)
    form = rest if what else word
    pictures = [name for name, container in CONTAINERS.items() if container.pictures]
    if (form or dot or not what) and form not in (*pictures, ARRAYS):
        known = [*WHATS, *pictures, ARRAYS]
        close = difflib.get_close_matches(word, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"known: {' '.join(known)}, or both as overlay.png"
        raise UsageError(f"unknown kind of output: --as {word}", hint)
    return what or "masks", form


def _target(target: str, word: str, options: FrameOptions, source: Path | None) -> Target:
    what, form = parse_words(word) if word else ("masks", "")
    if form == ARRAYS:
        if what != "masks" or not (target.endswith("/") or Path(target).is_dir() or not Path(target).suffix):
            raise UsageError(f"npz files of masks need a folder: {target}", "use --out masks/ --as npz")
        # Planned as a folder of pictures: the same checks.
        return Target(what, replace(_planned(target, "png", options, source, what), format=ARRAYS))
    return Target(what, _planned(target, form, options, source, what))


def _planned(target: str, form: str, options: FrameOptions, source: Path | None, what: What) -> Output:
    kinds: Sequence[str] = (form,) if form else ()
    alone = replace(options, targets=(target,), kinds=tuple(kinds))
    (output,) = plan_frames(alone, alpha=what == "alpha", source=source)
    return output
