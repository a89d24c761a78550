"""Cuts and duplicates, found on the way to the engine, and what is said of the flow there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from flowcli.types import Cuts, Direction, Duplicates, FlowField, FlowPair, Frame

if TYPE_CHECKING:
    import torch

    from flowcli.shots import Change


@dataclass(frozen=True, eq=False)
class _Meeting:
    """The last frame of a shot and the first of the next one. `found`: not marked before, by the source."""

    before: Frame
    after: Frame
    found: bool


class Continuity:
    """Finds cuts and duplicates: frames pass `watch` on their way to the engine, and the pairs that it makes `fill`.

    Two frames alone, or alone between gaps, are a pair that was asked for: none is a cut or repeats the other.
    """

    def __init__(self, cuts: Cuts = "auto", duplicates: Duplicates = "hold") -> None:
        self._seek, self._duplicates = cuts == "auto", duplicates
        self.cuts: list[int] = []
        """Numbers of the frames at which shots were found to begin, of those that have passed `watch`."""
        self.duplicates: list[int] = []
        """Numbers of the frames that were found to repeat the one before."""
        self._meetings: deque[_Meeting] = deque()

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames, two late, but for duplicates that are skipped; cuts and duplicates are marked."""
        from flowcli.shots import without_duplicates

        before: Frame | None = None
        failed: list[Exception] = []
        changes = self._changes(_until_error(frames, failed))
        for change in without_duplicates(changes) if self._duplicates == "skip" else changes:
            frame = change.marked
            if frame.cut and before is not None:
                self._meetings.append(_Meeting(before, frame, change.cut))
            yield frame
            before = frame
        if failed:
            raise failed[0]

    def _changes(self, frames: Iterable[Frame]) -> Iterator[Change]:
        """The changes, which are noted; none is a cut if cuts are not sought."""
        from flowcli.shots import compare_parts

        for found in compare_parts(frames):
            change = found if self._seek or found.cut_score is None else replace(found, cut_score=0.0)
            if change.cut:
                self.cuts.append(change.frame.index)
            if change.repeats:
                self.duplicates.append(change.frame.index)
            yield change

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
                yield _still(pair) if self._duplicates == "zero" and pair.repeats else pair
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


def _still(pair: FlowPair) -> FlowPair:
    """The pair with zero flow."""
    import torch

    field = FlowField(torch.zeros_like(pair.forward.uv))
    return replace(pair, forward=field, backward=pair.backward and field, versus=pair.versus and _still(pair.versus))


def _unknown(meeting: _Meeting, direction: Direction, device: torch.device) -> FlowPair:
    import torch

    size = meeting.before.image.shape[:2]
    field = FlowField(torch.zeros((2, *size), device=device), torch.zeros(size, dtype=torch.bool, device=device))
    backward = field if direction == "both" else None
    first, second = meeting.before, meeting.after
    if direction == "backward":
        first, second = second, first
    return FlowPair(first, second, field, backward, at=meeting.before)
