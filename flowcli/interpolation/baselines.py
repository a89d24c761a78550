"""Frames between two frames without their motion: what others are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from flowcli.pictures import resized
from flowcli.types import FlowPair, Frame


class Nearest:
    """Repeats the nearer frame, half way the first."""

    flow = False
    resizes = False

    def between(
        self, first: Frame, second: Frame, flow: FlowPair | None, places: Sequence[Fraction], height: int, width: int
    ) -> Iterator[np.ndarray]:
        for place in places:
            yield resized((first if place <= Fraction(1, 2) else second).image, height, width)


class Blend:
    """Mixes both frames, the nearer one more."""

    flow = False
    resizes = False

    def between(
        self, first: Frame, second: Frame, flow: FlowPair | None, places: Sequence[Fraction], height: int, width: int
    ) -> Iterator[np.ndarray]:
        for place in places:
            mixed = first.image + np.float32(place) * (second.image.astype(np.float32) - first.image)
            yield resized(np.rint(mixed).astype(first.image.dtype), height, width)
