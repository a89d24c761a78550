"""What a training run is. `flowcli train` reads its defaults here, so nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True)
class TrainOptions:
    """What a run is; kept in its checkpoint, so that resuming takes the same course."""

    network: str = "rpwc"
    textures: str | None = None
    """Folder of photos; None: procedural textures only."""
    steps: int = 20_000
    """Length of the schedule."""
    batch: int = 8
    """Pairs in a step."""
    crop: int = 256
    """Side of a training picture, pixels; a multiple of the network's stride."""
    rate: float = 8e-4
    """Highest learning rate of the one-cycle schedule."""
    decay: float = 1e-4
    """Weight decay."""
    seed: int = 7
    """For the scenes and their order."""
    easy: int = 100
    """First steps, on pictures that are shifted as a whole: what costs mean is learnt there."""
    scenes: int = 10_000
    """Scenes kept in the cache of a CPU run."""
    precision: Precision = "bf16"
    """For computing the network; the weights and the loss are float32."""
