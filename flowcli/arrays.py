"""Flow between two pictures that are at hand: NumPy arrays, torch tensors, PIL pictures."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from flowcli.draw import color, scale
from flowcli.given import as_frames
from flowcli.options import EngineOptions
from flowcli.run import find_weights, open_engine
from flowcli.types import FlowField, Precision

if TYPE_CHECKING:
    from flowcli.engine.engine import Engine


def flow(
    first: Any,
    second: Any,
    *,
    model: str = "rpwc",
    refine: int | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    max_side: int | None = None,
    variational: bool = False,
    tile: int | None = None,
) -> np.ndarray:
    """(H, W, 2) float32: the flow from `first` to `second`, pixels to the right and pixels down.

    first, second: pictures of one size, RGB or grey. NumPy arrays are (H, W, 3), (H, W, 1) or (H, W); torch tensors
    (3, H, W), (1, H, W) or (H, W); PIL pictures are converted to RGB. Numbers are uint8, uint16, or floats from 0 to 1.
    The other options are those of `estimate`. A network is loaded once, and kept for the next call with its options.
    Raises ValueError for other shapes and numbers, and FlowcliError: InputError for pictures of two sizes,
    WeightsError, DeviceError.
    """
    options = EngineOptions(
        model, refine, device, precision, max_side, variational=variational, tile=tile, batch=1, graphs=False
    )
    (pair,) = _engine(options).pairs(as_frames((first, second)))
    return np.ascontiguousarray(pair.forward.numpy().transpose(1, 2, 0))


@lru_cache(maxsize=2)
def _engine(options: EngineOptions) -> Engine:
    return open_engine(find_weights(options), options)


def flow_to_rgb(flow: Any, max_flow: float | None = None) -> np.ndarray:
    """(H, W, 3) uint8 RGB: the flow in the colours of Middlebury's wheel; white is no motion, black is unknown.

    flow: (H, W, 2) or (2, H, W), an array or a tensor of pixels, NaN where it is unknown; or a FlowField. max_flow: the
    speed in pixels that has full colour, above which it gets darker; without it the 99th percentile of the speeds, at
    least 1. Raises ValueError for other shapes, for one that can be read either way, and for max_flow of 0 or less.
    Source: as `flowcli.draw.color.wheel`.
    """
    if max_flow is not None and not max_flow > 0:
        raise ValueError(f"max_flow is {max_flow}, must be above 0")
    uv = flow.known.float() if isinstance(flow, FlowField) else _planes(torch.as_tensor(flow).float())
    return color.flow_to_rgb(uv, max_flow or scale.RunningScale().update(uv)).cpu().numpy()


def _planes(flow: torch.Tensor) -> torch.Tensor:
    """(2, H, W) of a flow whose two planes are its first or its last axis."""
    shape = tuple(flow.shape)
    if len(shape) != 3 or (shape[0] == 2) == (shape[2] == 2):
        raise ValueError(f"flow has the shape {shape}, must have (H, W, 2) or (2, H, W)")
    return flow if shape[0] == 2 else flow.permute(2, 0, 1)
