"""Frames between two frames, moved along the flow between them; nothing in it is learnt.

The flow of both frames is carried to the wanted time (see `flowcli.retiming`). So each time has two guesses of the
motion through every pixel, one from each frame. Both frames are sampled along each guess, so that a pixel is
interpolated once, and a guess counts the more, the better the samples agree. So does the motion a few pixels away, as
in overlapped block motion compensation (Orchard and Sullivan 1994). What only one frame shows comes from it.

The numbers below were chosen on scenes of flowcli's own generator and on frames of videos.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.geometry import blurred, grid, lies_inside
from flowcli.interpolation.pixels import as_image, as_tensor
from flowcli.ops import warp
from flowcli.pictures import resized
from flowcli.retiming import LEAST, carried, trusted
from flowcli.types import FlowPair, Frame

AGREEMENT = 30.0
"""How fast a guess of the motion loses weight, as the samples along it differ, 0 to 1."""
AROUND = ((-8, 0), (8, 0), (0, -8), (0, 8))
"""Where else the motion is taken from, pixels to the right and down."""
NEIGHBOUR = 0.5
"""Weight of a guess that is taken from there."""
STILL = 0.1
"""Weight of the guess that nothing moves, as titles do, and what has no texture."""
DOUBT = 0.2
"""Difference of the samples, 0 to 1, at which half of a pixel is taken from around it."""


class Splat:
    """Moves both frames along the flow."""

    flow = True
    resizes = False

    def between(
        self, first: Frame, second: Frame, flow: FlowPair | None, places: Sequence[Fraction], height: int, width: int
    ) -> Iterator[np.ndarray]:
        """Raises ValueError without flow both ways."""
        if flow is None or flow.backward is None:
            raise ValueError("flow is needed both ways")
        forward, backward = (each.known[None] for each in (flow.forward, flow.backward))
        pictures = [as_tensor(each.image, forward.device) for each in (first, second)]
        pair = _Pair(pictures[0], pictures[1], forward, backward)
        for place in places:
            yield resized(as_image(pair.at(float(place)), first.image.dtype), height, width)


class _Pair:
    """Two pictures (1, 3, H, W) in [0, 1], and the flow (1, 2, H, W) from each to the other."""

    @torch.inference_mode()
    def __init__(self, first: Tensor, second: Tensor, forward: Tensor, backward: Tensor) -> None:
        self._pictures = first, second
        self._flows = forward, backward
        self._trust = trusted(first, second, forward), trusted(second, first, backward)
        self._grid = grid(first.shape[-2], first.shape[-1], first.device)

    @torch.inference_mode()
    def at(self, place: float) -> Tensor:
        """The picture (1, 3, H, W) at this place from the first picture, 0, to the second, 1."""
        shares = 1 - place, place
        arrived = [
            carried(flow, trust, share)
            for flow, trust, share in zip(self._flows, self._trust, reversed(shares), strict=True)
        ]
        covers = [cover + LEAST for _, cover in arrived]
        seen = [share * cover for share, cover in zip(shares, covers, strict=True)]
        # Where one picture alone shows what is there, that they differ says nothing.
        both = 4 * covers[0] * covers[1] / (covers[0] + covers[1]).square()
        made, agreed = _Mean(), _Mean()

        def add(motion: Tensor, weight: Tensor | float) -> Tensor:
            mixed, difference = self._sampled(motion, place, seen)
            difference = both * difference
            agreement = weight * torch.exp(-AGREEMENT * difference)
            made.add(torch.cat((mixed, difference), 1), agreement)
            return agreement

        # From the first picture to the second, whichever the flow was.
        for motion, weight in zip((arrived[0][0], -arrived[1][0]), seen, strict=True):
            agreed.add(motion, add(motion, weight))
        motion = agreed.value
        for across, down in AROUND:
            add(_shifted(motion, across, down), NEIGHBOUR)
        add(torch.zeros_like(motion), STILL)
        picture, difference = made.value.split((3, 1), 1)
        return _calmed(picture, difference)

    def _sampled(self, motion: Tensor, place: float, seen: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Both pictures along the motion through each pixel, mixed, and how they differ there, (1, 1, H, W), 0 to 1."""
        ways = -place * motion, (1 - place) * motion
        one, other = (
            warp(picture[0], way[0], "bicubic")[None] for picture, way in zip(self._pictures, ways, strict=True)
        )
        one_weight, other_weight = (
            weight * lies_inside(self._grid + way, picture.shape[-2], picture.shape[-1], 0.5)
            for weight, way, picture in zip(seen, ways, self._pictures, strict=True)
        )
        # Where neither is inside, both count alike.
        mixed = (one_weight * one + other_weight * other + 1e-6 * (one + other)) / (one_weight + other_weight + 2e-6)
        return mixed, blurred((one - other).abs().mean(1, keepdim=True), 3)


class _Mean:
    """A weighted mean."""

    def __init__(self) -> None:
        self._total: Tensor | float = 0.0
        self._weight: Tensor | float = 0.0

    def add(self, value: Tensor, weight: Tensor) -> None:
        self._total += weight * value
        self._weight += weight

    @property
    def value(self) -> Tensor:
        return torch.as_tensor(self._total / self._weight)


def _calmed(picture: Tensor, difference: Tensor) -> Tensor:
    """The picture, smoother where the two that it is made of differ: detail there is as likely wrong as right."""
    doubt = (blurred(difference, 9) / DOUBT).square()
    return (picture + doubt * blurred(picture, 3)) / (1 + doubt)


def _shifted(motion: Tensor, across: int, down: int) -> Tensor:
    """The motion that many pixels to the right and down, the border repeated."""
    reach = max(abs(across), abs(down))
    height, width = motion.shape[-2:]
    wide = F.pad(motion, (reach,) * 4, mode="replicate")
    return wide[..., reach + down : reach + down + height, reach + across : reach + across + width]
