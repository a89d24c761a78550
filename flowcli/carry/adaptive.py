"""Key frames where they are needed: as soon as too little of a frame can be found in the key frame before it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from flowcli.carry.evidence import Look, look_at, weigh
from flowcli.engine.engine import Engine
from flowcli.engine.schedule import Adaptive, Keyed, Keys
from flowcli.shots import shots
from flowcli.types import FlowField, FlowPair, Frame, FrameFlows

LOST = math.exp(-2)
"""Trust below which a place cannot be found: it is hidden, or looks different by 20 grey levels."""


class Need:
    """Says which frames of a shot are key frames, if it is shown the flow of each frame as soon as it is known."""

    def __init__(self, missing: float, most: int) -> None:
        """missing: the share of a frame, 0 to 1, above which the next is a key frame; most: frames to the next one."""
        self._limit = missing
        self._most = most
        self._missing = 0.0
        self._age = most
        self._key: Look | None = None

    def is_key(self, frame: Frame) -> bool:
        """Whether it is a key frame; for each frame in turn."""
        due = self._age >= self._most or self._missing > self._limit
        if due:
            self._age, self._missing, self._key = 0, 0.0, None
        self._age += 1
        return due

    def see(self, pair: FlowPair) -> None:
        """Measures how much of a frame, the first one of `pair`, the key frame before it does not show."""
        flow = pair.forward.known
        self._key = self._key or look_at(pair.second, flow.device)
        evidence = weigh(look_at(pair.first, flow.device), self._key, flow)
        self._missing = (evidence.trust < LOST).float().mean().item()


def link_when_needed(
    engine: Engine, frames: Iterable[Frame], missing: float, most: int, sides: Keys
) -> Iterator[FrameFlows]:
    """The frames linked with their key frames, as `Keyed` does it, key frames without links.

    Each shot begins with a key frame. One frame after more than `missing` of a frame, a share, is found to be lost,
    there is another, and at the latest after `most` frames: so many wait for it. engine: takes frames one by one.
    """
    for shot in shots(frames):
        need = Need(missing, most)
        if sides == "before":
            for each in engine.link(shot, Keyed(need.is_key, sides)):
                for pair in each.pairs:
                    need.see(pair)
                yield each
        else:
            yield from _joined(engine.link(shot, Adaptive(need.is_key)), need, sides)


def _joined(flows: Iterable[FrameFlows], need: Need, sides: Keys) -> Iterator[FrameFlows]:
    """Each frame once, of those that come twice: first with flow to the key before, then with flow to the one after."""
    waiting: deque[FlowPair] = deque()
    for each in flows:
        if waiting and waiting[0].first.index == each.frame.index:
            before = waiting.popleft()
            before = replace(before, forward=FlowField(before.forward.uv.float(), before.forward.valid))
            pairs = (before, *each.pairs) if sides == "both" else each.pairs
            yield FrameFlows(each.frame, pairs if each.pairs else ())
        elif each.pairs:
            (pair,) = each.pairs
            need.see(pair)
            # So many wait that half the memory counts.
            waiting.append(replace(pair, forward=FlowField(pair.forward.uv.half(), pair.forward.valid)))
        else:
            yield each
