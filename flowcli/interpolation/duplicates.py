"""Frames of a video as interpolation wants them: with its cuts marked, and without frames that repeat others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flowcli.shots import compare, without_duplicates
from flowcli.types import Frame


def mark_cuts(frames: Iterable[Frame], *, skip: bool = False) -> Iterator[Frame]:
    """The same frames, marked where a shot begins. skip: without duplicates, as `without_duplicates`.

    Reads a few frames ahead.
    """
    changes = compare(frames)
    return (change.marked for change in (without_duplicates(changes) if skip else changes))
