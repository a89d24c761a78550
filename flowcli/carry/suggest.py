"""Which frames to paint next: those from which the most doubt would go, as far as the run itself can tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from flowcli.carry.evidence import thinned
from flowcli.carry.labels import WIDE, near
from flowcli.carry.soft import borders
from flowcli.carry.stream import Carried

REACH = 100
"""Frames on each side of a frame that count when it is painted."""
_LEAST = 1e-3
"""Doubt that is worth no painting: a thousandth of a frame's."""


@dataclass(frozen=True)
class Suggestion:
    """A frame that is worth painting. `name`: that of its mask, without suffix."""

    index: int
    name: str
    gain: float
    """By how much the mean confidence of all frames is expected to rise, 0 to 1."""


@dataclass(frozen=True)
class _Seen:
    index: int
    name: str
    doubt: float
    key: bool
    cut: bool


@dataclass
class Doubts:
    """What a run leaves in doubt, one number for each frame."""

    seen: list[_Seen] = field(default_factory=list)

    def noted(self, frames: Iterable[Carried[Tensor]]) -> Iterator[Carried[Tensor]]:
        """The same frames."""
        for each in frames:
            frame = each.frame
            self.seen.append(_Seen(frame.index, frame.stem, 0.0 if each.key else doubt(each), each.key, frame.cut))
            yield each

    def suggest(self, count: int) -> list[Suggestion]:
        """Up to `count` frames, the best first, each chosen as if those before it were painted; no two are neighbours.

        What is expected around a painted frame is what this run has at such a distance from key frames.
        """
        doubts = np.array([each.doubt for each in self.seen])
        keys = np.array([each.key for each in self.seen], bool)
        shots = np.cumsum([each.cut for each in self.seen], dtype=int)
        usual = expected(doubts, keys, shots)
        free = ~keys
        found: list[Suggestion] = []
        while len(found) < count and free.any():
            after = with_one_more(doubts, usual, keys, shots)
            gains = np.where(free, after, 0)
            best = int(gains.argmax())
            if gains[best] < _LEAST:
                break
            seen = self.seen[best]
            found.append(Suggestion(seen.index, seen.name, float(gains[best]) / len(doubts)))
            for place in _around(best, keys, shots):
                doubts[place] = min(doubts[place], usual[abs(place - best)])
            keys[best] = True
            free[max(best - 1, 0) : best + 2] = False
        return found


def doubt(carried: Carried[Tensor]) -> float:
    """How unsure the mask of a frame is near its borders, or all over if it has none: 0 to 1; 1 without a mask."""
    if carried.value is None or carried.confidence is None:
        return 1.0
    planes = carried.value.float()
    planes = planes[None] if planes.ndim == 2 else planes
    # As many cells as the confidence has.
    cell = -(-planes.shape[1] // carried.confidence.shape[0])
    edge = near(borders(torch.stack([thinned(plane, cell) for plane in planes])), WIDE)
    unsure = 1 - carried.confidence
    return float(unsure[edge].mean() if edge.any() else unsure.mean())


def expected(doubts: np.ndarray, keys: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """(REACH + 1,): the mean doubt of frames at each distance from the nearest key frame, which never falls.

    doubts, keys, shots: (N,), of each frame its doubt, whether it is a key frame, and its shot's number.
    """
    distance = np.full(len(doubts), len(doubts))
    for order in (slice(None), slice(None, None, -1)):
        age, shot = len(doubts), -1
        for place in range(len(doubts))[order]:
            age = 0 if keys[place] else age + 1 if shots[place] == shot else len(doubts)
            shot = shots[place]
            distance[place] = min(distance[place], age)
    means = [doubts[distance == each].mean() if (distance == each).any() else 0.0 for each in range(REACH + 1)]
    # Where nothing is known, nearer frames are still better than farther ones.
    usual: np.ndarray = np.maximum.accumulate(means) + np.arange(REACH + 1) * 1e-9
    return usual


def with_one_more(doubts: np.ndarray, usual: np.ndarray, keys: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """(N,): how much doubt in all would go with each frame if it were painted; arguments as from and for `expected`."""
    # Between two key frames, nothing comes from beyond them.
    before, after = (np.cumsum(keys) - each + shots * len(keys) for each in (0, keys))
    gains: np.ndarray = np.maximum(doubts - usual[0], 0)
    for distance in range(1, min(REACH, len(doubts) - 1) + 1):
        gone = np.maximum(doubts - usual[distance], 0)
        joined = before[:-distance] == after[distance:]
        gains[:-distance] += gone[distance:] * joined
        gains[distance:] += gone[:-distance] * joined
    return gains


def _around(place: int, keys: np.ndarray, shots: np.ndarray) -> Iterator[int]:
    """The places that a painted frame reaches."""
    yield place
    for step in (-1, 1):
        for here, there in pairwise(range(place, place + step * (REACH + 1), step)):
            if not 0 <= there < len(keys) or keys[there] or shots[there] != shots[here]:
                break
            yield there
