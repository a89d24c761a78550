"""What networks that make frames are trained on: two frames, and the true ones at some times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

VALIDATION_SEED = 20_000_003
"""Of scenes that no training seed reaches: seeds are below 10,000."""
VALIDATION_SCENES = 8


@dataclass(frozen=True)
class Clips:
    """A batch of clips: first, second (B, 3, h, w), and frames (B, 3, H, W) at `times`, float32 RGB in [0, 1]."""

    first: Tensor
    second: Tensor
    times: tuple[float, ...]
    frames: list[Tensor]
    flows: tuple[Tensor, ...] = ()
    """From the first to the second and back, (B, 2, h, w) pixels, for networks that need them."""


class Recipe(Protocol):
    """How one network is trained."""

    autocast: bool
    """Whether convolutions are computed in bfloat16."""

    def batches(self, start: int) -> Iterator[Clips]:
        """Batches number `start`, `start` + 1, ... without end, each a function of the run's seed and its number."""
        ...

    def unseen(self) -> Sequence[Clips]:
        """Clips for validation, which no run is trained on."""
        ...

    def rate(self, step: int) -> float:
        """The learning rate at this step, as a share of the highest."""
        ...
