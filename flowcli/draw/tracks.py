"""Points tracked along the flow of a video."""

from __future__ import annotations

import numpy as np
import torch

from flowcli.geometry import consistency, constants, sample
from flowcli.types import FlowPair


class Tracks:
    """Tracked points on a grid of cells, with their positions in the last frames of a video.

    A track ends where the flow leaves the frame or is unknown and, if the pairs have backward flow, where the point is
    occluded in the next frame. If two tracks meet in a cell, the younger ends. New tracks start in the middle of empty
    cells; after a gap in the video, all start anew. spacing: approximate width of a cell in pixels; length: frames in a
    track. Source of the rules for ends: Sundaram, Brox, Keutzer 2010, section 3.
    """

    def __init__(self, spacing: float, length: int = 15) -> None:
        self._spacing = spacing
        self._paths = np.empty((length, 0, 2), np.float32)
        self._next: int | None = None

    def follow(self, pair: FlowPair) -> np.ndarray:
        """(length, N, 2) float32: x, y of N points in the frames up to `pair.first`, oldest first; NaN if missing.

        pair: the next pair of the video, forward in time.
        """
        if pair.first.index != self._next:
            self._paths = self._paths[:, :0]
        self._next = pair.second.index
        height, width = pair.forward.uv.shape[1:]
        self._renew(*grid_points(height, width, self._spacing))
        paths = self._paths
        ahead = np.concatenate((paths[1:], _moved(paths[-1], pair)[None]))
        self._paths = ahead[:, np.isfinite(ahead[..., 0]).any(axis=0)]
        return paths

    def _renew(self, starts: np.ndarray, cells: np.ndarray) -> None:
        """Leaves one point in each cell, and starts one in each empty cell."""
        known = np.isfinite(self._paths[..., 0])
        present = np.flatnonzero(known[-1])
        column, row = np.rint(self._paths[-1, present]).astype(int).T
        cell = cells[row.clip(0, len(cells) - 1), column.clip(0, cells.shape[1] - 1)]
        order = np.lexsort((-known[:, present].sum(axis=0), cell))
        younger = order[1:][cell[order[1:]] == cell[order[:-1]]]
        self._paths[-1, present[younger]] = np.nan
        empty = np.setdiff1d(np.arange(len(starts)), cell)
        fresh = np.full((len(self._paths), len(empty), 2), np.nan, np.float32)
        fresh[-1] = starts[empty]
        self._paths = np.concatenate((self._paths, fresh), axis=1)


def grid_points(height: int, width: int, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) x, y of the centres of cells about `spacing` wide, and (H, W), the number of each pixel's cell."""
    rows, columns = (max(1, round(size / spacing)) for size in (height, width))
    y, x = ((2 * np.arange(count) + 1) * size // (2 * count) for count, size in ((rows, height), (columns, width)))
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    row, column = np.arange(height) * rows // height, np.arange(width) * columns // width
    return points, row[:, None] * columns + column


def _moved(points: np.ndarray, pair: FlowPair) -> np.ndarray:
    """(N, 2): positions in `pair.second` of the points (N, 2) of `pair.first`, NaN for those that are lost."""
    forward = pair.forward.known[None]
    layers = forward
    if pair.backward is not None:
        layers = torch.cat((forward, consistency(forward, pair.backward.known[None]).float()), dim=1)
    position = torch.from_numpy(points.T).to(forward.device)[None, :, None]
    sampled, _ = sample(layers, position)
    moved = position + sampled[:, :2]
    last = constants((forward.shape[-1] - 1, forward.shape[-2] - 1), moved)
    seen = ((moved >= -0.5) & (moved <= last + 0.5)).all(dim=1, keepdim=True) & (sampled[:, 2:] < 0.5).all(dim=1)
    return moved.where(seen, torch.nan)[0, :, 0].cpu().numpy().T
