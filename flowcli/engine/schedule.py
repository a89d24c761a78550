"""Which frames flow is estimated between: a schedule tells it as frames come, and which of them are still needed.

Frames are named by their place in the stream, counted from 0. Nothing here looks at a picture or computes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, tee
from typing import Literal, Protocol

from flowcli.types import Direction, Frame

Keys = Literal["before", "after", "both"]
"""Which of its neighbouring key frames a frame is linked with."""

AHEAD = 30
"""Frames that wait for a key frame which may never come."""


@dataclass(frozen=True)
class Link:
    """Flow to estimate from frame `first` to frame `second`; and back, if it goes `both` ways."""

    first: int
    second: int
    both: bool = False


@dataclass(frozen=True)
class FrameLinks:
    """All the links that belong at one frame; there may be none."""

    at: int
    links: tuple[Link, ...] = ()

    @property
    def places(self) -> set[int]:
        """Of the frame, and of those that it is linked with."""
        return {self.at, *(place for link in self.links for place in (link.first, link.second))}


@dataclass(frozen=True)
class Step:
    """What the next frame of a stream brings, or its end."""

    frame: Frame | None
    """None at the end."""
    ready: tuple[FrameLinks, ...] = ()
    """What can be estimated now, in the order in which it comes out; each frame of a stream is in one step's."""
    keep: frozenset[int] = field(default_factory=frozenset)
    """Frames that later steps link, or have ready; all others can be forgotten."""


class Schedule(Protocol):
    """Says what flow to estimate; serves any number of streams."""

    def plan(self, frames: Iterable[Frame]) -> Iterator[Step]:
        """A step for each frame as soon as it has come, and one for the end of the stream."""
        ...


@dataclass(frozen=True)
class Consecutive:
    """Links between neighbours, which belong at the earlier one; the last frame has none.

    direction: "forward" from the earlier frame to the later, "backward" from the later to the earlier, "both" the
    forward ones with their way back.
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
"""What frames between two neighbours are made from: the flow both ways."""


@dataclass(frozen=True)
class Keyed:
    """Links from each frame to its key frames: flow by which what is known of a key frame is brought onto the frame.

    keys: the first of every so many frames, or what tells whether a frame is one. It is asked once for each frame, in
    order, as the frame comes: if an engine takes one frame at a time, after all that was ready before has come out.
    sides: whether a frame is linked with the key "before" it, the key "after" it, or "both",
    in this order; key frames have no links, nor has a frame without such keys.
    check: the links go both ways, so that flow can be checked against the way back.
    ahead: frames wait for the key after them until so many more have come, and then go without: the features of so
    many are kept. None for as long as it takes where keys come regularly, else AHEAD. Where they come regularly and are
    waited for, the last frame of a stream is a key as well.
    Raises ValueError for numbers below 1.
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
        place = -1
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
class Union:
    """The links of several schedules: at each frame those of the first one, then what the next ones add to them.

    A frame comes out when all of them have it ready.
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
