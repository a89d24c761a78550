"""A value of some frames carried to all the others: from the one before, and back from the one after."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.carry.evidence import Evidence, Look, look_at, weigh
from flowcli.engine.schedule import AHEAD, Keys
from flowcli.ops import warp
from flowcli.types import FlowPair, Frame, FrameFlows

Value = TypeVar("Value")

UNSEEN = 0.02
"""Weight of what a key frame says of a place that it does not show; 1 is that of a place that looks the same there."""


class Kind(Protocol[Value]):
    """How values of one kind are carried."""

    def carry(self, value: Value, flow: Tensor, evidence: Evidence) -> Value:
        """What `value` is on the frame of `evidence`, from which the flow (2, H, W) leads to the frame of `value`."""
        ...

    def blend(self, one: Value, other: Value, share: Tensor) -> Value:
        """Both on one frame made one; share: (H, W), 0 to 1, of the first."""
        ...


@dataclass(frozen=True, eq=False)
class Carried(Generic[Value]):
    """What is known of a frame."""

    frame: Frame
    value: Value | None
    """None where nothing reaches it: no key frame is in its shot, or near enough."""
    confidence: Tensor | None = None
    """(h, w), 0 to 1, for cells of the frame: how surely the value is that of a key frame; None without value."""
    key: bool = False
    """Whether the value is given, and not carried."""


@dataclass(frozen=True, eq=False)
class _State(Generic[Value]):
    """A value that is on its way, and how many frames it has come."""

    value: Value
    confidence: Tensor
    age: int

    def carried(self, kind: Kind[Value], flow: Tensor, evidence: Evidence) -> _State[Value]:
        """The same one frame on."""
        confidence = warp(self.confidence[None], evidence.flow)[0]
        value = kind.carry(self.value, flow.float(), evidence)
        return _State(value, confidence * evidence.trust, self.age + 1)

    @property
    def weight(self) -> Tensor:
        return (self.confidence + UNSEEN) / self.age


@dataclass(eq=False)
class _Waiting(Generic[Value]):
    """A frame that waits for the key frame after it."""

    frame: Frame
    before: _State[Value] | None
    """What came from the key frame before it."""
    ahead: tuple[Tensor, Evidence] | None = None
    """The flow from it to the next frame, in half precision, and what is known of it."""


def carry(
    flows: Iterable[FrameFlows],
    key: Callable[[Frame], Value | None],
    kind: Kind[Value],
    sides: Keys = "both",
    ahead: int = AHEAD,
) -> Iterator[Carried[Value]]:
    """Each frame with its value, in order.

    flows: between neighbours, as `Consecutive` links them: "backward" for sides "before", else "both". key: tells the
    value of a frame if it is a key frame; asked once for each. sides: of the key frames around a frame, whose value
    reaches it. ahead: frames that wait for the key frame after them: so many are held, and that far it reaches back.
    A cut ends it. What comes from both sides is blended, pixel by pixel, by confidence over distance.
    """
    waiting: deque[_Waiting[Value]] = deque()
    state: _State[Value] | None = None
    look: Look | None = None
    for each in flows:
        frame = each.frame
        if frame.cut:
            yield from _without_after(waiting)
            state = None
        value = key(frame)
        if value is not None:
            look = look or look_at(frame, _device(each))
            fresh = _State(value, torch.ones(look.small.shape[1:], device=look.small.device), 0)
            yield from _back_from(fresh, waiting, kind)
            state = None if sides == "after" else fresh
            yield Carried(frame, value, fresh.confidence, key=True)
        else:
            waiting.append(_Waiting(frame, state))
            if sides == "before" or len(waiting) > ahead:
                first = waiting.popleft()
                yield _made(first.frame, first.before)
        look = look if each.pairs else None
        for pair in each.pairs:
            look = look or look_at(frame, pair.forward.uv.device)
            look, state = _step(pair, look, state, waiting, kind, sides)
    yield from _without_after(waiting)


def _device(flows: FrameFlows) -> torch.device:
    return flows.pairs[0].forward.uv.device if flows.pairs else torch.device("cpu")


def _step(
    pair: FlowPair,
    look: Look,
    state: _State[Value] | None,
    waiting: deque[_Waiting[Value]],
    kind: Kind[Value],
    sides: Keys,
) -> tuple[Look, _State[Value] | None]:
    """The look of the next frame, and what comes to it; pair: of the frame of `look` and the next."""
    pair = pair if pair.second.index == look.frame.index else pair.reversed()
    back = pair.forward.known
    there = None if pair.backward is None else pair.backward.known
    following = look_at(pair.first, back.device)
    if following.frame.cut:
        return following, None
    if sides != "before" and there is not None and waiting and waiting[-1].frame.index == look.frame.index:
        waiting[-1].ahead = there.half(), weigh(look, following, there, back)
    if state is not None:
        state = state.carried(kind, back, weigh(following, look, back, there))
    return following, state


def _without_after(waiting: deque[_Waiting[Value]]) -> Iterator[Carried[Value]]:
    while waiting:
        each = waiting.popleft()
        yield _made(each.frame, each.before)


def _back_from(key: _State[Value], waiting: deque[_Waiting[Value]], kind: Kind[Value]) -> Iterator[Carried[Value]]:
    """The frames that waited for this key frame."""
    after: _State[Value] | None = key
    blended: list[Carried[Value]] = []
    while waiting:
        each = waiting.pop()
        after = None if after is None or each.ahead is None else after.carried(kind, *each.ahead)
        blended.append(_blended(each.frame, each.before, after, kind))
    yield from reversed(blended)


def _blended(
    frame: Frame, before: _State[Value] | None, after: _State[Value] | None, kind: Kind[Value]
) -> Carried[Value]:
    if before is None or after is None:
        return _made(frame, before or after)
    share = before.weight / (before.weight + after.weight)
    full = F.interpolate(share[None, None], frame.image.shape[:2], mode="bilinear", align_corners=False)[0, 0]
    confidence = torch.maximum(before.confidence, after.confidence)
    return Carried(frame, kind.blend(before.value, after.value, full), confidence)


def _made(frame: Frame, state: _State[Value] | None) -> Carried[Value]:
    return Carried(frame, None) if state is None else Carried(frame, state.value, state.confidence)
