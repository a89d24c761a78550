"""Effects, which turn pairs into pictures: FlowPair -> Frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from flowcli import geometry
from flowcli.draw.floor import NoiseFloor
from flowcli.draw.layout import Layout
from flowcli.draw.occlusion import occluded, occlusion_mask
from flowcli.draw.scale import RunningScale
from flowcli.geometry import backward_warp
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
    legend, style, dim, beside, versus: as for Layout. floor: the speed in pixels below which what is drawn fades
    (`faded`, `without_slow`), 0 for none. None: it follows the noise of the video (NoiseFloor).
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
        floor: float | None = None,
        beside: Style = "wheel",
        versus: Sequence[str] = (),
    ) -> None:
        self._fixed = scale
        self._running = RunningScale(percentile)
        self._floor = floor
        self._noise = NoiseFloor()
        self._layout = Layout(style, beside=beside, versus=versus, legend=legend, darken=scale is not None, dim=dim)

    @property
    def follows(self) -> bool:
        """Whether the scale follows the video."""
        return self._fixed is None

    @property
    def scale_range(self) -> tuple[float, float]:
        """The lowest and highest scale used so far, in pixels. Raises ValueError before the first frame."""
        return self._running.range if self._fixed is None else (self._fixed, self._fixed)

    def info(self, source: StreamInfo) -> StreamInfo:
        height, width = self._layout.size(source.height, source.width)
        return replace(_pictures(source), height=height, width=width)

    def __call__(self, pair: FlowPair) -> Frame:
        self.foresee(pair)
        return self.draw(pair)

    def foresee(self, pair: FlowPair) -> None:
        """Notes how fast the pair is."""
        if self._fixed is None:
            known = not pair.repeats
            self._running.note(pair.forward.uv if known else None, pair.forward.valid, begins=pair.at.cut)

    def draw(self, pair: FlowPair) -> Frame:
        """The picture of the first pair that is noted and not drawn yet. Raises IndexError if none is noted."""
        scale = self._running.take() if self._fixed is None else self._fixed
        return _frame(pair, self._layout.draw(self._above_floor(pair), scale))

    def _above_floor(self, pair: FlowPair) -> FlowPair:
        floor = self._noise.update(pair) if self._floor is None else self._floor
        return self._faded(pair, floor)

    def _faded(self, pair: FlowPair, floor: float) -> FlowPair:
        fade = self._layout.fade
        return replace(
            pair,
            forward=fade(pair.forward, floor),
            backward=pair.backward and fade(pair.backward, floor),
            versus=pair.versus and self._faded(pair.versus, floor),
        )


class Warp:
    """The second frame warped onto the first by the forward flow, in 8 or 16 bits as the frame has.

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
        pixels = pair.second.image
        second = torch.tensor(pixels, device=forward.device).float().permute(2, 0, 1)[None]
        warped, inside = backward_warp(second, forward, margin=0.5)
        # int32: of 16 bits without a sign torch can do little.
        image = warped.round_().to(torch.uint8 if pixels.dtype == np.uint8 else torch.int32)
        if self._holes != "keep":
            hole = ~inside if pair.backward is None else occluded(pair)
            if self._holes == "black":
                image = image.masked_fill_(hole, 0)
            else:
                image = torch.cat((image, (~hole).to(image.dtype) * np.iinfo(pixels.dtype).max), dim=1)
        return _frame(pair, image[0].permute(1, 2, 0).contiguous().cpu().numpy().astype(pixels.dtype, copy=False))


@dataclass(frozen=True)
class Mask:
    """A grey picture for the first frame, made from the flow both ways. Raises ValueError without backward flow.

    measure: returns (1, 1, H, W), where 1 is white, for a pair with flow both ways.
    """

    measure: Callable[[FlowPair], Tensor]

    def info(self, source: StreamInfo) -> StreamInfo:
        return _pictures(source)

    def __call__(self, pair: FlowPair) -> Frame:
        part = self.measure(pair)
        return _frame(pair, (part[0, 0] * 255).round_().to(torch.uint8).cpu().numpy())


occlusion = Mask(lambda pair: occlusion_mask(pair).float())
"""White where a pixel of the first frame is hidden in the second or leaves it (`occlusion_mask`), otherwise black."""

confidence = Mask(lambda pair: geometry.confidence(pair.forward.known[None], pair.reversed().forward.known[None]))
"""White where forward and backward flow agree, darker where they do less, black where a pixel leaves the frame."""


def _pictures(source: StreamInfo, *, alpha: bool = False) -> StreamInfo:
    """The same for pictures that an effect makes: of 8 bits, whatever the frames have."""
    return replace(source, alpha=alpha, bits=8)


def _frame(pair: FlowPair, image: np.ndarray) -> Frame:
    return Frame(image, pair.at.index, pair.at.time, pair.at.name)
