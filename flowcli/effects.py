"""Pictures made from a pair and its flow: FlowPair -> Frame."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from flowcli.color import RunningScale, flow_to_rgb, legend
from flowcli.geometry import backward_warp, consistency
from flowcli.pictures import draw_text
from flowcli.types import FlowField, FlowPair, Frame

Holes = Literal["black", "keep", "transparent"]


class Color:
    """The forward flow as colours; unknown pixels are black.

    scale: the length in pixels that gets full colour, and above which colours are darker; None for one that follows the
    video (RunningScale), above which they stay full, since it may lag behind. legend: draw the wheel and its scale into
    the lower left corner. One object serves one video, since the scale remembers.
    """

    def __init__(self, scale: float | None = None, legend: bool = False) -> None:
        self._fixed = scale
        self._running = RunningScale()
        self._legend = legend

    @property
    def scale_range(self) -> tuple[float, float]:
        """The lowest and highest scale used so far, in pixels. Raises ValueError before the first frame."""
        return self._running.range if self._fixed is None else (self._fixed, self._fixed)

    def __call__(self, pair: FlowPair) -> Frame:
        flow = pair.forward
        scale = self._running.update(flow.uv, flow.valid) if self._fixed is None else self._fixed
        image = flow_to_rgb(flow.uv, scale, flow.valid, darken=self._fixed is not None).cpu().numpy()
        return _frame(pair, _draw_legend(image, scale) if self._legend else image)


class Warp:
    """The second frame brought onto the first by the forward flow.

    Holes are pixels whose flow leaves the frame (by more than half a pixel) or is unknown and, if the pair has backward
    flow, those that are occluded in the second frame. holes: "black"; "keep" what was found there, a ghost;
    "transparent" for RGBA with alpha 0 there.
    """

    def __init__(self, holes: Holes = "black") -> None:
        self._holes = holes

    def __call__(self, pair: FlowPair) -> Frame:
        forward = _known(pair.forward)
        second = torch.tensor(pair.second.image, device=forward.device).permute(2, 0, 1)[None]
        warped, inside = backward_warp(second.float(), forward, margin=0.5)
        image = warped.round_().to(torch.uint8)
        if self._holes != "keep":
            hole = ~inside if pair.backward is None else consistency(forward, _known(pair.backward))
            if self._holes == "black":
                image = image.masked_fill_(hole, 0)
            else:
                image = torch.cat((image, (~hole).to(torch.uint8) * 255), dim=1)
        return _frame(pair, image[0].permute(1, 2, 0).contiguous().cpu().numpy())


def _frame(pair: FlowPair, image: np.ndarray) -> Frame:
    earlier = pair.earlier
    return Frame(image, earlier.index, earlier.time, earlier.name)


def _known(flow: FlowField) -> Tensor:
    """(1, 2, H, W): the flow, NaN where it is unknown."""
    return (flow.uv if flow.valid is None else flow.uv.where(flow.valid, torch.nan))[None]


def _draw_legend(image: np.ndarray, scale: float) -> np.ndarray:
    """A copy of the picture with the wheel and the scale in its lower left corner."""
    size = min(image.shape[0], image.shape[1], max(32, image.shape[0] // 6))
    disc = legend(size).numpy()
    image = image.copy()
    corner = image[-size:, :size]
    corner[disc[..., 3] > 0] = disc[..., :3][disc[..., 3] > 0]
    return draw_text(image, f"{scale:.3g} px", size + 4, image.shape[0] - 4, height=max(9, size // 5))
