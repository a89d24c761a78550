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


def bordered(image: np.ndarray, y: float, x: float) -> float:
    """(H, W) at a finite position, bilinear, with the border repeated."""
    height, width = image.shape
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
    low, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = image[top, left] + (x - left) * (image[top, right] - image[top, left])
    lower = image[low, left] + (x - left) * (image[low, right] - image[low, left])
    return float(upper + (y - top) * (lower - upper))


def lucas_kanade(
    first: np.ndarray, second: np.ndarray, flow: np.ndarray, windows: tuple[int, ...], damping: float
) -> np.ndarray:
    """first, second: (H, W); flow: (2, h, w). The measures (4 K, h, w)."""
    height, width = first.shape
    rows, columns = flow.shape[1:]
    cell = height // rows
    warped, known = np.zeros((height, width)), np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        # Where the middle of the pixel lies on the grid of the flow.
        at = (y + 0.5) / cell - 0.5, (x + 0.5) / cell - 0.5
        there_x, there_y = (c + cell * bordered(flow[k], *at) for k, c in enumerate((x, y)))
        known[y, x] = 0 <= there_x <= width - 1 and 0 <= there_y <= height - 1
        warped[y, x] = bordered(second, there_y, there_x) if math.isfinite(there_x + there_y) else 0
    mean = np.pad((first + warped) / 2, 1, mode="edge")
    slope_x = known * (mean[1:-1, 2:] - mean[1:-1, :-2]) / 2
    slope_y = known * (mean[2:, 1:-1] - mean[:-2, 1:-1]) / 2
    change = known * (warped - first)
    out = []
    for radius in windows:
        measures = np.zeros((4, rows, columns))
        for j, i in np.ndindex(rows, columns):
            part = (
                slice(max(j - radius, 0) * cell, (j + radius + 1) * cell),
                slice(max(i - radius, 0) * cell, (i + radius + 1) * cell),
            )
            slopes = np.stack([slope_x[part].ravel(), slope_y[part].ravel()])
            matrix = slopes @ slopes.T / slopes.shape[1] + damping * np.eye(2)
            right = slopes @ change[part].ravel() / slopes.shape[1]
            measures[:2, j, i] = np.clip(-np.linalg.solve(matrix, right), -1, 1)
            area = np.linalg.det(matrix)
            measures[2, j, i] = area / (area + np.trace(matrix))
            measures[3, j, i] = min(math.sqrt((change[part] ** 2).mean()), 2)
        out.append(measures)
    return np.concatenate(out)


def convex_upsample(flow: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """flow: (2, h, w); mask: (9 k^2, h, w). The flow (2, k h, k w)."""
    channels, height, width = mask.shape
    factor = math.isqrt(channels // 9)
    out = np.zeros((2, factor * height, factor * width))
    for y, x, j, i in np.ndindex(height, width, factor, factor):
        weights = np.exp(mask[factor * j + i :: factor * factor, y, x])
        places = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        near = [flow[:, min(max(row, 0), height - 1), min(max(column, 0), width - 1)] for row, column in places]
        out[:, factor * y + j, factor * x + i] = factor * (weights @ np.stack(near)) / weights.sum()
    return out


def levelled_brightness(image: np.ndarray, cell: int, least: float) -> np.ndarray:
    """(H, W) of one image (3, H, W)."""
    grey = image.mean(0)
    rows, columns = grey.shape[0] // cell, grey.shape[1] // cell
    mean, deviation = np.zeros((2, rows, columns))
    for y, x in np.ndindex(rows, columns):
        # All cells are of one size, so that the mean over them is that over their pixels.
        near = grey[max(y - 1, 0) * cell : (y + 2) * cell, max(x - 1, 0) * cell : (x + 2) * cell]
        mean[y, x], deviation[y, x] = near.mean(), math.sqrt(near.var() + least**2)
    levelled: np.ndarray = np.zeros_like(grey)
    for y, x in np.ndindex(*grey.shape):
        place = (y + 0.5) / cell - 0.5, (x + 0.5) / cell - 0.5
        levelled[y, x] = (grey[y, x] - bordered(mean, *place)) / bordered(deviation, *place)
    return levelled


def deform_conv(
    features: np.ndarray, offsets: np.ndarray, mask: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """features: (C, H, W); offsets: (2 G k l, H, W); mask: (G k l, H, W); weight: (O, C, k, l); bias: (O,)."""
    channels, height, width = features.shape
    outputs, _, rows, columns = weight.shape
    share = channels * rows * columns // len(mask)
    result = np.zeros((outputs, height, width))
    for y, x in np.ndindex(height, width):
        result[:, y, x] = bias
        for channel, row, column in np.ndindex(channels, rows, columns):
            place = (channel // share * rows + row) * columns + column
            down, right = (float(offset) for offset in offsets[2 * place : 2 * place + 2, y, x])
            seen = sample(features, y + row - rows // 2 + down, x + column - columns // 2 + right)[channel]
            result[:, y, x] += weight[:, channel, row, column] * mask[place, y, x] * seen
    return result
