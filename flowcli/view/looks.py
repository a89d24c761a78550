"""What a page shows, frame by frame: a picture, and the flow from it to the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from flowcli.engine.engine import Engine
from flowcli.errors import InputError
from flowcli.shots import compare_parts, shots
from flowcli.types import FlowPair, Frame


@dataclass(frozen=True, eq=False)
class Look:
    """A frame with its pairs, one for each flow that is compared; none where no flow leads on from here."""

    frame: Frame
    pairs: tuple[FlowPair, ...] = ()


class Follower:
    """Makes looks: frames pass through `watch` on their way to the engine, and what it makes of them through `looks`.

    cuts: marks the first frame of each shot, so that no flow is estimated across cuts.
    """

    def __init__(self, cuts: bool) -> None:
        self._cuts = cuts
        self._frames: deque[Frame] = deque()

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames, for the engine."""
        for frame in (change.marked for change in compare_parts(frames)) if self._cuts else frames:
            self._frames.append(frame)
            yield frame

    def looks(self, pairs: Iterable[tuple[FlowPair, ...]]) -> Iterator[Look]:
        """A look for each watched frame. pairs: forward flow between them, in order, of all methods together."""
        for found in pairs:
            while self._frames[0].index != found[0].first.index:
                yield Look(self._frames.popleft())
            yield Look(self._frames.popleft(), found)
        while self._frames:
            yield Look(self._frames.popleft())


def looks_of_flow(pairs: Iterable[tuple[FlowPair, ...]], frames: Iterable[Frame] | None = None) -> Iterator[Look]:
    """A look for each flow that exists already. frames: the pictures to show with them, in order; None for none.

    Raises InputError for a picture that has not the size of its flow, and if there are fewer of them than flows.
    """
    if frames is None:
        for found in pairs:
            yield Look(found[0].at, found)
        return
    rest = iter(frames)
    for found in pairs:
        frame = next(rest, None)
        if frame is None:
            raise InputError("there are more flows than pairs of frames", "give the frames that the flow belongs to")
        height, width = found[0].forward.uv.shape[1:]
        if frame.image.shape[:2] != (height, width):
            size = f"{frame.image.shape[1]}x{frame.image.shape[0]}"
            raise InputError(
                f"frames are {size}, the flow {width}x{height}", "give the frames that the flow belongs to"
            )
        yield Look(frame, found)
    last = next(rest, None)
    if last is not None:
        yield Look(last)


def with_engine(pairs: Iterable[FlowPair], engine: Engine) -> Iterator[tuple[FlowPair, ...]]:
    """Each pair, and beside it what `engine` finds between the same two frames."""
    waiting: deque[FlowPair] = deque()

    def frames() -> Iterator[Frame]:
        last = None
        for pair in pairs:
            waiting.append(pair)
            if last is None or pair.first.index != last:
                yield replace(pair.first, cut=last is not None)
            yield replace(pair.second, cut=False)
            last = pair.second.index

    for shot in shots(frames()):
        for other in engine.pairs(shot):
            yield waiting.popleft(), other


def with_flow(pairs: Iterable[FlowPair], others: Iterable[FlowPair]) -> Iterator[tuple[FlowPair, ...]]:
    """Each pair, and beside it the next of `others`. Raises InputError if they differ in number or size."""
    rest = iter(others)
    for pair in pairs:
        other = next(rest, None)
        if other is None:
            raise InputError("the flow to compare with ends early", "compare flows of the same frames")
        if other.forward.uv.shape != pair.forward.uv.shape:
            sizes = ["x".join(map(str, reversed(each.forward.uv.shape[1:]))) for each in (pair, other)]
            raise InputError(f"flows of {sizes[0]} and {sizes[1]}", "compare flows of the same size")
        yield pair, other
