"""What a training run is. `flowcli train` reads its defaults here, so nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

KINDS = ("mixed", "walls", "whips", "depth", "bodies", "things", "stills")
"""The kinds of training scenes."""
Precision = Literal["bf16", "fp32"]
Loss = Literal["sum", "mean", "log"]


@dataclass(frozen=True)
class TrainOptions:
    """What a run is; kept in its checkpoint, so that resuming takes the same course."""

    network: str = "rpwc"
    textures: str | None = None
    """Folder of photos; None: procedural textures only."""
    steps: int = 20_000
    """Length of the schedule."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the network, over its defaults."""
    vary: bool = False
    """Whether the number of iterations is drawn anew for each step."""
    batch: int = 8
    """Pairs in a step."""
    crop: tuple[int, int] = (256, 256)
    """Height and width of a training picture, pixels; multiples of the network's stride."""
    rate: float = 8e-4
    """Highest learning rate."""
    warm: float = 0.05
    """Share of the steps over which the rate rises to it."""
    hold: float = 0.0
    """Share of the steps until which the rate stays at its highest; then it falls to zero."""
    decay: float = 1e-4
    """Weight decay."""
    seed: int = 7
    """For the scenes and their order."""
    easy: int = 100
    """First steps, on pictures that are shifted as a whole: what costs mean is learnt there."""
    scenes: int = 10_000
    """Scenes kept in the cache of a CPU run."""
    kinds: tuple[str, ...] = KINDS
    """Kinds of scenes, drawn in proportion to their shares."""
    precision: Precision = "bf16"
    """The precision in which the network is computed; weights and loss are float32."""


FRAME_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "synthesis": {"steps": 20_000, "batch": 8, "crop": 192, "rate": 4e-4, "loss": "log"}
}
"""What FrameTrainOptions are for networks of our own."""


@dataclass(frozen=True)
class FrameTrainOptions:
    """What a run for a network that makes frames is. The defaults are those of VideoINR's authors; see also `of`."""

    network: str = "videoinr"
    textures: str | None = None
    """Folder of photos; None: procedural textures only."""
    steps: int = 600_000
    batch: int = 24
    crop: int = 128
    """Side of the frames that are made, pixels, at FACTOR times."""
    rate: float = 1e-4
    """Highest learning rate."""
    seed: int = 7
    loss: Loss = "sum"
    """Charbonnier's, over pixels: "sum", as the authors have it, or "mean", as they would have it now; or "log": the
    logarithm of each frame's mean squared error, for which frames count alike, whether they are easy or not."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the network."""
    videos: str | None = None
    """Folder of videos, whose frames are trained on as well; for the network "synthesis"."""
    scenes: int = 2_000
    """Scenes that are rendered and kept; for the same network, others see no scene twice."""

    @classmethod
    def of(cls, network: str, **given: Any) -> FrameTrainOptions:
        """The options of a network, over its own defaults."""
        return cls(**{"network": network, **FRAME_DEFAULTS.get(network, {}), **given})
