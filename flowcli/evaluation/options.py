"""What is measured of carried masks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MaskOptions:
    """Which masks are given, and what counts."""

    interval: int = 10
    """Every how many frames a mask is given, for masks carried from both sides."""
    ignore: int | None = None
    """A label of pixels that do not count."""
    refine_edges: bool = False
    """As for `propagate`."""
