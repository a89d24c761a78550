"""Pictures and frames that Python code hands over, brought into one form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from flowcli.types import Frame

RATE = Fraction(25)
"""Frames per second of pictures that have no times."""
_SHAPES = "NumPy arrays are (H, W, 3), (H, W, 1) or (H, W), torch tensors (3, H, W), (1, H, W) or (H, W)"


def as_frames(items: Iterable[Any]) -> Iterator[Frame]:
    """Frames as they are, or frames made of pictures, counted from 0 at RATE.

    Frames that were made of an image alone are counted like pictures. Raises ValueError for a picture that `as_picture`
    refuses, and if two neighbours have one number.
    """
    before: Frame | None = None
    for index, item in enumerate(items):
        frame = item if isinstance(item, Frame) else Frame(as_picture(item))
        if not (frame.index or frame.time or frame.name) and index:
            frame = replace(frame, index=index, time=index / RATE)
        if before is not None and before.index == frame.index:
            raise ValueError(f"two frames have the number {frame.index}: count `index` up, or give the pictures alone")
        yield frame
        before = frame


def as_picture(picture: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an array, a tensor or a PIL picture, RGB or grey.

    NumPy arrays are (H, W, 3), (H, W, 1) or (H, W), torch tensors (3, H, W), (1, H, W) or (H, W). Numbers are uint8,
    uint16, or floats from 0 to 1. Raises ValueError for others.
    """
    if _comes_from("PIL", picture):
        picture = picture.convert("RGB")
    elif _comes_from("torch", picture):
        picture = picture.detach().cpu()
        picture = (picture.float() if picture.is_floating_point() else picture).numpy()
        picture = np.moveaxis(picture, 0, -1) if picture.ndim == 3 else picture
    values = np.asarray(picture)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in (1, 3) or not values.size:
        raise ValueError(f"a picture has the shape {values.shape} (channels last): {_SHAPES}")
    return np.ascontiguousarray(np.broadcast_to(_as_bytes(values), (*values.shape[:2], 3)))


def _comes_from(package: str, value: object) -> bool:
    """Whether the class of `value`, or one that it is derived from, is of the package, which need not be installed."""
    return any(each.__module__.partition(".")[0] == package for each in type(value).__mro__)


def _as_bytes(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return np.rint(values / 257).astype(np.uint8)
    if values.dtype.kind != "f":
        raise ValueError(f"a picture is {values.dtype}, must be uint8, uint16 or floats from 0 to 1")
    low, high = float(values.min()), float(values.max())
    # Filters overshoot by a rounding error; 0 to 255 as floats does not pass for it.
    if not (low >= -0.01 and high <= 1.01):
        raise ValueError(f"a picture of floats goes from {low:g} to {high:g}, must lie between 0 and 1")
    scaled: np.ndarray = np.rint(values.clip(0, 1) * 255)
    return scaled.astype(np.uint8)
