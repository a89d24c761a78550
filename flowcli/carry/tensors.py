"""Tensors on a grid of their own, such as features of a network, and how arrays of any kind are carried."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from flowcli.carry.evidence import Evidence
from flowcli.carry.labels import Labels
from flowcli.carry.soft import Soft
from flowcli.errors import InputError
from flowcli.geometry import backward_warp, resize_flow, resize_image
from flowcli.types import Frame

MOST_LABEL = 65535


class Tensors:
    """(C, h, w) float32 on any grid that covers the frame; its cells are areas."""

    def carry(self, value: Tensor, flow: Tensor, evidence: Evidence) -> Tensor:
        return backward_warp(value[None], resize_flow(flow[None], *value.shape[1:]))[0][0]

    def blend(self, one: Tensor, other: Tensor, share: Tensor) -> Tensor:
        return other + (one - other) * resize_image(share[None, None], *one.shape[1:])[0]


class Arrays:
    """Labels (H, W) of int32, mattes (1, H, W) of float32 from 0 to 1, and tensors (C, h, w) of float32."""

    def carry(self, value: Tensor, flow: Tensor, evidence: Evidence) -> Tensor:
        return _kind(value, tuple(flow.shape[1:])).carry(value, flow, evidence)

    def blend(self, one: Tensor, other: Tensor, share: Tensor) -> Tensor:
        return _kind(one, tuple(share.shape)).blend(one, other, share)


def as_value(array: np.ndarray, frame: Frame) -> Tensor:
    """What `Arrays` carries for an array given for a frame: labels for whole numbers, a matte for floats (H, W).

    Floats (C, h, w) are tensors. Raises InputError for another size than the frame's, other shapes and dtypes, and
    labels below 0 or above 65535.
    """
    size = frame.image.shape[:2]
    whole = array.dtype.kind in "biu"
    if (not whole and array.dtype.kind != "f") or array.ndim not in ((2,) if whole else (2, 3)) or not array.size:
        hint = "give whole numbers (H, W), floats (H, W) from 0 to 1, or floats (C, h, w)"
        raise InputError(f"what is given for frame {frame.index} is {array.dtype} {array.shape}", hint)
    if array.ndim == 2 and array.shape != size:
        shape = f"{array.shape[1]}x{array.shape[0]}"
        raise InputError(
            f"what is given for frame {frame.index} is {shape}, but the frame is {size[1]}x{size[0]}",
            "make them the same size",
        )
    if not whole:
        value = torch.from_numpy(array.astype(np.float32))
        return value if array.ndim == 3 else value[None]
    for label in (int(array.min()), int(array.max())):
        if not 0 <= label <= MOST_LABEL:
            raise InputError(f"label {label} in frame {frame.index}", f"labels go from 0 to {MOST_LABEL}")
    return torch.from_numpy(array.astype(np.int32))


def _kind(value: Tensor, size: tuple[int, ...]) -> Labels | Soft | Tensors:
    if not value.is_floating_point():
        return Labels()
    return Soft() if value.shape == (1, *size) else Tensors()
