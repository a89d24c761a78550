"""What pixels that look and move alike belong to, and what they are on average; `alike.cpp` has faster kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flowcli.ops.library import define

RADII = (1, 2, 4, 8, 16, 32, 64)
"""In cells, at which neighbours are looked for."""
COLOUR = 20.0
"""Grey levels by which pixels of one thing differ."""
MOTION = 1.0, 0.1
"""Cells by which their motion differs, and the share of its length that is added to them."""
_MOST = 1 << 23
"""Votes (cells times labels) that the plain torch kernel counts at once."""


@dataclass(frozen=True)
class Ring:
    """Neighbours at one distance."""

    radius: int
    offsets: tuple[tuple[int, int], ...]
    """x, y in cells."""

    @property
    def most(self) -> float:
        """What they can weigh in all."""
        return len(self.offsets) / self.radius


def _ring(radius: int, turned: bool) -> Ring:
    count = max(8, min(24, round(3 * radius**0.7)))
    angles = [2 * math.pi * (number + 0.5 * turned) / count for number in range(count)]
    return Ring(radius, tuple((round(radius * math.cos(angle)), round(radius * math.sin(angle))) for angle in angles))


RINGS = tuple(_ring(radius, number % 2 == 1) for number, radius in enumerate(RADII))
_OFFSETS = torch.tensor([(x, y, ring.radius) for ring in RINGS for x, y in ring.offsets])


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Of each of N cells one neighbour, in one direction and at one distance."""

    index: Tensor
    """(N,) int64: row * width + column."""
    weight: Tensor
    """(N,) float32: how alike they are, how near, and how well the neighbour is known."""


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Cells, and how alike they are: those with nearly the same motion and colour."""

    looks: Tensor
    """(h * w, 5) float32: motion and colour, scaled so that squares of differences in colour are exponents."""
    known: Tensor
    """(h, w) float32, 0 to 1: the weight of each cell as a neighbour."""

    def ring(self, cells: Tensor, ring: Ring, mine: Tensor | None = None) -> Iterator[Neighbours]:
        """In each direction the neighbours of `cells` (N,), indices row * width + column; none weighs over 1/radius.

        mine: (N, 5), as from `comparable`, what they should be alike; None: the cells themselves.
        """
        height, width = self.known.shape
        row, column = cells // width, cells % width
        mine = self.looks[cells] if mine is None else mine
        motion = 0.5 / (MOTION[0] + MOTION[1] * mine[:, :2].norm(dim=1)) ** 2
        scale = torch.stack((motion, motion, *(torch.ones_like(motion),) * 3), dim=1)
        known = self.known.flatten()
        for x, y in ring.offsets:
            there_x, there_y = column + x, row + y
            inside = (there_x >= 0) & (there_x < width) & (there_y >= 0) & (there_y < height)
            index = torch.where(inside, cells + (y * width + x), 0)
            unlike = (self.looks[index] - mine).square_().mul_(scale).sum(1)
            yield Neighbours(index, torch.exp(-unlike).mul_(known[index]).mul_(inside).div_(ring.radius))

    def sums(self, values: Tensor, cells: Tensor, mine: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(C, N) and (N,): sums of weight * value and of weight over all neighbours of `cells` (N,).

        values: (C, h, w) float32; mine: as for `ring`.
        """
        mine = self.looks[cells] if mine is None else mine
        sums = torch.ops.flowcli.sum_alike(values, cells, mine, self.looks, self.known, _OFFSETS, *MOTION)
        return sums[:-1], sums[-1]


def neighbourhood(flow: Tensor, colour: Tensor, known: Tensor) -> Neighbourhood:
    """The cells of a picture: flow (2, h, w) in cells, colour (3, h, w) in grey levels, known (h, w); all float32."""
    # One row for each cell: what is compared of it lies together.
    return Neighbourhood(comparable(flow, colour).flatten(1).T.contiguous(), known)


def comparable(motion: Tensor, colour: Tensor) -> Tensor:
    """(5, ...): what is compared of cells, of their motion (2, ...) in cells and colour (3, ...) in grey levels."""
    return torch.cat((motion, colour * (1 / (math.sqrt(6) * COLOUR))))


