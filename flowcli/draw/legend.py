"""The legend of drawn flow: a small panel in a corner of the picture."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from flowcli.pictures import draw_text, resized, text_width
from flowcli.types import FlowField

Symbol = Callable[[float], np.ndarray]
"""Draws what flow as fast as the scale looks like, (h, w, 3) uint8 RGB on GROUND, for pictures of this side."""
GROUND = 24
"""Grey level of the panel, below white letters."""
_CORNERS = ((False, False), (False, True), (True, False), (True, True))
"""Whether the panel is at the right, and at the top; the default first."""


class Legend:
    """Puts the legend into pictures of one video.

    It stays in the corner that moved least and had least detail in the first picture: the lower left one if several do.
    symbol: of the style.
    """

    def __init__(self, symbol: Symbol) -> None:
        self._symbol = symbol
        self._corner: tuple[bool, bool] | None = None

    def put(self, image: np.ndarray, flow: FlowField, scale: float) -> np.ndarray:
        """A copy of the picture (H, W, 3) uint8 RGB of this flow with the legend."""
        drawn = _panel(self._symbol, scale, *image.shape[:2])
        if self._corner is None:
            # In hundredths, so that noise does not choose.
            activity = _activity(image, flow, scale)
            self._corner = min(_CORNERS, key=lambda corner: round(float(_part(activity, drawn, corner).mean()), 2))
        image = image.copy()
        _part(image, drawn, self._corner)[:] = drawn
        return image


def _panel(symbol: Symbol, scale: float, height: int, width: int) -> np.ndarray:
    """(h, w, 3) uint8 RGB: the symbol and the scale, at most as wide as a picture of this size and half as tall."""
    side = side_of(height, width)
    picture, letters = symbol(side), letters_of(side)
    lines = (f"{scale:.3g} px" if scale < 999.5 else f"{scale:.0f} px", "per frame")
    gap, leading = letters // 2 + 1, round(1.7 * letters)
    tall, wide = picture.shape[:2]
    text = max(text_width(line, letters) for line in lines)
    rows = max(tall, leading + letters) + 2 * gap
    drawn = np.full((rows, wide + text + 3 * gap, 3), GROUND, np.uint8)
    top = (rows - tall) // 2
    drawn[top : top + tall, gap : gap + wide] = picture
    base = (rows - leading + letters) // 2
    for number, line in enumerate(lines):
        drawn = draw_text(drawn, line, 2 * gap + wide, base + number * leading, letters)
    shrink = min(1.0, width / drawn.shape[1], height / 2 / rows)
    return resized(drawn, *(max(1, math.floor(shrink * size)) for size in drawn.shape[:2]))


def side_of(height: int, width: int) -> float:
    """The side of a square as large as the picture, which sizes of what is drawn follow."""
    return math.sqrt(height * width)


def letters_of(side: float) -> int:
    """The height of capital letters on pictures of this side, pixels."""
    return max(9, round(side / 40))


def _activity(image: np.ndarray, flow: FlowField, scale: float) -> np.ndarray:
    """(H, W): how fast a pixel moves, at most 1, and how much it differs from its neighbours below and to the right."""
    speed = (flow.known.norm(dim=0) / scale).nan_to_num(posinf=0).clamp(max=1).cpu().numpy()
    grey = image.mean(axis=2, dtype=np.float32) / 255
    down, right = (np.abs(np.diff(grey, axis=axis, append=grey.take([-1], axis))) for axis in (0, 1))
    activity: np.ndarray = speed + down + right
    return activity


def _part(image: np.ndarray, drawn: np.ndarray, corner: tuple[bool, bool]) -> np.ndarray:
    """A view of the part of the picture that the panel `drawn` covers in a corner."""
    right, top = corner
    tall, wide = drawn.shape[:2]
    part = image[:tall] if top else image[len(image) - tall :]
    return part[:, part.shape[1] - wide :] if right else part[:, :wide]
