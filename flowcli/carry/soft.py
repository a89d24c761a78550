"""Planes of numbers carried along a flow: mattes, and other things that may be mixed."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from flowcli.carry.colours import Colours, heard
from flowcli.carry.evidence import Evidence
from flowcli.carry.labels import WIDE, near, own_weight
from flowcli.carry.routes import enlarged
from flowcli.ops import cell_means

_EDGE = 0.05
"""By how much neighbours differ at a border, of a range from 0 to 1."""


def settle_planes(carried: Tensor, evidence: Evidence, colours: Sequence[Colours] = ()) -> Tensor:
    """(C, H, W) float32: the planes that were carried, as the frame of `evidence` shows them.

    carried: (C, H, W) float32, each from where the frame's pixel comes from, 0 to 1. As `settle_labels`, with means for
    elections.
    """
    cell = evidence.look.cell
    small = cell_means(carried, cell)
    change = _mean_of_alike(small, evidence, colours) - small
    return (carried + enlarged(change, cell, carried)).clamp_(0, 1)


def _mean_of_alike(planes: Tensor, evidence: Evidence, colours: Sequence[Colours]) -> Tensor:
    """(C, h, w): the planes, near borders and where they came from nowhere mixed with their neighbours, and colours."""
    trust = evidence.trust
    cells = (((trust == 0) | near(borders(planes), WIDE)) & ~evidence.same).flatten().nonzero()[:, 0]
    flat = planes.flatten(1)
    own = own_weight(trust).flatten()[cells]
    total, weight = evidence.neighbourhood.sums(planes, cells)
    for said, clear in heard(colours, evidence.look, cells):
        total, weight = total + said * clear, weight + clear
    result = flat.clone()
    result[:, cells] = (own * flat[:, cells] + total) / (own + weight)
    return result.view_as(planes)


def borders(planes: Tensor) -> Tensor:
    """(H, W) bool: where planes (C, H, W) differ from those to the right or below."""
    steep = F.pad(planes.diff(dim=1).abs(), (0, 0, 0, 1)) + F.pad(planes.diff(dim=2).abs(), (0, 1))
    return (steep > _EDGE).any(0)