def elect(labels: Tensor, cells: Tensor, own: Tensor, around: Neighbourhood) -> Tensor:
    """(N,) int32: the label that most of the neighbours of each cell have, and the cell itself.

    labels: (h, w) int32; cells: (N,) int64, row * width + column; own: (N,) float32, above 0: what each cell's own
    label weighs, where a neighbour next to it that is exactly alike weighs 1. Nearer neighbours vote first, until
    farther ones can change nothing. Raises ValueError if the shapes do not fit.
    """
    if labels.shape != around.known.shape or cells.dim() != 1 or own.shape != cells.shape:
        raise ValueError(
            f"labels {tuple(labels.shape)}, cells {tuple(cells.shape)} and weights {tuple(own.shape)} do not fit to "
            f"cells of {tuple(around.known.shape)}"
        )
    elected: Tensor = torch.ops.flowcli.elect(labels, cells, own, around.looks, around.known, _OFFSETS, *MOTION)
    return elected


def _elect_torch(
    labels: Tensor, cells: Tensor, own: Tensor, looks: Tensor, known: Tensor, offsets: Tensor, *motion: float
) -> Tensor:
    found, numbers = labels.flatten().unique(return_inverse=True)
    around = Neighbourhood(looks, known)
    result = [
        _count(numbers, len(found), some, weights, around)
        for some, weights in zip(*(each.split(max(1, _MOST // len(found))) for each in (cells, own)), strict=True)
    ]
    return found[torch.cat(result)] if result else labels.new_empty(0)


def _count(numbers: Tensor, count: int, cells: Tensor, own: Tensor, around: Neighbourhood) -> Tensor:
    """(N,): of the numbers (h * w,), 0 to count - 1, the one that is elected for each of `cells` (N,)."""
    if count == 1:
        return numbers[cells]
    votes = torch.zeros(len(cells), count, device=cells.device)
    votes.scatter_(1, numbers[cells][:, None], own[:, None])
    result = torch.empty_like(cells)
    places = torch.arange(len(cells), device=cells.device)
    left = sum(ring.most for ring in RINGS)
    for ring in RINGS:
        left -= ring.most
        for each in around.ring(cells, ring):
            votes.scatter_add_(1, numbers[each.index][:, None], each.weight[:, None])
        most, elected = votes.topk(2, dim=1)
        result[places] = elected[:, 0]
        unsure = (most[:, 1] + left > most[:, 0]).nonzero()[:, 0]
        cells, votes, places = cells[unsure], votes[unsure], places[unsure]
    return result


def _sum_alike_torch(
    values: Tensor, cells: Tensor, mine: Tensor, looks: Tensor, known: Tensor, offsets: Tensor, *motion: float
) -> Tensor:
    flat = values.flatten(1)
    sums = flat.new_zeros(len(flat) + 1, len(cells))
    for ring in RINGS:
        for each in Neighbourhood(looks, known).ring(cells, ring, mine):
            sums[:-1] += each.weight * flat[:, each.index]
            sums[-1] += each.weight
    return sums


def _sum_alike_fake(values: Tensor, cells: Tensor, *rest: object) -> Tensor:
    return values.new_empty(values.shape[0] + 1, cells.shape[0])


def _elect_fake(labels: Tensor, cells: Tensor, *rest: object) -> Tensor:
    return labels.new_empty(cells.shape)


def _trials() -> list[tuple[Any, ...]]:
    """Two things that move differently, before a ground of a third colour; some cells have the label of another."""
    y, x = torch.meshgrid(torch.arange(24), torch.arange(40), indexing="ij")
    truth = ((x > 8) & (x < 20) & (y > 5)).int() + 2 * ((x > 25) & (y < 17)).int()
    labels = torch.where((x + 3 * y) % 7 == 0, (truth + 1) % 3, truth) * 1000
    around = neighbourhood(
        truth * torch.tensor([5.0, -3.0])[:, None, None], truth * 60.0 + torch.zeros(3, 1, 1), truth * 0.2 + 0.5
    )
    cells = torch.arange(0, labels.numel(), 3)
    return [(labels, cells, torch.full(cells.shape, 0.4), around.looks, around.known, _OFFSETS, *MOTION)]


def _sum_trials() -> list[tuple[Any, ...]]:
    ((labels, cells, _, looks, *rest),) = _trials()
    values = torch.stack((labels / 1000, labels % 7)).float()
    return [(values, cells, looks[cells.flip(0)], looks, *rest)]


define(
    "elect(Tensor labels, Tensor cells, Tensor own, Tensor looks, Tensor known, Tensor offsets, float motion, "
    "float share) -> Tensor",
    _elect_torch,
    _elect_fake,
    trials=_trials,
)
define(
    "sum_alike(Tensor values, Tensor cells, Tensor mine, Tensor looks, Tensor known, Tensor offsets, float motion, "
    "float share) -> Tensor",
    _sum_alike_torch,
    _sum_alike_fake,
    trials=_sum_trials,
)
