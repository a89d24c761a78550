"""Label maps carried along chained flow: labels are sampled from key frames once, and then elected once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.carry.evidence import Evidence, Look, look_at, weigh
from flowcli.carry.labels import settle_labels, thinned
from flowcli.carry.stream import UNSEEN, Carried
from flowcli.ops import sample_labels, warp
from flowcli.types import Frame


@dataclass(frozen=True, eq=False)
class Way:
    """The way from a frame to a key frame."""

    labels: Tensor
    """(H, W) int32, of the key frame."""
    look: Look
    """Of the key frame."""
    shift: Tensor
    """(2, H, W) float32: from each pixel of the frame to its place on the key frame, pixels."""
    seen: Tensor
    """(h, w) float32: 1 where nothing on the way shows that the key frame has something else there, else 0."""
    length: int = 0
    """In frames."""

    def on(self, flow: Tensor, evidence: Evidence) -> Way:
        """The way from the next frame, from which the flow (2, H, W) leads to this one."""
        flow = torch.nan_to_num(flow)
        shift = flow + warp(self.shift, flow)
        seen = warp(self.seen[None], evidence.flow)[0] * evidence.seen
        return replace(self, shift=shift, seen=seen, length=self.length + 1)


@dataclass(frozen=True, eq=False)
class Ways:
    """The ways from a frame to the key frames around it; a key frame has one, of no length."""

    ways: tuple[Way, ...]
    step: Evidence | None = None
    """What is known of the flow to the frame next to it; None for a key frame."""
    flow: Tensor | None = None
    """That flow, (2, H, W) in half precision: many of these may wait."""


class ChainedLabels:
    """How labels are carried: on the way, only flow is."""

    def carry(self, value: Ways, flow: Tensor, evidence: Evidence) -> Ways:
        return Ways(tuple(way.on(flow, evidence) for way in value.ways), evidence, flow.half())

    def blend(self, one: Ways, other: Ways, share: Tensor) -> Ways:
        """Both; how they share the frame is found out in the end."""
        return Ways((*one.ways, *other.ways), one.step, one.flow)


def begin(labels: Tensor, frame: Frame) -> Ways:
    """What is carried of a key frame. labels: (H, W) int32."""
    look = look_at(frame, labels.device)
    seen = torch.ones(look.small.shape[1:], device=labels.device)
    return Ways((Way(labels, look, torch.zeros(2, *labels.shape, device=labels.device), seen),))


@dataclass(frozen=True, eq=False)
class _Said:
    """What a key frame, or the frame before, says of a frame."""

    labels: Tensor
    """(H, W) int32."""
    weight: Tensor
    """(h, w): against others that say something else."""
    trust: Tensor
    """(h, w), 0 to 1: against neighbours that have another label."""
    same: Tensor
    """(h, w) bool: the same pictures."""


class Settling:
    """Finds the labels of frames, given one after the other."""

    def __init__(self) -> None:
        self._last: Carried[Tensor] | None = None

    def __call__(self, frame: Carried[Ways]) -> Carried[Tensor]:
        """The frame with its labels, (H, W) int32; those of key frames are untouched."""
        ways = frame.value
        if ways is None:
            self._last = Carried(frame.frame, None)
        elif ways.step is None or ways.flow is None:
            self._last = Carried(frame.frame, ways.ways[0].labels, frame.confidence, frame.key)
        else:
            said = [_say(way, ways.step, len(ways.ways)) for way in ways.ways]
            if self._last is not None and len(said) == 1 and ways.ways[0].look.frame.index < frame.frame.index:
                said.append(_repeat(self._last, ways.flow.float(), ways.step))
            self._last = Carried(frame.frame, *_settled(said, ways.step))
        return self._last


def _say(way: Way, step: Evidence, ways: int) -> _Said:
    """What the key frame at the end of the way says, one of so many."""
    known = weigh(step.look, way.look, way.shift)
    trust = known.trust * (way.seen > 0.5)
    weight = (trust + UNSEEN) / (way.length if ways > 1 else 1)
    return _Said(sample_labels(way.labels, way.shift), weight, trust, known.same)


def _repeat(last: Carried[Tensor], flow: Tensor, step: Evidence) -> _Said:
    """What the frame before says, which is nearer than the key frame, but less sure.

    What was elected there counts a little, too: it need not be elected anew, and does not change from frame to frame.
    """
    assert last.value is not None
    assert last.confidence is not None
    confidence = warp(last.confidence[None], step.flow)[0].clamp(min=UNSEEN)
    return _Said(sample_labels(last.value, flow), step.trust + UNSEEN, confidence * step.trust, step.same)


def _settled(said: Sequence[_Said], step: Evidence) -> tuple[Tensor, Tensor]:
    """Labels (H, W), and how surely they are those of key frames, (h, w).

    Each pixel has the label of what is said with more weight. All that say the same are counted against cells that look
    like it, and move like it in this step.
    """
    labels, weight = said[0].labels, said[0].weight
    for other in said[1:]:
        share = weight / (weight + other.weight)
        full = F.interpolate(share[None, None], labels.shape, mode="bilinear", align_corners=False)[0, 0]
        labels = torch.where(full < 0.5, other.labels, labels)
        weight = torch.maximum(weight, other.weight)
    small = thinned(labels, step.look.cell)
    strength, same = torch.zeros_like(step.trust), torch.zeros_like(step.same)
    for each in said:
        agree = thinned(each.labels, step.look.cell) == small
        strength += agree * each.trust / (1 - each.trust).clamp(min=1e-6)
        same |= agree & each.same
    evidence = replace(step, trust=strength / (1 + strength), same=same)
    return settle_labels(labels, evidence), torch.stack([each.trust for each in said]).amax(0)
