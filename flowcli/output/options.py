"""The user's options for outputs."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from flowcli.targets import pair_kinds
from flowcli.types import Holes, Layout, Style


@dataclass(frozen=True)
class FrameOptions:
    """Targets and storage of frames; `kinds` is empty or as long as `targets`."""

    targets: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    fps: Fraction | None = None
    crf: int | None = None
    overwrite: bool = False

    @property
    def named(self) -> list[tuple[str, str]]:
        """Each target with its kind, or "". Raises UsageError if their numbers differ."""
        return pair_kinds(self.targets, self.kinds)


@dataclass(frozen=True)
class OutputOptions(FrameOptions):
    """The same for flow, with options for drawing it."""

    max_flow: float | Literal["clip"] | None = None
    """Speed in pixels at which colours are full; None follows the video; "clip": `draw.scale.clip_scale`."""
    look_ahead: bool = True
    """Whether colours that follow the video wait for what comes (`draw.ahead`)."""
    hold: bool = True
    """Whether pictures hold the flow before where a frame repeats another one (`draw.hold`)."""
    legend: bool = False
    holes: Holes = "black"
    bound: float | None = None
    """Speed in pixels at which flow is clipped in formats that need it; None for the default of each."""
    exr: Layout = "nuke"
    occlusion: tuple[str, ...] = ()
    """More targets, with the kind `occlusion`; `confidence` likewise."""
    confidence: tuple[str, ...] = ()
    style: Style | None = None
    """How `color` is drawn, and what `side-by-side` shows beside the frame; None for the wheel."""
    methods: tuple[str, ...] = ()
    """The names of two methods whose flow is drawn next to each other; empty for one flow."""
    percentile: float | None = None
    """Percentile of the speeds that the scale follows if `max_flow` is None; None for the default."""
    dim: float = 0.4
    """How much frames are darkened and desaturated below what is drawn on them, 0 to 1."""

    @property
    def named(self) -> list[tuple[str, str]]:
        masks = {"occlusion": self.occlusion, "confidence": self.confidence}
        return [*super().named, *((target, kind) for kind, targets in masks.items() for target in targets)]

    floor: float | None = None
    """Speed in pixels below which what is drawn fades, 0 for none; None follows the noise of the video."""
