"""Drawing late, so that the scale of colours knows what comes."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from math import ceil

from flowcli.draw.effects import Color
from flowcli.types import FlowPair, Frame, Sink

MOST = 60
"""Most pairs that wait, at high frame rates."""
ROOM = 1 << 28
"""Most bytes of frames and flow that wait: 11 pairs of 1920x1080, 2 of 3840x2160."""


class Ahead:
    """A sink of pairs that draws each after those of the next second have come, or as many as ROOM holds.

    rate: pairs per second.
    """

    def __init__(self, color: Color, sink: Sink[Frame], rate: Fraction) -> None:
        self._color = color
        self._sink = sink
        self._most = min(ceil(rate), MOST)
        self._waiting: deque[FlowPair] = deque()

    def write(self, pair: FlowPair) -> None:
        self._color.foresee(pair)
        self._waiting.append(pair)
        while len(self._waiting) > min(self._most, ROOM // size_of(pair)):
            self._draw()

    def finish(self) -> None:
        """Draws those that still wait; no more may come."""
        while self._waiting:
            self._draw()

    def close(self) -> None:
        self.finish()
        self._sink.close()

    def abort(self) -> None:
        self._waiting.clear()
        self._sink.abort()

    def _draw(self) -> None:
        self._sink.write(self._color.draw(self._waiting.popleft()))


def size_of(pair: FlowPair) -> int:
    """Bytes of a pair that waits: of its flow, and of one frame, since neighbours share the other."""
    return pair.first.image.nbytes + sum(tensor.nbytes for tensor in pair.tensors)
