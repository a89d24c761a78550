"""Schedules: between which frames flow is estimated, and which frames are still needed, told as frames come.

A frame is named by its place in the stream, counted from 0. Schedules do not look at pictures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, tee
from typing import Literal, Protocol

from flowcli.types import Direction, Frame

Keys = Literal["before", "after", "both"]
"""The key frames that a frame is linked with: the one before it, the one after it, or both."""

AHEAD = 30
"""Largest number of frames that wait for a key frame if keys come irregularly."""


@dataclass(frozen=True)
class Link:
    """Flow to estimate from frame `first` to frame `second`, and with `both` also back."""

    first: int
    second: int
    both: bool = False


@dataclass(frozen=True)
class FrameLinks:
    """The links that belong to one frame; there may be none."""

    at: int
    links: tuple[Link, ...] = ()

    @property
    def places(self) -> set[int]:
        """The places of the frame and of all frames that it is linked with."""
        return {self.at, *(place for link in self.links for place in (link.first, link.second))}


@dataclass(frozen=True)
class Step:
    """What follows from the next frame of a stream, or from its end."""

    frame: Frame | None
    """The next frame, None at the end of the stream."""
    ready: tuple[FrameLinks, ...] = ()
    """Links that can be estimated now, in output order; each frame of a stream occurs in exactly one step, but
    those of `Adaptive` in two."""
    keep: frozenset[int] = field(default_factory=frozenset)
    """Frames that later steps need; all others can be dropped."""


class Schedule(Protocol):
    """Says what flow to estimate. One schedule can serve any number of streams."""

    def plan(self, frames: Iterable[Frame]) -> Iterator[Step]:
        """Yields a step for each frame as soon as it comes, and one at the end of the stream."""
        ...


@dataclass(frozen=True)
class Consecutive:
    """Links between neighbouring frames; each belongs to the earlier one, so the last frame has none.

    direction: "forward" links the earlier frame to the later, "backward" the later to the earlier, "both" is forward
    with the way back.
    """

    direction: Direction = "forward"

    def plan(self, frames: Iterable[Frame]) -> Iterator[Step]:
        last = -1
        for last, frame in enumerate(frames):
            ready = (FrameLinks(last - 1, (self._link(last - 1, last),)),) if last else ()
            yield Step(frame, ready, frozenset({last}))
        yield Step(None, (FrameLinks(last),) if last >= 0 else ())

    def _link(self, earlier: int, later: int) -> Link:
        return Link(later, earlier) if self.direction == "backward" else Link(earlier, later, self.direction == "both")


BETWEEN = Consecutive("both")
"""Flow both ways between neighbours, from which frames between them are interpolated."""


@dataclass(frozen=True)
class Keyed:
    """Links from each frame to its key frames, for bringing what is known of a key frame onto the frame.

    keys: a number N makes every Nth frame a key, from the first on; a function says whether a frame is a key. It is
    called once per frame, in order, as the frame comes; with one frame per engine step, that is after all earlier
    results have come out. sides: link a frame with the key "before" it, the key "after" it, or "both", in this order.
    Key frames, and frames without such a key, have no links. check: links go both ways, so that flow can be checked.
    ahead: how many later frames a frame waits for its next key; after that it goes without one. So many features are
    kept. None: regular keys are always waited for, irregular ones for AHEAD frames. With regular keys that are waited
    for, the last frame of a stream is a key too. Raises ValueError for numbers below 1.
    """

    keys: int | Callable[[Frame], bool]
    sides: Keys = "both"
    check: bool = False
    ahead: int | None = None

    def __post_init__(self) -> None:
        for name, number in (("keys", self.keys), ("ahead", self.ahead)):
            if isinstance(number, int) and number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")

    def plan(self, frames: Iterable[Frame]) -> Iterator[Step]:
        before: int | None = None
        waiting: deque[int] = deque()
        for place, frame in enumerate(frames):
            ready: list[FrameLinks] = []
            if self._is_key(place, frame):
                ready += [self._links(each, before, place) for each in waiting]
                ready.append(FrameLinks(place))
                waiting.clear()
                before = place if self.sides != "after" else None
            elif self.sides == "before":
                ready.append(self._links(place, before, None))
            else:
                waiting.append(place)
                if place - waiting[0] >= self._patience:
                    ready.append(self._links(waiting.popleft(), before, None))
            yield Step(frame, tuple(ready), frozenset(waiting if before is None else (before, *waiting)))
        # Else the frames after the last key would have one key only.
        after = waiting.pop() if waiting and isinstance(self.keys, int) else None
        ready = [self._links(each, before, after) for each in waiting]
        yield Step(None, tuple(ready if after is None else [*ready, FrameLinks(after)]))

    @property
    def _patience(self) -> int:
        return self.ahead or (self.keys if isinstance(self.keys, int) else AHEAD)

    def _is_key(self, place: int, frame: Frame) -> bool:
        return place % self.keys == 0 if isinstance(self.keys, int) else self.keys(frame)

    def _links(self, at: int, before: int | None, after: int | None) -> FrameLinks:
        return FrameLinks(at, tuple(Link(at, key, self.check) for key in (before, after) if key is not None))


@dataclass(frozen=True)
class Adaptive:
    """Links from each frame to the key frame before it, at once, and to the one after it, when that has come.

    So frames that are no keys come out twice, and flow to the key before can decide when the next one is due. is_key:
    is called once per frame, in order; with one frame per engine step, that is after all links of earlier frames to
    the key before them have come out. The first frame has to be a key; the last one is.
    """

    is_key: Callable[[Frame], bool]

    def plan(self, frames: Iterable[Frame]) -> Iterator[Step]:
        before = 0
        waiting: list[int] = []
        for place, frame in enumerate(frames):
            if self.is_key(frame):
                ready = self._to_key(waiting, place)
                before, waiting = place, []
            else:
                ready = (FrameLinks(place, (Link(place, before),)),)
                waiting.append(place)
            yield Step(frame, ready, frozenset((before, *waiting)))
        yield Step(None, self._to_key(waiting[:-1], waiting[-1]) if waiting else ())

    def _to_key(self, waiting: Iterable[int], key: int) -> tuple[FrameLinks, ...]:
        return (*(FrameLinks(each, (Link(each, key),)) for each in waiting), FrameLinks(key))


@dataclass(frozen=True)
class Union:
    """The links of several schedules together: for each frame those of the first schedule, then what others add.

    A frame comes out as soon as it is ready in all schedules.
    """

    schedules: tuple[Schedule, ...]

    def plan(self, frames: Iterable[Frame]) -> Iterator[Step]:
        copies = tee(frames, len(self.schedules))
        plans = [schedule.plan(copy) for schedule, copy in zip(self.schedules, copies, strict=True)]
        pending: list[deque[FrameLinks]] = [deque() for _ in plans]
        for steps in zip(*plans, strict=True):
            for waiting, step in zip(pending, steps, strict=True):
                waiting.extend(step.ready)
            ready = []
            while all(pending):
                parts = [waiting.popleft() for waiting in pending]
                links = dict.fromkeys(link for part in parts for link in part.links)
                ready.append(FrameLinks(parts[0].at, tuple(links)))
            wanted = (step.keep for step in steps)
            yield Step(steps[0].frame, tuple(ready), frozenset().union(*wanted, *(p.places for p in chain(*pending))))
