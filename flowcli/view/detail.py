"""How much of the frames and their flow a page keeps: from everything to a frame now and then."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flowcli.view.coding import RATIO

_LEAST = 96
"""Pixels: a grid of flow is not made smaller than that on its longer side; frames are left out instead."""


@dataclass(frozen=True)
class Detail:
    """What is kept. Each coarser one follows from what the finer one has kept, so that nothing is read twice."""

    step: float = 0.04
    """Pixels between values of flow; the error is half of it."""
    spacing: int = 1
    """Flow is kept at every pixel in so many, across and down."""
    every: int = 1
    """Of so many frames, the first one is kept."""

    @property
    def shrink(self) -> int:
        """Pictures have sides of this fraction: they lose less by shrinking than flow does, and take less room."""
        return max(1, self.spacing // 2)

    @property
    def error(self) -> float:
        """Pixels by which a kept value of flow may be off."""
        return self.step / 2

    def coarser(self, height: int, width: int) -> Detail:
        """The next one that takes less room, for frames of this size."""
        if self.step == Detail.step:
            return replace(self, step=RATIO * self.step)
        if max(height, width) >= 2 * self.spacing * _LEAST:
            return replace(self, spacing=2 * self.spacing)
        return replace(self, every=2 * self.every)
