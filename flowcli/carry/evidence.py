"""How far a flow can be trusted, pixel by pixel: from the pictures that it links, and from where it leads.

All is at a fraction of full size: what is decided by colours and motion needs no more, and is four times as fast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flowcli.geometry import blurred, consistency, grid, lies_inside
from flowcli.ops import cell_means, crowded_out, warp
from flowcli.ops.alike import Neighbourhood, neighbourhood
from flowcli.types import Frame

SIDE = 240
"""Length of the shorter side, in pixels, that pictures are reduced to, or nearly so."""
UNSURE = 10.0
"""Grey levels of photometric error at which a flow is trusted by 1/e."""
WINDOW = 5
"""Side of the square over which errors are averaged, pixels. 1 to 11 give masks within 0.005 of each other's IoU."""
CROWDED = 1.6
"""Cells of the frame that come from one place, above which some of them are hidden there."""
BETTER = 1.0
"""Grey levels of photometric error by which another of them must look more like it."""
_NEARLY = 1e-3
"""Grey levels by which pictures differ that are the same but for rounding."""


@dataclass(frozen=True, eq=False)
class Look:
    """A frame, and what is compared of it."""

    frame: Frame
    small: Tensor
    """(3, h, w) float32, grey levels 0 to 255: means over cells of `cell` x `cell` pixels."""
    cell: int


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of the flow from one frame to another, (h, w) each: a number for each cell of the one frame."""

    look: Look
    """Of the frame that the flow lives on."""
    flow: Tensor
    """(2, h, w), in cells."""
    trust: Tensor
    """0 to 1: how well the other frame looks like this one there; 0 where it does not show the same place."""
    same: Tensor
    """bool: what the other frame shows there cannot be told from what this frame shows."""
    seen: Tensor
    """bool: the place is in view, and no other cell comes from it and looks more like it."""

    @property
    def neighbourhood(self) -> Neighbourhood:
        """How alike the cells of the one frame are."""
        return neighbourhood(self.flow, self.look.small, self.trust)


def look_at(frame: Frame, device: torch.device) -> Look:
    """The frame, reduced so that its shorter side is about SIDE."""
    image = torch.tensor(np.ascontiguousarray(frame.image), device=device)
    cell = max(1, round(min(image.shape[:2]) / SIDE))
    return Look(frame, cell_means(image.permute(2, 0, 1), cell), cell)


def thinned(values: Tensor, cell: int) -> Tensor:
    """(h, w): of (H, W) the value in the middle of each cell."""
    if not any(0 < side % cell <= cell // 2 for side in values.shape):
        return values[cell // 2 :: cell, cell // 2 :: cell]
    row, column = (
        torch.arange(0, side, cell, device=values.device).add(cell // 2).clamp(max=side - 1) for side in values.shape
    )
    return values[row][:, column]


def weigh(look: Look, other: Look, flow: Tensor, back: Tensor | None = None) -> Evidence:
    """What is known of the flow (2, H, W) from the frame of `look` to that of `other`; back: the flow the other way.

    With it, what it does not lead back from counts as hidden, too.
    """
    small = cell_means(flow, look.cell) / look.cell
    error = blurred((warp(other.small, small) - look.small).abs_().mean(0)[None, None], WINDOW)[0, 0]
    height, width = error.shape
    inside = lies_inside((grid(height, width, small.device) + small)[None], height, width, margin=0.5)[0, 0]
    same = inside & (error < _NEARLY)
    seen = inside & (~crowded_out(small, error, CROWDED, BETTER) | same)
    trust = torch.exp(-error / UNSURE) * seen
    if back is not None:
        there = cell_means(back, look.cell) / look.cell
        trust *= ~consistency(small[None], there[None])[0, 0] | same
    return Evidence(look, small, trust, same, seen)
