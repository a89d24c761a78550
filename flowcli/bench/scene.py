"""The clip for measurements: moving textures."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch
from torch.nn import functional

from flowcli.types import Frame

RATE = Fraction(25)
MOTIONS = ((3, 1), (-6, 2))
"""Pixels to the right and down from one frame to the next, of the background and of the disc in front of it."""


def frames(height: int, width: int, count: int) -> Iterator[Frame]:
    """The frames of the clip, the same in every run."""
    generator = torch.Generator().manual_seed(0)
    textures = [_texture(height, width, generator) for _ in MOTIONS]
    y, x = np.ogrid[:height, :width]
    disc = (np.hypot(y - height / 2, x - width / 2) < min(height, width) / 3)[..., None]
    for index in range(count):
        behind, front = (
            np.roll(texture, (index * v, index * u), axis=(0, 1))
            for texture, (u, v) in zip(textures, MOTIONS, strict=True)
        )
        yield Frame(np.where(disc, front, behind), index, index / RATE)


def _texture(height: int, width: int, generator: torch.Generator) -> np.ndarray:
    """(H, W, 3) uint8: the sum of coarse and fine noise."""
    total = torch.zeros(1, 3, height, width)
    for step in (4, 8, 16, 32, 64):
        noise = torch.rand(1, 3, -(-height // step), -(-width // step), generator=generator)
        total += functional.interpolate(noise, (height, width), mode="bicubic")
    low, high = total.aminmax()
    return np.ascontiguousarray(((total[0] - low) / (high - low) * 255).byte().permute(1, 2, 0).numpy())
