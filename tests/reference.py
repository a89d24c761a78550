"""Slow and simple oracles in NumPy, which share no code with what they check."""

from __future__ import annotations

import math

import numpy as np

MIDDLEBURY_ANCHORS = {
    0: (255, 0, 0),
    7: (255, 119, 0),
    15: (255, 255, 0),
    18: (128, 255, 0),
    21: (0, 255, 0),
    25: (0, 255, 255),
    36: (0, 0, 255),
    49: (255, 0, 255),
    54: (255, 0, 43),
}
"""Colours of the wheel worked out by hand."""


def middlebury_wheel() -> np.ndarray:
    """(55, 3) colours, written ramp by ramp as the paper lists them."""
    colours = [(255, 255 * i // 15, 0) for i in range(15)]
    colours += [(255 - 255 * i // 6, 255, 0) for i in range(6)]
    colours += [(0, 255, 255 * i // 4) for i in range(4)]
    colours += [(0, 255 - 255 * i // 11, 255) for i in range(11)]
    colours += [(255 * i // 13, 0, 255) for i in range(13)]
    colours += [(255, 0, 255 - 255 * i // 6) for i in range(6)]
    return np.array(colours)


def middlebury_colour(u: float, v: float, scale: float) -> tuple[float, float, float]:
    """Colour of one vector in double precision, before the final rounding down."""
    if not (math.isfinite(u) and math.isfinite(v)):
        return 0.0, 0.0, 0.0
    radius = math.sqrt(u * u + v * v) / scale
    angle = math.atan2(-v, -u) / math.pi
    place = (angle + 1) / 2 * 54
    low = math.floor(place)
    high = (low + 1) % 55
    part = place - low
    colours = middlebury_wheel() / 255
    result = []
    for channel in range(3):
        colour = (1 - part) * colours[low, channel] + part * colours[high, channel]
        colour = 1 - radius * (1 - colour) if radius <= 1 else colour * 0.75
        result.append(255 * colour)
    return result[0], result[1], result[2]


def bilinear(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """`image` (C, H, W) at one position; beyond the border the border's colour."""
    height, width = image.shape[1:]
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = math.floor(x), math.floor(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    a, b = x - left, y - top
    upper = (1 - a) * image[:, top, left] + a * image[:, top, right]
    lower = (1 - a) * image[:, bottom, left] + a * image[:, bottom, right]
    return np.asarray((1 - b) * upper + b * lower)


def warp_backward(image: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image (C, H, W) sampled along flow (2, h, w), and where all of the sample lies inside."""
    height, width = flow.shape[1:]
    warped = np.zeros((image.shape[0], height, width))
    inside = np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            x, y = column + float(flow[0, row, column]), row + float(flow[1, row, column])
            warped[:, row, column] = bilinear(image.astype(np.float64), x, y)
            inside[row, column] = 0 <= x <= image.shape[2] - 1 and 0 <= y <= image.shape[1] - 1
    return warped, inside


def splat_forward(image: np.ndarray, flow: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of weight * image (C, H, W) and of weight (H, W) that arrive at each pixel."""
    channels, height, width = image.shape
    total, arrived = np.zeros((channels, height, width)), np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            x, y = column + float(flow[0, row, column]), row + float(flow[1, row, column])
            for y_to in range(height):
                for x_to in range(width):
                    share = max(0.0, 1 - abs(x - x_to)) * max(0.0, 1 - abs(y - y_to)) * weight[row, column]
                    total[:, y_to, x_to] += share * image[:, row, column]
                    arrived[y_to, x_to] += share
    return total, arrived


def resize_row(values: np.ndarray, size: int) -> np.ndarray:
    """One row of numbers in another size: a triangle filter as wide as the coarser of both pixels."""
    step = len(values) / size
    support = max(step, 1.0)
    result = np.zeros(size)
    for i in range(size):
        centre = (i + 0.5) * step
        weights = np.array([max(0.0, 1 - abs(j + 0.5 - centre) / support) for j in range(len(values))])
        result[i] = (weights * values).sum() / weights.sum()
    return result


def resize_plane(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W) in another size, columns and rows one after the other."""
    wide = np.array([resize_row(row, width) for row in plane])
    return np.array([resize_row(column, height) for column in wide.T]).T


def occluded(forward: np.ndarray, backward: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """(H, W): True where the forward flow (2, H, W) is not undone by the backward flow, or ends outside."""
    return round_trip(forward, backward, alpha, beta) > 1


def confidence(forward: np.ndarray, backward: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """(H, W): 1 where the forward flow (2, H, W) is undone by the backward flow, halved for each limit it is off."""
    return np.exp(-math.log(2) * round_trip(forward, backward, alpha, beta))


def round_trip(forward: np.ndarray, backward: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """(H, W): by how much forward and backward flow disagree, as a part of what they may; infinite outside."""
    height, width = forward.shape[1:]
    result = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            there = forward[:, row, column].astype(np.float64)
            x, y = column + there[0], row + there[1]
            back = bilinear(backward.astype(np.float64), x, y)
            away = not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5)
            limit = alpha * (there @ there + back @ back) + beta
            result[row, column] = math.inf if away else (there + back) @ (there + back) / limit
    return result
