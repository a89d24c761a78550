"""Label maps carried along a flow: labels are elected, never mixed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.carry.evidence import Evidence
from flowcli.carry.neighbours import COLOUR, RINGS, Neighbourhood
from flowcli.geometry import grid

BAND = 12
"""Cells on each side of a border between labels that neighbours have a say in."""
OWN = 0.7
"""How many alike neighbours what is carried to a cell counts for, at a photometric error of UNSURE; more below it."""
_MOST = 1 << 23
"""Votes (cells times labels) counted at once."""


class Labels:
    """Maps (H, W) of int32: the number of what each pixel belongs to."""

    def carry(self, value: Tensor, flow: Tensor, evidence: Evidence) -> Tensor:
        return carry_labels(value, flow, evidence)

    def blend(self, one: Tensor, other: Tensor, share: Tensor) -> Tensor:
        return torch.where(share < 0.5, other, one)


def carry_labels(labels: Tensor, flow: Tensor, evidence: Evidence) -> Tensor:
    """(H, W): the labels of the frame that the flow leads to, as the frame of `evidence` shows them.

    labels: (H, W) of integers; flow: (2, H, W) pixels. What is hidden in the other frame, and so comes from a
    wrong place, gets the label of cells that look and move like it; so do cells near borders between labels, the more
    the less what is found there looks like them. Where pictures agree exactly, labels are carried as they are.
    """
    carried = find_labels(labels, flow)
    cell = evidence.look.cell
    found, small = thinned(carried, cell).unique(return_inverse=True)
    if len(found) == 1:
        return carried
    elected = _elect(small, len(found), evidence)
    changed = elected != small
    if cell == 1:
        return torch.where(changed, found[elected], carried)
    return _refine(carried, found[elected], changed, evidence)


def find_labels(labels: Tensor, flow: Tensor) -> Tensor:
    """(H, W): the label at the place that the flow leads each pixel to, by a vote of the four nearest pixels.

    Beyond the frame its border counts.
    """
    height, width = labels.shape
    last = torch.tensor((width - 1, height - 1), device=labels.device).view(2, 1, 1)
    place = (grid(height, width, labels.device) + torch.nan_to_num(flow)).clamp(min=0).minimum(last)
    corner = place.floor().long()
    index = (corner[1] * width + corner[0]).flatten()
    flat = labels.flatten()
    result = flat[index]
    # Where all four agree, which is nearly everywhere, there is nothing to vote on.
    voting = _mixed(labels).flatten()[index].nonzero()[:, 0]
    column, row = corner.flatten(1)[:, voting]
    share_x, share_y = (place.flatten(1)[:, voting] - torch.stack((column, row))).unbind()
    candidates, weights = [], []
    for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
        candidates.append(flat[(row + below).clamp(max=height - 1) * width + (column + right).clamp(max=width - 1)])
        weights.append((share_x if right else 1 - share_x) * (share_y if below else 1 - share_y))
    result[voting] = elect_of_four(torch.stack(candidates), torch.stack(weights))
    return result.view_as(labels)


def _mixed(labels: Tensor) -> Tensor:
    """(H, W) bool: whether a pixel and those to the right, below and both have several labels."""
    mixed = torch.zeros_like(labels, dtype=torch.bool)
    mixed[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    mixed[:-1] |= labels[:-1] != labels[1:]
    mixed[:-1, :-1] |= labels[:-1, :-1] != labels[1:, 1:]
    return mixed


def thinned(values: Tensor, cell: int) -> Tensor:
    """(h, w): of (H, W) the value in the middle of each cell."""
    row, column = (
        torch.arange(0, side, cell, device=values.device).add(cell // 2).clamp(max=side - 1) for side in values.shape
    )
    return values[row][:, column]


def elect_of_four(candidates: Tensor, weights: Tensor) -> Tensor:
    """(N,): of the candidates (4, N) the one with the greatest sum of weights (4, N), the first of equals."""
    votes = (weights[None] * (candidates[None] == candidates[:, None])).sum(1)
    return candidates.gather(0, votes.argmax(0)[None])[0]


def _elect(labels: Tensor, count: int, evidence: Evidence) -> Tensor:
    """(h, w): the labels, 0 to count - 1, but those near borders, and from nowhere, elected anew."""
    trust = evidence.trust
    todo = ((trust == 0) | near(_mixed(labels))) & ~evidence.same
    result = labels.flatten().clone()
    own = own_weight(trust).flatten()
    around = Neighbourhood(evidence)
    for cells in todo.flatten().nonzero()[:, 0].split(max(1, _MOST // count)):
        votes = torch.zeros(len(cells), count, device=labels.device)
        votes.scatter_(1, result[cells][:, None], own[cells][:, None])
        _vote(labels.flatten(), cells, votes, around, result)
    return result.view_as(labels)


def _vote(labels: Tensor, cells: Tensor, votes: Tensor, around: Neighbourhood, result: Tensor) -> None:
    """Lets neighbours of the cells (N,) vote, nearer ones first, until farther ones can change nothing.

    labels: (h * w,); votes: (N, labels) so far; result: (h * w,), is changed.
    """
    left = sum(ring.most for ring in RINGS)
    for ring in RINGS:
        left -= ring.most
        for each in around.ring(cells, ring):
            votes.scatter_add_(1, labels[each.index][:, None], each.weight[:, None])
        most, elected = votes.topk(2, dim=1)
        result[cells] = elected[:, 0]
        unsure = (most[:, 1] + left > most[:, 0]).nonzero()[:, 0]
        cells, votes = cells[unsure], votes[unsure]
        if not len(cells):
            return


def own_weight(trust: Tensor) -> Tensor:
    """How many alike neighbours what was carried counts for."""
    return OWN * trust / (1 - trust).clamp(min=1e-6) + 1e-6


def near(cells: Tensor) -> Tensor:
    """(h, w) bool: where one of the cells (h, w) bool is at most BAND cells away, in x and y."""
    count = F.pad(cells.float(), (BAND + 1, BAND, BAND + 1, BAND)).cumsum(0).cumsum(1)
    side = 2 * BAND + 1
    return count[side:, side:] - count[:-side, side:] - count[side:, :-side] + count[:-side, :-side] > 0.5


def _refine(carried: Tensor, elected: Tensor, changed: Tensor, evidence: Evidence) -> Tensor:
    """(H, W): what is carried, but in changed cells what the four nearest cells elect, those of the pixel's colour.

    Source: joint bilateral upsampling, Kopf and others 2007.
    """
    height, width = carried.shape
    cell = evidence.look.cell
    pixels = changed.repeat_interleave(cell, 0)[:height].repeat_interleave(cell, 1)[:, :width].flatten().nonzero()[:, 0]
    image = torch.from_numpy(evidence.look.frame.image).to(carried.device).flatten(0, 1)
    colour = image[pixels].float().T
    small_height, small_width = elected.shape
    x = ((pixels % width + 0.5) / cell - 0.5).clamp(0, small_width - 1)
    y = ((pixels // width + 0.5) / cell - 0.5).clamp(0, small_height - 1)
    left, top = x.floor().long(), y.floor().long()
    candidates, weights = [], []
    for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, row = (left + right).clamp(max=small_width - 1), (top + below).clamp(max=small_height - 1)
        near = (1 - (x - left - right).abs()) * (1 - (y - top - below).abs())
        unlike = (evidence.look.small[:, row, column] - colour).square().sum(0) / (6 * COLOUR**2)
        candidates.append(elected[row, column])
        weights.append(near * torch.exp(-unlike) + 1e-9 * near)
    result = carried.flatten().clone()
    result[pixels] = elect_of_four(torch.stack(candidates), torch.stack(weights))
    return result.view_as(carried)
