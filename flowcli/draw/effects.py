"""Effects, which turn pairs into pictures: FlowPair -> Frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from flowcli import geometry
from flowcli.draw.scale import RunningScale
from flowcli.draw.styles import open_drawing
from flowcli.geometry import backward_warp, consistency
from flowcli.types import FlowPair, Frame, Holes, StreamInfo, Style


class Effect(Protocol):
    """Turns a pair into a picture."""

    def info(self, source: StreamInfo) -> StreamInfo:
        """The StreamInfo of the pictures, for pairs with the frames of `source`."""

    def __call__(self, pair: FlowPair) -> Frame: ...


class Color:
    """The forward flow as a picture. Use one object per video, since the scale and trails depend on earlier frames.

    scale: the speed in pixels with full colour; wheel colours are darker above it. None: the scale follows `percentile`
    of the speeds in the video (RunningScale), anew in each shot, and colours stay full above it, since it may lag
    behind. It lags less if pairs pass through `foresee`, all in order, before they are drawn, in the same order.
    legend: draw a legend into the lower left corner. style, dim: as for `open_drawing`.
    """

    percentile = 99.0
    """The default."""

    def __init__(
        self,
        scale: float | None = None,
        legend: bool = False,
        style: Style = "wheel",
        *,
        percentile: float = percentile,
        dim: float = 0.4,
    ) -> None:
        self._fixed = scale
        self._running = RunningScale(percentile)
        self._legend = legend
        self._drawing = open_drawing(style, darken=scale is not None, dim=dim)

    @property
    def follows(self) -> bool:
        """Whether the scale follows the video."""
        return self._fixed is None

    @property
    def scale_range(self) -> tuple[float, float]:
        """The lowest and highest scale used so far, in pixels. Raises ValueError before the first frame."""
        return self._running.range if self._fixed is None else (self._fixed, self._fixed)

    def info(self, source: StreamInfo) -> StreamInfo:
        return _pictures(source, width=self._drawing.across * source.width)

    def __call__(self, pair: FlowPair) -> Frame:
        self.foresee(pair)
        return self.draw(pair)

    def foresee(self, pair: FlowPair) -> None:
        """Notes how fast the pair is."""
        if self._fixed is None:
            self._running.note(pair.forward.uv, pair.forward.valid, begins=pair.at.cut)

    def draw(self, pair: FlowPair) -> Frame:
        """The picture of the first pair that is noted and not drawn yet. Raises IndexError if none is noted."""
        scale = self._running.take() if self._fixed is None else self._fixed
        image = self._drawing.draw(pair, scale)
        return _frame(pair, self._drawing.explain(image, scale) if self._legend else image)


class Warp:
    """The second frame warped onto the first by the forward flow.

    Holes are pixels whose flow is unknown or leaves the frame by more than half a pixel and, if the pair has backward
    flow, pixels that are occluded in the second frame. holes: "black"; "keep", which shows whatever is sampled there;
    "transparent", RGBA with alpha 0 there.
    """

    def __init__(self, holes: Holes = "black") -> None:
        self._holes = holes

    def info(self, source: StreamInfo) -> StreamInfo:
        return _pictures(source, alpha=self._holes == "transparent")

    def __call__(self, pair: FlowPair) -> Frame:
        forward = pair.forward.known[None]
        second = torch.tensor(pair.second.image, device=forward.device).permute(2, 0, 1)[None]
        warped, inside = backward_warp(second.float(), forward, margin=0.5)
        image = warped.round_().to(torch.uint8)
        if self._holes != "keep":
            hole = ~inside if pair.backward is None else consistency(forward, pair.backward.known[None])
            if self._holes == "black":
                image = image.masked_fill_(hole, 0)
            else:
                image = torch.cat((image, (~hole).to(torch.uint8) * 255), dim=1)
        return _frame(pair, image[0].permute(1, 2, 0).contiguous().cpu().numpy())


@dataclass(frozen=True)
class Mask:
    """A grey picture for the first frame, made from the flow both ways. Raises ValueError without backward flow.

    measure: returns (1, 1, H, W), where 1 is white, for forward and backward flow, (1, 2, H, W) each.
    """

    measure: Callable[[Tensor, Tensor], Tensor]

    def info(self, source: StreamInfo) -> StreamInfo:
        return _pictures(source)

    def __call__(self, pair: FlowPair) -> Frame:
        if pair.backward is None:
            raise ValueError("the pair has no backward flow")
        part = self.measure(pair.forward.known[None], pair.backward.known[None])
        return _frame(pair, (part[0, 0] * 255).round_().to(torch.uint8).cpu().numpy())


occlusion = Mask(lambda forward, backward: consistency(forward, backward).float())
"""White where a pixel of the first frame is hidden in the second or leaves it (`consistency`), otherwise black."""

confidence = Mask(geometry.confidence)
"""White where forward and backward flow agree, darker where they do less, below 128 where a pixel is occluded."""


def _pictures(source: StreamInfo, *, width: int | None = None, alpha: bool = False) -> StreamInfo:
    """The same for pictures that an effect makes: of 8 bits, whatever the frames have."""
    return replace(source, width=width or source.width, alpha=alpha, bits=8)


def _frame(pair: FlowPair, image: np.ndarray) -> Frame:
    return Frame(image, pair.at.index, pair.at.time, pair.at.name)
