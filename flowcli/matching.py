"""Flow from files, put back on the frames that it belongs to."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice, pairwise

from flowcli.errors import InputError
from flowcli.sequences import parse_frame_name
from flowcli.types import FlowPair, Frame

_LOG = logging.getLogger("flowcli")
_HINT = "give the frames that the flow was estimated on"


def match_frames(
    pairs: Iterable[FlowPair], frames: Iterable[Frame], place: str, *, by_name: bool
) -> Iterator[FlowPair]:
    """The same flow as pairs of `frames`, in their order and in constant memory.

    by_name: flow belongs to the frame whose `stem` is that of the frame it was stored for, and leads to the one with
    the name of the other; otherwise the first flow belongs to the first frame, the second to the second and so on.
    Flow that leads to no other frame, as the last may, stays on its own. place: what the frames come from, in messages.
    Raises InputError for flow without a frame, and for a frame of another size.
    """
    coming = _Coming(frames)
    for count, (pair, following) in enumerate(pairwise(chain(pairs, (None,)))):
        assert pair is not None
        backward = pair.at is pair.second
        later = pair.first if backward else pair.second
        own = coming.find(pair.at.stem) if by_name else coming.next()
        if own is None:
            which = f"flow {pair.at.stem}" if by_name else f"flow {count + 1}"
            raise InputError(f"no frame for {which} in {place}", _HINT)
        own = replace(own, cut=own.cut or pair.at.cut)
        other = (_leads_to(coming, pair.at, later, following) if by_name else coming.after()) or own
        for frame in (own, other):
            _check_size(frame, pair, place)
        first, second = (other, own) if backward else (own, other)
        yield replace(pair, first=first, second=second, at=own)
    if not by_name and len(coming.ahead(2)) == 2:
        _LOG.warning("%s has more frames than there are flows, which are taken to begin with its first", place)


class _Coming:
    """Frames of which a few are held, to look ahead."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames = iter(frames)
        self._held: deque[Frame] = deque()

    def next(self) -> Frame | None:
        """The next frame, None at the end."""
        return self._held.popleft() if self._held else next(self._frames, None)

    def find(self, stem: str) -> Frame | None:
        """The next frame of that name; those before it are passed."""
        while (frame := self.next()) is not None and frame.stem != stem:
            pass
        return frame

    def ahead(self, count: int) -> list[Frame]:
        """The next `count` frames, or as many as there are; they are not passed."""
        self._held.extend(islice(self._frames, max(count - len(self._held), 0)))
        return list(islice(self._held, count))

    def after(self) -> Frame | None:
        """The next frame, None at the end; it is not passed."""
        return next(iter(self.ahead(1)), None)


def _leads_to(coming: _Coming, own: Frame, other: Frame, following: FlowPair | None) -> Frame | None:
    """The frame to which flow leads that is stored for `own` and `other`, of which the names count.

    Where numbers have a gap, it is the frame of the flow that follows. None if it stays on its own frame.
    """
    distance = _distance(own, other)
    ahead = {frame.stem: frame for frame in coming.ahead(distance)}
    if other.stem in ahead or following is not None:
        return ahead.get(other.stem) or ahead.get("" if following is None else following.at.stem)
    return coming.after() if distance == 1 else None


def _distance(one: Frame, other: Frame) -> int:
    """By how much the numbers in the names of these frames differ, 1 if there are none."""
    names = [None if frame.name is None else parse_frame_name(frame.name) for frame in (one, other)]
    numbers = [name.number for name in names if name is not None]
    return max(abs(numbers[1] - numbers[0]), 1) if len(numbers) == 2 else 1


def _check_size(frame: Frame, pair: FlowPair, place: str) -> None:
    height, width = frame.image.shape[:2]
    rows, columns = pair.forward.uv.shape[1:]
    if (height, width) != (rows, columns):
        raise InputError(f"frame {frame.stem} of {place} is {width}x{height}, its flow {columns}x{rows}", _HINT)
