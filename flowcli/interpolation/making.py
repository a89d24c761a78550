"""Frames at wanted times: the frames of the input where there are any, and made ones between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from flowcli.engine.schedule import BETWEEN
from flowcli.interpolation.gaps import Gap, exposures, find_gaps
from flowcli.pictures import in_bytes, resized
from flowcli.types import FlowPair, Frame

if TYPE_CHECKING:
    from flowcli.engine.engine import Engine

Item = TypeVar("Item")

SAMPLES = 9
"""Number of frames that are averaged for one with motion blur."""


class Synthesiser(Protocol):
    """Makes the frames between two frames."""

    flow: bool
    """Whether it needs the flow between them."""
    resizes: bool
    """Whether frames of another size are its own work, also those at the time of a given frame."""

    def between(
        self, first: Frame, second: Frame, flow: FlowPair | None, places: Sequence[Fraction], height: int, width: int
    ) -> Iterator[np.ndarray]:
        """A picture (height, width, 3) uint8 RGB for each place, one after the other.

        flow: both ways, from `first` to `second`; None if it is not needed. places: how far from the first frame to
        the second, 0 to 1, ascending.
        """
        ...


@dataclass(frozen=True, eq=False)
class _Made:
    image: np.ndarray
    time: Fraction
    shot: int
    """Counted from 0."""


def make_frames(
    frames: Iterable[Frame],
    times: Iterable[Fraction] | None,
    synthesiser: Synthesiser,
    engine: Engine | None = None,
    *,
    size: tuple[int, int] | None = None,
    shutter: Fraction | None = None,
    hold: Fraction | None = None,
) -> Iterator[Frame]:
    """A frame for each of `times`, numbered from 0; `cut` marks the first of each shot but the first.

    times, hold: as for `find_gaps`; times None: those of the frames. engine: estimates flow, for a synthesiser that
    needs it; each frame is encoded once. size: height and width, None for that of the frames. shutter: share of the
    time between two wanted frames for which one is exposed, 0 to 1; None for no motion blur.
    At the time of a frame that frame comes out, unchanged if it has the size. Nothing is mixed across a cut: there,
    and outside the frames, the nearest frame is repeated. Raises ValueError for times that go back.
    """
    if times is None:
        frames, own = _twice(frames)
        times = _own_times(own)
    if shutter is not None:
        times = exposures(times, shutter, SAMPLES)
    made = _make(find_gaps(frames, times, hold), synthesiser, engine, size)
    if shutter is not None:
        made = _exposed(made)
    shot = 0
    for index, each in enumerate(made):
        yield Frame(each.image, index, each.time, cut=each.shot != shot)
        shot = each.shot


def _twice(items: Iterable[Item]) -> tuple[Iterator[Item], Iterator[Item]]:
    """Two iterators over the items, which let go what both have read; itertools.tee keeps up to 57 more."""
    rest = iter(items)
    queues: tuple[deque[Item], deque[Item]] = deque(), deque()

    def read(own: deque[Item]) -> Iterator[Item]:
        while True:
            if not own:
                item = next(rest, None)
                if item is None:
                    return
                for queue in queues:
                    queue.append(item)
                del item
            yield own.popleft()

    return read(queues[0]), read(queues[1])


def _own_times(frames: Iterable[Frame]) -> Iterator[Fraction]:
    """The times of the frames; one that goes back, in a damaged stream, is that of the frame before it."""
    last: Fraction | None = None
    for frame in frames:
        last = frame.time if last is None else max(last, frame.time)
        yield last


def _make(
    gaps: Iterable[Gap], synthesiser: Synthesiser, engine: Engine | None, size: tuple[int, int] | None
) -> Iterator[_Made]:
    shot = 0
    stills = _Stills(synthesiser)
    for gap, flow in _with_flow(gaps, engine if synthesiser.flow else None):
        height, width = size or gap.first.image.shape[:2]
        whole = synthesiser.resizes and gap.first.image.shape[:2] != (height, width)
        places = gap.places
        inner = [place for place in places if gap.joined and (whole or place not in (0, 1))]
        new: Iterator[np.ndarray] = iter(())
        if inner and gap.second is not None:
            new = synthesiser.between(gap.first, gap.second, flow, inner, height, width)
        for time, place in zip(gap.times, places, strict=True):
            if place in inner:
                image = next(new)
            else:
                image = stills.get(gap.second if place == 1 and gap.second else gap.first, height, width)
            yield _Made(image, time, shot + (place == 1))
        shot += gap.second is not None and gap.second.cut


class _Stills:
    """Frames as they are, in the size that is wanted; the last one is kept, for it may be repeated for long."""

    def __init__(self, synthesiser: Synthesiser) -> None:
        self._synthesiser = synthesiser
        self._frame: Frame | None = None
        self._image: np.ndarray | None = None

    def get(self, frame: Frame, height: int, width: int) -> np.ndarray:
        if not self._synthesiser.resizes or frame.image.shape[:2] == (height, width):
            return resized(frame.image, height, width)
        if self._frame is not frame or self._image is None:
            self._frame = frame
            self._image = next(self._synthesiser.between(frame, frame, None, [Fraction(0)], height, width))
        return self._image


def _with_flow(gaps: Iterable[Gap], engine: Engine | None) -> Iterator[tuple[Gap, FlowPair | None]]:
    """Each gap, with the flow between its frames if a frame is wanted there."""
    if engine is None:
        yield from ((gap, None) for gap in gaps)
        return
    for empty, run in groupby(gaps, key=attrgetter("empty")):
        if empty:
            yield from ((gap, None) for gap in run)
            continue
        linked, waiting = _twice(run)
        for each in engine.link(_ends(linked), BETWEEN):
            for pair in each.pairs:
                yield next(waiting), pair


def _ends(run: Iterable[Gap]) -> Iterator[Frame]:
    """The frames of gaps that follow each other, in 8 bits, of which flow is estimated."""
    last: Frame | None = None
    for gap in run:
        yield replace(gap.first, image=in_bytes(gap.first.image))
        last = gap.second
    if last is not None:
        yield replace(last, image=in_bytes(last.image))


def _exposed(made: Iterable[_Made]) -> Iterator[_Made]:
    """The mean of each SAMPLES frames, of those in the shot of the middle one; the last ones may lack the end."""
    rest = iter(made)
    while len(group := list(islice(rest, SAMPLES))) > SAMPLES // 2:
        middle = group[SAMPLES // 2]
        images = [each.image for each in group if each.shot == middle.shot]
        if any(image is not middle.image for image in images):
            mean = np.mean(images, axis=0, dtype=np.float32)
            middle = replace(middle, image=np.rint(mean).astype(middle.image.dtype))
        yield middle
