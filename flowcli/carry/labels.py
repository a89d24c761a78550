"""Label maps carried along a flow: labels are elected, never mixed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowcli.carry.colours import Colours, heard
from flowcli.carry.evidence import Evidence, thinned
from flowcli.carry.islands import VOUCHED, drown_islands
from flowcli.ops.alike import COLOUR, RADII, elect
from flowcli.ops.labels import elect_of_four, mixed

BAND = 4
"""Cells on each side of a border between labels that neighbours have a say in. 4 to 12 give the same masks on generated
clips, within 0.0002 of IoU."""
WIDE = 12
"""The same of soft borders, and of those where a mask is most in doubt."""
OWN = 0.7
"""How many alike neighbours what is carried to a cell counts for, at a photometric error of UNSURE; more below it."""


def settle_labels(carried: Tensor, evidence: Evidence, colours: Sequence[Colours] = ()) -> Tensor:
    """(H, W): the labels that were carried, as the frame of `evidence` shows them.

    carried: (H, W) int32, each from where the frame's pixel comes from. What is hidden there, and so comes from a wrong
    place, gets the label of cells that look and move like it; so do cells near borders between labels, the more the
    less what is found there looks like them. colours: of the key frames, which have a say in it. Specks that nothing
    vouches for are given to what surrounds them. Where pictures agree exactly, labels stay as they are.
    """
    cell = evidence.look.cell
    small = thinned(carried, cell)
    if bool((small == small[0, 0]).all()):
        return carried
    elected = drown_islands(_elect(small, evidence, colours), evidence.trust)
    elected = torch.where(evidence.same, small, elected)
    changed = elected != small
    if cell == 1:
        return torch.where(changed, elected, carried)
    # A cell was judged by one of its pixels: what strays from that in a cell in doubt, far from borders, is as wrong.
    plain = (evidence.trust <= VOUCHED) & ~near(mixed(elected), 1) & ~evidence.same
    return _refine(_painted(carried, elected, plain, cell), elected, changed & ~plain, evidence)


def _elect(labels: Tensor, evidence: Evidence, colours: Sequence[Colours]) -> Tensor:
    """(h, w): the labels, but those near borders, and from nowhere, elected anew."""
    trust, borders = evidence.trust, mixed(labels)
    close = near(borders, BAND)
    # Far from all borders a cell and all its neighbours have one label.
    todo = (((trust == 0) & near(borders, max(RADII))) | close) & ~evidence.same
    cells = todo.flatten().nonzero()[:, 0]
    own, result = own_weight(trust).flatten()[cells], labels.flatten().clone()
    # A thing's colours are elsewhere, too: they tell where it ends, and not where it is.
    counts = close.flatten()[cells]
    for said, weight in heard(colours, evidence.look, cells):
        result[cells], own = _weighed(result[cells], own, said, counts * weight)
    result[cells] = elect(result.view_as(labels), cells, own, evidence.neighbourhood)
    return result.view_as(labels)


def _weighed(labels: Tensor, own: Tensor, others: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) each: of two labels of each cell that which weighs more, and by how much; or both, if they are the same."""
    weighed = torch.where(labels == others, own + weight, (own - weight).abs())
    return torch.where(weight > own, others, labels), weighed.clamp(min=1e-6)


def own_weight(trust: Tensor) -> Tensor:
    """How many alike neighbours what was carried counts for."""
    return OWN * trust / (1 - trust).clamp(min=1e-6) + 1e-6


def near(cells: Tensor, reach: int) -> Tensor:
    """(h, w) bool: where one of the cells (h, w) bool is at most `reach` cells away, in x and y."""
    for dimension in (0, 1):
        done = 0
        while done < reach:
            step = min(done + 1, reach - done)
            cells, done = _spread(cells, step, dimension), done + step
    return cells


def _spread(cells: Tensor, step: int, dimension: int) -> Tensor:
    """The cells, and those that are `step` cells away from them, to both sides."""
    count = cells.shape[dimension] - step
    if count <= 0:
        return cells
    result = cells.clone()
    result.narrow(dimension, step, count).logical_or_(cells.narrow(dimension, 0, count))
    result.narrow(dimension, 0, count).logical_or_(cells.narrow(dimension, step, count))
    return result


def _pixels_of(cells: Tensor, cell: int, height: int, width: int) -> Tensor:
    """(N,) int64: the pixels, row * width + column, under the `cells` (h, w) bool that are set."""
    first = cells.nonzero()[:, :, None] * cell + torch.arange(cell, device=cells.device)
    row, column = first[:, 0, :, None].expand(-1, -1, cell), first[:, 1, None].expand(-1, cell, -1)
    inside = (row < height) & (column < width)
    return (row * width + column)[inside]


def _painted(carried: Tensor, elected: Tensor, plain: Tensor, cell: int) -> Tensor:
    """(H, W): what is carried, but all pixels of plain cells have what is elected there."""
    return torch.where(_repeated(plain, cell, carried), _repeated(elected, cell, carried), carried)


def _repeated(cells: Tensor, cell: int, like: Tensor) -> Tensor:
    """(H, W): of each pixel what its cell (h, w) has."""
    height, width = cells.shape
    whole = cells[:, None, :, None].expand(height, cell, width, cell).reshape(height * cell, width * cell)
    return whole[: like.shape[0], : like.shape[1]]


def _refine(carried: Tensor, elected: Tensor, changed: Tensor, evidence: Evidence) -> Tensor:
    """(H, W): what is carried, but in changed cells what the four nearest cells elect, those of the pixel's colour.

    Source: joint bilateral upsampling, Kopf and others 2007.
    """
    height, width = carried.shape
    cell = evidence.look.cell
    pixels = _pixels_of(changed, cell, height, width)
    image = torch.tensor(evidence.look.frame.image, device=carried.device).flatten(0, 1)
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
