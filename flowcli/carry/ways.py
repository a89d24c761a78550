"""Labels and mattes carried along chained flow: sampled from key frames once, and then settled where that is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.carry.colours import Colours, learn_colours
from flowcli.carry.evidence import Evidence, Look, look_at, thinned, weigh
from flowcli.carry.labels import settle_labels
from flowcli.carry.soft import settle_planes
from flowcli.carry.stream import UNSEEN, Carried
from flowcli.ops import sample_labels, warp
from flowcli.types import Frame


@dataclass(frozen=True, eq=False)
class Way:
    """The way from a frame to a key frame."""

    value: Tensor
    """(H, W) int32 labels of the key frame, or planes (C, H, W) float32, 0 to 1."""
    look: Look
    """Of the key frame."""
    colours: Colours
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


class Chained:
    """How labels and planes are carried: on the way, only flow is."""

    def carry(self, value: Ways, flow: Tensor, evidence: Evidence) -> Ways:
        return Ways(tuple(way.on(flow, evidence) for way in value.ways), evidence, flow.half())

    def blend(self, one: Ways, other: Ways, share: Tensor) -> Ways:
        """Both; how they share the frame is found out in the end."""
        return Ways((*one.ways, *other.ways), one.step, one.flow)


def begin(value: Tensor, frame: Frame) -> Ways:
    """What is carried of a key frame. value: (H, W) int32 labels, or planes (C, H, W) float32, 0 to 1."""
    look = look_at(frame, value.device)
    seen = torch.ones(look.small.shape[1:], device=value.device)
    shift = torch.zeros(2, *value.shape[-2:], device=value.device)
    return Ways((Way(value, look, learn_colours(value, look), shift, seen),))


@dataclass(frozen=True, eq=False)
class _Said:
    """What a key frame, or the frame before, says of a frame."""

    value: Tensor
    """As that of the key frame."""
    weight: Tensor
    """(h, w): against others that say something else."""
    trust: Tensor
    """(h, w), 0 to 1: against neighbours that say something else."""
    same: Tensor
    """(h, w) bool: the same pictures."""


class Settling:
    """Finds the values of frames, given one after the other."""

    def __init__(self) -> None:
        self._last: Carried[Tensor] | None = None

    def __call__(self, frame: Carried[Ways]) -> Carried[Tensor]:
        """The frame with its labels or planes; those of key frames are untouched."""
        ways = frame.value
        if ways is None:
            self._last = Carried(frame.frame, None)
        elif ways.step is None or ways.flow is None:
            self._last = Carried(frame.frame, ways.ways[0].value, frame.confidence, frame.key)
        else:
            said = [_say(way, ways.step, len(ways.ways)) for way in ways.ways]
            colours = [way.colours for way in ways.ways]
            if ways.ways[0].value.is_floating_point():
                self._last = Carried(frame.frame, *_mixed(said, ways.step, colours))
                return self._last
            if self._last is not None and len(said) == 1 and ways.ways[0].look.frame.index < frame.frame.index:
                said.append(_repeat(self._last, ways.flow.float(), ways.step))
            self._last = Carried(frame.frame, *_elected(said, ways.step, colours))
        return self._last


def _say(way: Way, step: Evidence, ways: int) -> _Said:
    """What the key frame at the end of the way says, one of so many."""
    known = weigh(step.look, way.look, way.shift)
    trust = known.trust * (way.seen > 0.5)
    weight = (trust + UNSEEN) / (way.length if ways > 1 else 1)
    sampled = warp(way.value, way.shift) if way.value.is_floating_point() else sample_labels(way.value, way.shift)
    return _Said(sampled, weight, trust, known.same)


def _repeat(last: Carried[Tensor], flow: Tensor, step: Evidence) -> _Said:
    """What the frame before says, which is nearer than the key frame, but less sure.

    What was elected there counts a little, too: it need not be elected anew, and does not change from frame to frame.
    """
    assert last.value is not None
    assert last.confidence is not None
    confidence = warp(last.confidence[None], step.flow)[0].clamp(min=UNSEEN)
    return _Said(sample_labels(last.value, flow), step.trust + UNSEEN, confidence * step.trust, step.same)


def _elected(said: Sequence[_Said], step: Evidence, colours: Sequence[Colours]) -> tuple[Tensor, Tensor]:
    """Labels (H, W), and how surely they are those of key frames, (h, w).

    Each pixel has the label of what is said with more weight. All that say the same are counted against cells that look
    like it, and move like it in this step, and against what colours say.
    """
    labels, weight = said[0].value, said[0].weight
    for other in said[1:]:
        labels = torch.where(_share(weight, other.weight, labels) < 0.5, other.value, labels)
        weight = torch.maximum(weight, other.weight)
    small = thinned(labels, step.look.cell)
    agree = [thinned(each.value, step.look.cell) == small for each in said]
    return settle_labels(labels, _together(said, step, agree), colours), _surest(said)


def _mixed(said: Sequence[_Said], step: Evidence, colours: Sequence[Colours]) -> tuple[Tensor, Tensor]:
    """Planes (C, H, W), the same, mixed by weight instead."""
    planes, weight = said[0].value, said[0].weight
    for other in said[1:]:
        planes = other.value + (planes - other.value) * _share(weight, other.weight, planes)
        weight = weight + other.weight
    every = [torch.ones_like(each.same) for each in said]
    return settle_planes(planes, _together(said, step, every), colours), _surest(said)


def _share(weight: Tensor, other: Tensor, like: Tensor) -> Tensor:
    """(H, W): how much of both is the former; weights: (h, w)."""
    share = weight / (weight + other)
    return F.interpolate(share[None, None], like.shape[-2:], mode="bilinear", align_corners=False)[0, 0]


def _together(said: Sequence[_Said], step: Evidence, agree: Sequence[Tensor]) -> Evidence:
    """What is known of cells for which several agree, each where `agree` (h, w) bool says so."""
    strength, same = torch.zeros_like(step.trust), torch.zeros_like(step.same)
    for each, counts in zip(said, agree, strict=True):
        strength += counts * each.trust / (1 - each.trust).clamp(min=1e-6)
        same |= counts & each.same
    return replace(step, trust=strength / (1 + strength), same=same)


def _surest(said: Sequence[_Said]) -> Tensor:
    return torch.stack([each.trust for each in said]).amax(0)
