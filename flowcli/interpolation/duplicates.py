"""Frames of a video as interpolation wants them: with its cuts marked, and without frames that repeat others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flowcli.shots import DUPLICATE, Change, compare
from flowcli.types import Frame

MOST = 3
"""Number of repeated frames in a row that are left out: animation holds each drawing for up to four frames."""


def mark_cuts(frames: Iterable[Frame], *, skip: bool = False) -> Iterator[Frame]:
    """The same frames, marked where a shot begins. skip: without duplicates, as `without_duplicates`.

    Reads a few frames ahead.
    """
    changes = compare(frames)
    return without_duplicates(changes) if skip else (change.marked for change in changes)


def without_duplicates(changes: Iterable[Change]) -> Iterator[Frame]:
    """The frames that change, marked where a shot begins.

    Of more than MOST duplicates in a row, where the scene is still, the last one stays, and so does the last one of a
    shot: motion begins there, and does not spread over the time before.
    """
    held: Frame | None = None
    count = 0
    for change in changes:
        frame = change.marked
        if (change.duplicate or 0) > DUPLICATE and not frame.cut:
            held, count = frame, count + 1
            continue
        if held is not None and (count > MOST or frame.cut):
            yield held
        held, count = None, 0
        yield frame
    if held is not None:
        yield held
