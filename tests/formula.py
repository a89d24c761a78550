"""Numbers and pictures that follow from a formula, for networks that are compared with what they once gave."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=1)
def noise() -> np.ndarray:
    """A million normal numbers, the same ones with every version of NumPy.

    The seed is one with which none of the small tensors is nearly zero.
    """
    return np.random.RandomState(6).standard_normal(1_000_003).astype(np.float32)


def texture(random: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """Noise of every scale, 0 to 255, in whole numbers: the same ones everywhere."""
    total = np.zeros((height, width, 3), np.int64)
    for cell in (1, 2, 4, 8, 16, 32):
        coarse = random.randint(0, 256, (-(-height // cell), -(-width // cell), 3))
        total += coarse.repeat(cell, 0).repeat(cell, 1)[:height, :width]
    return total // 6


def pictures(height: int, width: int) -> list[np.ndarray]:
    """A background that moves by (-3, 2) and a block by (9, -4), bluish, the second picture a little darker."""
    random = np.random.RandomState(1)
    first, block = texture(random, height, width), texture(random, height // 3, height // 3)
    second = np.roll(first, (2, -3), (0, 1))
    for image, top, left in ((first, height // 3, width // 3), (second, height // 3 - 4, width // 3 + 9)):
        image[top : top + len(block), left : left + len(block)] = block
    return [(image * (5, 6, 8) // dim).astype(np.uint8) for image, dim in ((first, 8), (second, 9))]
