"""Tracked points drawn over the frames of a video, each in a colour of its own."""

from __future__ import annotations

import colorsys
import math
from collections import deque

import numpy as np

from flowcli.pictures import draw_circles, draw_trails

LENGTH = 25
"""Frames that a trail reaches back."""
_TURN = (math.sqrt(5) - 1) / 2
"""Of the circle of hues, from each point to the next: however many there are, their hues lie apart."""


class PointTrails:
    """Draws N points, frame by frame: a dot and the way there, or a ring where a point is hidden."""

    def __init__(self, count: int) -> None:
        hues = [colorsys.hsv_to_rgb(number * _TURN % 1, 0.8, 1) for number in range(count)]
        self._colours = np.rint(np.array(hues).reshape(-1, 3) * 255).astype(np.uint8)
        self._nowhere = np.full((count, 2), np.nan)
        self.forget()

    def forget(self) -> None:
        """Trails begin anew, as after a cut."""
        self._ways = deque([self._nowhere] * LENGTH, maxlen=LENGTH)

    def draw(self, image: np.ndarray, place: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """A copy of the next frame, uint8 RGB, with the points on it.

        place: (N, 2) x, y in pixels, NaN for points that are not known; seen: (N,) bool.
        """
        self._ways.append(np.where(seen[:, None], place, self._nowhere))
        thickness = max(1.5, math.sqrt(image.shape[0] * image.shape[1]) / 280)
        colours = np.broadcast_to(self._colours, (LENGTH - 1, *self._colours.shape))
        drawn = draw_trails(image, np.array(self._ways), colours, thickness)
        # A trail has its dot from the second frame on.
        near = ((place > -1) & (place < (image.shape[1], image.shape[0]))).all(axis=1)
        for shown, filled in ((near & seen, True), (near & ~seen, False)):
            drawn = draw_circles(drawn, place[shown], self._colours[shown], 1.5 * thickness, filled=filled)
        return drawn
