"""The operators as plain loops over pixels and displacements, in double precision."""

from __future__ import annotations

import math

import numpy as np


def pixel(features: np.ndarray, y: int, x: int) -> np.ndarray:
    """The channels of one pixel of (C, H, W), zeros outside."""
    inside = 0 <= y < features.shape[1] and 0 <= x < features.shape[2]
    return features[:, y, x] if inside else np.zeros(len(features))


def sample(features: np.ndarray, y: float, x: float) -> np.ndarray:
    """The channels of (C, H, W) at any position, bilinear, zeros outside and where the position is not finite."""
    result = np.zeros(len(features))
    if not (math.isfinite(x) and math.isfinite(y)):
        return result
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            result += (1 - abs(y - row)) * (1 - abs(x - column)) * pixel(features, row, column)
    return result


def correlation(first: np.ndarray, second: np.ndarray, radius: int, dilation: int) -> np.ndarray:
    count, channels, height, width = first.shape
    volume = np.zeros((count, (2 * radius + 1) ** 2, height, width))
    for n, y, x in np.ndindex(count, height, width):
        channel = 0
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                other = pixel(second[n], y + dy * dilation, x + dx * dilation)
                volume[n, channel, y, x] = (first[n, :, y, x] * other).sum() / channels
                channel += 1
    return volume


def lookup_correlation(first: np.ndarray, second: np.ndarray, flow: np.ndarray, radius: int) -> np.ndarray:
    count, channels, height, width = first.shape
    volume = np.zeros((count, (2 * radius + 1) ** 2, height, width))
    for n, y, x in np.ndindex(count, height, width):
        channel = 0
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                other = sample(second[n], y + float(flow[n, 1, y, x]) + dy, x + float(flow[n, 0, y, x]) + dx)
                volume[n, channel, y, x] = (first[n, :, y, x] * other).sum() / channels
                channel += 1
    return volume
