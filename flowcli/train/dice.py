"""Random numbers of one scene."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Dice:
    """A seeded source of random numbers, of the few kinds that scenes are drawn from."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Numbers between the two, each as likely."""
        return torch.rand(shape, generator=self.generator) * (high - low) + low

    def number(self, low: float, high: float) -> float:
        """One such number."""
        return float(self.uniform(low, high))

    def scale(self, low: float, high: float) -> float:
        """A number between the two whose logarithm is uniform."""
        return math.exp(self.number(math.log(low), math.log(high)))

    def normal(self, deviation: float, *shape: int) -> Tensor:
        """Normal numbers about zero."""
        return torch.randn(shape, generator=self.generator) * deviation

    def chance(self, probability: float) -> bool:
        """Whether what has that probability happens."""
        return bool(torch.rand((), generator=self.generator) < probability)

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high` - 1."""
        return int(torch.randint(low, high, (), generator=self.generator))

    def vector(self, median: float, spread: float, most: float) -> Tensor:
        """A vector of random direction whose length is log-normal: heavy tail, many small ones."""
        length = min(median * math.exp(spread * float(self.normal(1.0))), most)
        angle = float(self.uniform(0, 2 * math.pi))
        return torch.tensor([length * math.cos(angle), length * math.sin(angle)])
