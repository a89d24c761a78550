"""What the user asks of outputs."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from flowcli.targets import pair_kinds
from flowcli.types import Holes, Layout, Style


@dataclass(frozen=True)
class FrameOptions:
    """Where frames go, and how they are stored; `kinds` is empty or as long as `targets`."""

    targets: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    fps: Fraction | None = None
    crf: int | None = None
    overwrite: bool = False

    @property
    def named(self) -> list[tuple[str, str]]:
        """Each target, and the kind that is named for it or "". Raises UsageError for kinds that do not match."""
        return pair_kinds(self.targets, self.kinds)


@dataclass(frozen=True)
class OutputOptions(FrameOptions):
    """The same for flow: what is made of it, and how it is drawn and stored."""

    max_flow: float | None = None
    """Magnitude in pixels at which colours are full; None follows the video."""
    legend: bool = False
    holes: Holes = "black"
    bound: float | None = None
    """Pixels at which flow is clipped, where a format has to; None for the usual ones."""
    exr: Layout = "nuke"
    occlusion: tuple[str, ...] = ()
    """Targets of that kind, besides those above; `confidence` likewise."""
    confidence: tuple[str, ...] = ()
    style: Style | None = None
    """How `color` is drawn; None for the wheel."""
    percentile: float | None = None
    """Of the speeds, in percent: where colours are full if the scale follows the video; None for the usual one."""
    dim: float = 0.4
    """How much darker and greyer frames are below what is drawn on them, 0 to 1."""

    @property
    def named(self) -> list[tuple[str, str]]:
        masks = {"occlusion": self.occlusion, "confidence": self.confidence}
        return [*super().named, *((target, kind) for kind, targets in masks.items() for target in targets)]
