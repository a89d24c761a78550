"""Points of some frames carried to all the others: on from their keys, and back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flowcli.carry.evidence import Look, look_at
from flowcli.carry.patches import View
from flowcli.carry.pointfiles import Points
from flowcli.carry.stream import UNSEEN, Carried
from flowcli.carry.tracking import Places, Tracked, begin, chosen, step
from flowcli.engine.schedule import AHEAD, Keys
from flowcli.types import FrameFlows


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A frame that waits for keys after it."""

    look: Look
    before: Places
    """What comes from keys before it, and its own."""
    after: Places | None = None
    ahead: tuple[Tensor, Tensor] | None = None
    """The flow to the next frame and back, in half precision."""


def carry_points(
    flows: Iterable[FrameFlows], points: Points, sides: Keys = "both", ahead: int = AHEAD
) -> Iterator[Carried[Places]]:
    """Each frame with the places of all points, in order; None if none of them is known.

    flows: between neighbours, both ways, as `Consecutive` links them. sides: of the keys of a point around a frame,
    its place comes from; places from both are mixed by confidence over distance. ahead: frames that wait for a key
    after them, as long as there are keys to come; that far it reaches back. A cut ends it.
    """
    waiting: deque[_Waiting] = deque()
    state: Tracked | None = None
    for each in flows:
        frame = each.frame
        look = look_at(frame, each.pairs[0].forward.uv.device if each.pairs else torch.device("cpu"))
        if frame.cut:
            yield from _released(waiting, 0)
        given = _tensor(points, look)
        if frame.cut or state is None or sides == "after" or given.isfinite().any():
            fresh = begin(given.float(), View.of(look))
            if sides != "before":
                _reach_back(fresh, look, waiting)
            state = fresh if frame.cut or state is None or sides == "after" else chosen(fresh.known, fresh, state)
        places = replace(state.places, place=torch.where(given.isfinite(), given, state.place.double()))
        waiting.append(_Waiting(look, places))
        for pair in each.pairs:
            there, back = pair.forward.known, pair.reversed().forward.known
            if not pair.second.cut:
                waiting[-1] = _Waiting(look, places, ahead=(there.half(), back.half()))
                state = step(state, look, look_at(pair.second, there.device), there, back)
        yield from _released(waiting, ahead if sides != "before" and points.left else 0)
    yield from _released(waiting, 0)


def _tensor(points: Points, look: Look) -> Tensor:
    """(N, 2) float64: the places that are given for the frame of `look`, NaN elsewhere."""
    place = torch.full((len(points.names), 2), torch.nan, dtype=torch.float64)
    for key in points.take(look.frame):
        place[key.point, 0], place[key.point, 1] = key.x, key.y
    return place.to(look.small.device)


def _reach_back(state: Tracked, look: Look, waiting: deque[_Waiting]) -> None:
    """Carries points from their key on the frame of `look` to the frames that wait, back to the key before it."""
    for number in reversed(range(len(waiting))):
        each = waiting[number]
        if each.ahead is None or not state.known.any():
            return
        there, back = (flow.float() for flow in each.ahead)
        state = step(state, look, each.look, back, there)
        place = state.place.masked_fill(each.before.given[:, None], torch.nan)
        state, look = replace(state, place=place), each.look
        places = replace(state.places, place=place.double())
        after = places if each.after is None else chosen(places.known, places, each.after)
        waiting[number] = replace(each, after=after)


def _released(waiting: deque[_Waiting], most: int) -> Iterator[Carried[Places]]:
    """The frames that wait, but for the last `most`."""
    while len(waiting) > most:
        each = waiting.popleft()
        places = each.before if each.after is None else _blended(each.before, each.after)
        known = places.known
        if known.any():
            yield Carried(each.look.frame, places, places.confidence[known], key=bool(places.given.any()))
        else:
            yield Carried(each.look.frame, None)


def _blended(before: Places, after: Places) -> Places:
    """Both as one, by confidence over distance."""
    one, other = ((each.confidence + UNSEEN) / each.age.clamp(min=1) for each in (before, after))
    share = one / (one + other)
    both = Places(
        share[:, None] * before.place + (1 - share[:, None]) * after.place,
        torch.where(share < 0.5, after.seen, before.seen),
        torch.maximum(before.confidence, after.confidence),
        torch.minimum(before.age, after.age),
    )
    return chosen(before.known & after.known, both, chosen(before.known, before, after))
