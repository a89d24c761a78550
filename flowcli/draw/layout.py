"""What is drawn of a pair: a frame, its flow and that of another method, next to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from flowcli.draw.legend import GROUND, Legend, letters_of, side_of
from flowcli.draw.styles import open_drawing
from flowcli.pictures import draw_text, text_width
from flowcli.types import FlowField, FlowPair, Style


class Layout:
    """Draws the pairs of one video, in order.

    style, darken, dim: as for `open_drawing`; "side-by-side" is the frame on the left and the flow, in the style
    `beside`, on the right. versus: the names of two methods whose flow is drawn next to each other, with the names
    below, the second one that of `pair.versus`; empty for one flow. legend: draw a legend into the last picture.
    """

    def __init__(
        self, style: Style, *, beside: Style, versus: Sequence[str], legend: bool, darken: bool, dim: float
    ) -> None:
        self._frame = style == "side-by-side"
        self._names = tuple(versus)
        drawn = beside if self._frame else style
        self._drawings = [open_drawing(drawn, darken=darken, dim=dim) for _ in self._names or ("",)]
        self._legend = Legend(self._drawings[-1].symbol) if legend else None

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the pictures, for frames of this size."""
        below = _strip_height(height, width) if self._names else 0
        return height + below, width * (self._frame + len(self._drawings))

    @property
    def fade(self) -> Callable[[FlowField, float], FlowField]:
        """As that of the Drawing."""
        return self._drawings[0].fade

    def draw(self, pair: FlowPair, scale: float) -> np.ndarray:
        """(H, W, 3) uint8 RGB. Raises ValueError without flow of the second method that is named."""
        pairs = [pair] if not self._names else [pair, *([] if pair.versus is None else [pair.versus])]
        parts = [each.draw(flow, scale) for each, flow in zip(self._drawings, pairs, strict=True)]
        if self._legend is not None:
            parts[-1] = self._legend.put(parts[-1], pairs[-1].forward, scale)
        if self._frame:
            parts = [pair.first.image, *parts]
        if self._names:
            names = ["", *self._names][-len(parts) :]
            parts = [_named(part, name) for part, name in zip(parts, names, strict=True)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _named(image: np.ndarray, name: str) -> np.ndarray:
    """The picture with a name below it."""
    height, width = image.shape[:2]
    letters = letters_of(side_of(height, width))
    strip = np.full((_strip_height(height, width), width, 3), GROUND, np.uint8)
    left = max(0, (width - text_width(name, letters)) // 2)
    return np.concatenate((image, draw_text(strip, name, left, len(strip) - letters // 2 - 1, letters)))


def _strip_height(height: int, width: int) -> int:
    return 2 * letters_of(side_of(height, width)) + 2
