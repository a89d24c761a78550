"""Cells around a cell that look and move like it, near and far: those that can say what it belongs to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from flowcli.carry.evidence import Evidence

RADII = (1, 2, 4, 8, 16, 32, 64)
"""In cells, at which neighbours are looked for."""
COLOUR = 20.0
"""Grey levels by which pixels of one thing differ."""
MOTION = 1.0, 0.1
"""Cells by which their motion differs, and the share of its length that is added to them."""


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


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Of each of N cells one neighbour, in one direction and at one distance."""

    index: Tensor
    """(N,) int64: row * width + column."""
    weight: Tensor
    """(N,) float32: how alike they are, how near, and how well the neighbour is known."""


class Neighbourhood:
    """Finds the neighbours of cells that are alike: those with nearly the same motion and colour."""

    def __init__(self, evidence: Evidence) -> None:
        self._height, self._width = evidence.trust.shape
        # One row for each cell: what is compared of it lies together.
        self._looks = comparable(evidence.flow, evidence.look.small).flatten(1).T.contiguous()
        self._known = evidence.trust.flatten()

    def ring(self, cells: Tensor, ring: Ring, mine: Tensor | None = None) -> Iterator[Neighbours]:
        """In each direction the neighbours of `cells` (N,), indices row * width + column; none weighs over 1/radius.

        mine: (N, 5), as from `comparable`, what they should be alike; None: the cells themselves.
        """
        row, column = cells // self._width, cells % self._width
        mine = self._looks[cells] if mine is None else mine
        motion = 0.5 / (MOTION[0] + MOTION[1] * mine[:, :2].norm(dim=1)) ** 2
        scale = torch.stack((motion, motion, *(torch.ones_like(motion),) * 3), dim=1)
        for x, y in ring.offsets:
            there_x, there_y = column + x, row + y
            inside = (there_x >= 0) & (there_x < self._width) & (there_y >= 0) & (there_y < self._height)
            index = torch.where(inside, cells + (y * self._width + x), 0)
            unlike = (self._looks[index] - mine).square_().mul_(scale).sum(1)
            weight = torch.exp(-unlike).mul_(self._known[index]).mul_(inside).div_(ring.radius)
            yield Neighbours(index, weight)


def comparable(motion: Tensor, colour: Tensor) -> Tensor:
    """(5, ...): what is compared of cells, of their motion (2, ...) in cells and colour (3, ...) in grey levels."""
    return torch.cat((motion, colour * (1 / (math.sqrt(6) * COLOUR))))
