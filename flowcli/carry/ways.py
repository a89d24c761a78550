"""Label maps carried along chained flow: labels are sampled from key frames once, and then elected once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.carry.evidence import Evidence, Look, look_at, weigh
from flowcli.carry.labels import settle_labels, thinned
from flowcli.carry.stream import UNSEEN, Carried
from flowcli.geometry import backward_warp
from flowcli.ops.labels import sample_labels
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
        shift = flow + backward_warp(self.shift[None], flow[None])[0][0]
        seen = backward_warp(self.seen[None, None], evidence.flow[None])[0][0, 0] * evidence.seen
        return replace(self, shift=shift, seen=seen, length=self.length + 1)


@dataclass(frozen=True, eq=False)
class Ways:
    """The ways from a frame to the key frames around it; a key frame has one, of no length."""

    ways: tuple[Way, ...]
    step: Evidence | None = None
    """What is known of the flow to the frame next to it; None for a key frame."""


class ChainedLabels:
    """How labels are carried: on the way, only flow is."""

    def carry(self, value: Ways, flow: Tensor, evidence: Evidence) -> Ways:
        return Ways(tuple(way.on(flow, evidence) for way in value.ways), evidence)

    def blend(self, one: Ways, other: Ways, share: Tensor) -> Ways:
        """Both; how they share the frame is found out in the end."""
        return Ways((*one.ways, *other.ways), one.step)


def begin(labels: Tensor, frame: Frame) -> Ways:
    """What is carried of a key frame. labels: (H, W) int32."""
    look = look_at(frame, labels.device)
    seen = torch.ones(look.small.shape[1:], device=labels.device)
    return Ways((Way(labels, look, torch.zeros(2, *labels.shape, device=labels.device), seen),))


def settle(frames: Iterable[Carried[Ways]]) -> Iterator[Carried[Tensor]]:
    """The frames with their labels, (H, W) int32; those of key frames are untouched."""
    for each in frames:
        if each.value is None:
            yield Carried(each.frame, None)
        elif each.value.step is None:
            yield Carried(each.frame, each.value.ways[0].labels, each.confidence, each.key)
        else:
            labels, confidence = _settled(each.value.ways, each.value.step)
            yield Carried(each.frame, labels, confidence)


def _settled(ways: tuple[Way, ...], step: Evidence) -> tuple[Tensor, Tensor]:
    """Labels (H, W), and how surely they are those of key frames, (h, w).

    Each pixel has the label of the key frame that looks more like it there, over distance. It is what all key frames
    say that agree on it against what cells say that look like it, and move like it in this step.
    """
    known = [weigh(step.look, way.look, way.shift) for way in ways]
    trusts = [each.trust * (way.seen > 0.5) for each, way in zip(known, ways, strict=True)]
    found = [sample_labels(way.labels, way.shift) for way in ways]
    labels = found[0]
    if len(ways) > 1:
        weights = [(trust + UNSEEN) / way.length for trust, way in zip(trusts, ways, strict=True)]
        share = weights[0] / (weights[0] + weights[1])
        full = F.interpolate(share[None, None], labels.shape, mode="bilinear", align_corners=False)[0, 0]
        labels = torch.where(full < 0.5, found[1], found[0])
    small = thinned(labels, step.look.cell)
    strength, same = torch.zeros_like(trusts[0]), torch.zeros_like(step.same)
    for each, trust, own in zip(known, trusts, found, strict=True):
        agree = thinned(own, step.look.cell) == small
        strength += agree * trust / (1 - trust).clamp(min=1e-6)
        same |= agree & each.same
    evidence = replace(step, trust=strength / (1 + strength), same=same)
    return settle_labels(labels, evidence), torch.stack(trusts).amax(0)
