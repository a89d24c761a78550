"""What a video does not continue: cuts, which are found on the way to the engine, and across which flow is unknown."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from flowcli.types import Direction, FlowPair, Frame

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class _Meeting:
    """The last frame of a shot and the first of the next one. `found`: not marked before, by the source."""

    before: Frame
    after: Frame
    found: bool


class Continuity:
    """Finds cuts: frames pass through `watch` on their way to the engine, and the pairs that it makes through `fill`.

    Two frames alone, or alone between gaps, are a pair that was asked for: no cut is found between them.
    """

    def __init__(self) -> None:
        self.cuts: list[int] = []
        """Numbers of the frames at which shots were found to begin, of those that have come out of `watch`."""
        self._meetings: deque[_Meeting] = deque()

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames, two late; those at which a shot is found to begin are marked."""
        from flowcli.shots import compare_parts

        before: Frame | None = None
        failed: list[Exception] = []
        for change in compare_parts(_until_error(frames, failed)):
            frame = change.marked
            if change.cut:
                self.cuts.append(frame.index)
            if frame.cut and before is not None:
                self._meetings.append(_Meeting(before, frame, change.cut))
            yield frame
            before = frame
        if failed:
            raise failed[0]

    def fill(
        self, pairs: Iterable[FlowPair], direction: Direction, device: torch.device, *, versus: bool = False
    ) -> Iterator[FlowPair]:
        """The pairs, and between the shots that were found pairs with flow that is unknown everywhere.

        pairs: of neighbouring frames, each shot by itself. A last frame that has a pair of its own, since it was asked
        for, gets no other. versus: whether pairs have the flow of another method beside theirs.
        """
        done: int | None = None
        for pair in chain(pairs, (None,)):
            if pair is None or (pair.at.cut and pair.at.index != done):
                for meeting in self._until(None if pair is None else pair.at):
                    if meeting.found and meeting.before.index != done:
                        unknown = _unknown(meeting, direction, device)
                        yield replace(unknown, versus=unknown) if versus else unknown
            if pair is not None:
                yield pair
                done = pair.at.index

    def _until(self, frame: Frame | None) -> Iterator[_Meeting]:
        """Takes the meetings up to the one with which the shot that begins at `frame` begins; all for None."""
        while self._meetings:
            meeting = self._meetings.popleft()
            yield meeting
            if frame is not None and meeting.after.index == frame.index:
                return


def _until_error(frames: Iterable[Frame], failed: list[Exception]) -> Iterator[Frame]:
    """The frames up to an error, which joins `failed`: those that still wait for their scores come out before it."""
    try:
        yield from frames
    except Exception as error:  # noqa: BLE001 - raised again by the caller
        failed.append(error)


def _unknown(meeting: _Meeting, direction: Direction, device: torch.device) -> FlowPair:
    import torch

    from flowcli.types import FlowField

    size = meeting.before.image.shape[:2]
    field = FlowField(torch.zeros((2, *size), device=device), torch.zeros(size, dtype=torch.bool, device=device))
    backward = field if direction == "both" else None
    first, second = meeting.before, meeting.after
    if direction == "backward":
        first, second = second, first
    return FlowPair(first, second, field, backward, at=meeting.before)
