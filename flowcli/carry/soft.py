"""Planes of numbers carried along a flow: mattes, and other things that may be mixed."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from flowcli.carry.evidence import Evidence, reduced
from flowcli.carry.labels import WIDE, near, own_weight
from flowcli.ops import warp

_EDGE = 0.05
"""By how much neighbours differ at a border, of a range from 0 to 1."""


class Soft:
    """Planes (C, H, W) of float32, 0 to 1: how much of each pixel belongs to something."""

    def carry(self, value: Tensor, flow: Tensor, evidence: Evidence) -> Tensor:
        return carry_planes(value, flow, evidence)

    def blend(self, one: Tensor, other: Tensor, share: Tensor) -> Tensor:
        return other + (one - other) * share


def carry_planes(planes: Tensor, flow: Tensor, evidence: Evidence) -> Tensor:
    """(C, H, W): the planes of the frame that the flow leads to, as the frame of `evidence` shows them.

    planes: (C, H, W) float32; flow: (2, H, W) pixels. As for labels, see `settle_labels`, with means for elections.
    """
    carried = warp(planes, flow)
    cell = evidence.look.cell
    small = reduced(carried, cell)
    change = _mean_of_alike(small, evidence) - small
    if cell > 1:
        size = [cell * side for side in change.shape[1:]]
        change = F.interpolate(change[None], size, mode="bilinear", align_corners=False)[0]
        change = change[:, : planes.shape[1], : planes.shape[2]]
    return (carried + change).clamp_(0, 1)


def _mean_of_alike(planes: Tensor, evidence: Evidence) -> Tensor:
    """(C, h, w): the planes, those near borders and those that came from nowhere with the mean of their neighbours."""
    trust = evidence.trust
    cells = (((trust == 0) | near(borders(planes), WIDE)) & ~evidence.same).flatten().nonzero()[:, 0]
    flat = planes.flatten(1)
    own = own_weight(trust).flatten()[cells]
    total, weight = evidence.neighbourhood.sums(planes, cells)
    result = flat.clone()
    result[:, cells] = (own * flat[:, cells] + total) / (own + weight)
    return result.view_as(planes)


def borders(planes: Tensor) -> Tensor:
    """(H, W) bool: where planes (C, H, W) differ from those to the right or below."""
    steep = F.pad(planes.diff(dim=1).abs(), (0, 0, 0, 1)) + F.pad(planes.diff(dim=2).abs(), (0, 1))
    return (steep > _EDGE).any(0)
