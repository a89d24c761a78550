"""A moving average of a network's weights: what is validated and shipped."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)

KEEP = 0.999
"""Share of the average that a step leaves; less in the first steps."""


class Average(Generic[Network]):
    """The exponential moving average of a model's weights, in a model of its own that is set to evaluation."""

    def __init__(self, model: Network) -> None:
        self.model = copy.deepcopy(model).eval()

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps."""
        keep = min(KEEP, step / (step + 10))
        for mine, theirs in zip(self.model.parameters(), model.parameters(), strict=True):
            mine.lerp_(theirs, 1 - keep)
