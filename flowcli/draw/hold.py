"""Drawing the flow before where a frame repeats another one, so that animation on twos does not flash."""

from __future__ import annotations

from dataclasses import replace

from flowcli.shots import HELD
from flowcli.types import FlowPair


class Hold:
    """The pairs of a video in order, to be drawn: those whose frames are the same have the flow of the pair before.

    At most HELD in a row: after that the scene is still, and is shown so. None holds the flow of another shot.
    """

    def __init__(self) -> None:
        self._before: FlowPair | None = None
        self._count = 0

    def __call__(self, pair: FlowPair) -> FlowPair:
        self._count = self._count + 1 if pair.repeats else 0
        if not self._count or pair.at.cut:
            self._before = pair
        elif self._before is not None and self._count <= HELD:
            return _held(pair, self._before)
        return pair


def _held(pair: FlowPair, before: FlowPair) -> FlowPair:
    """The pair with the flow of the one before."""
    versus = pair.versus and before.versus and _held(pair.versus, before.versus)
    return replace(pair, forward=before.forward, backward=before.backward, versus=versus)
