"""Where each pixel of a frame is on a key frame: flows chained, so that what is carried is sampled only once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.carry.evidence import Evidence
from flowcli.ops import cell_means, warp

_LEAST = 1e-3
"""Weight of alike cells, in all, below which there are none."""


@dataclass(frozen=True, eq=False)
class Route:
    """The way from a frame to its key frame."""

    shift: Tensor
    """(2, H, W) float32: from each pixel to its place on the key frame, pixels."""

    def carried(self, flow: Tensor, evidence: Evidence) -> Route:
        """The route from the next frame, from which the flow (2, H, W) leads to this one.

        What is hidden here would come from a wrong place: it moves with cells that look and move like it.
        """
        flow = torch.nan_to_num(flow)
        shift = flow + warp(self.shift, flow)
        hidden = evidence.trust == 0
        if bool(hidden.any()):
            cell = evidence.look.cell
            filled, alike = _filled(cell_means(shift, cell), hidden, evidence)
            shift = torch.where(enlarged(alike[None], cell, shift) > 0.5, enlarged(filled, cell, shift), shift)
        return Route(shift)


def enlarged(cells: Tensor, cell: int, like: Tensor) -> Tensor:
    """(C, H, W) float32: numbers of cells (C, h, w) for each pixel of `like` (..., H, W), smooth from cell to cell."""
    if cell == 1:
        return cells.float()
    size = [cell * side for side in cells.shape[1:]]
    whole = F.interpolate(cells[None].float(), size, mode="bilinear", align_corners=False)[0]
    return whole[:, : like.shape[-2], : like.shape[-1]]


def _filled(shift: Tensor, hidden: Tensor, evidence: Evidence) -> tuple[Tensor, Tensor]:
    """The shift (2, h, w), of hidden cells the mean of alike ones; and which cells have that, (h, w) bool."""
    cells = hidden.flatten().nonzero()[:, 0]
    total, weight = evidence.neighbourhood.sums(shift, cells)
    known = weight > _LEAST
    result, alike = shift.flatten(1).clone(), torch.zeros_like(hidden).flatten()
    result[:, cells[known]] = (total / weight.clamp(min=_LEAST))[:, known]
    alike[cells[known]] = True
    return result.view_as(shift), alike.view_as(hidden)
