"""How well points are tracked on generated scenes whose motion is known exactly: `python -m tests.tracking`."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from flowcli.train.kinds import draw_scene
from flowcli.train.rendering import render, true_flow
from flowcli.types import Frame

SEED = 20_000_029
"""Scenes that no training seed reaches."""
STEP = 0.25
"""Of the time between the frames that networks are trained on: motion is so many times as fast."""
THRESHOLDS = (1, 2, 4, 8, 16)
"""Pixels, as in TAP-Vid, Doersch and others 2022, arXiv:2211.03726, on frames of 256 x 256."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames, and where the points of one of them are."""

    frames: list[Frame]
    key: int
    points: np.ndarray
    """(N, 2): on frame `key`."""
    truth: np.ndarray
    """(T, N, 2): on all frames."""
    seen: np.ndarray
    """(T, N) bool."""


def draw_clip(bank: torch.Tensor, number: int, key: int, length: int, height: int, width: int) -> Clip:
    """The clip `number`, with points in a grid on frame `key`."""
    scene = draw_scene(SEED, [number], height, width, len(bank), ("mixed", "depth", "bodies"))
    times = [STEP * (index - length // 2) for index in range(length)]
    images = [image[0].clamp(0, 1).mul(255).round().byte() for image in render(scene, bank, height, width, times)]
    frames = [
        Frame(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), index, Fraction(index, 25))
        for index, image in enumerate(images)
    ]
    y, x = np.mgrid[8:height:16, 8:width:16]
    points = np.stack((x, y), axis=-1).reshape(-1, 2)
    truth, seen = [], []
    for time in times:
        flow, hidden = (each[0].numpy() for each in true_flow(scene, bank, height, width, times[key], time))
        truth.append(points + flow[:, points[:, 1], points[:, 0]].T)
        seen.append(~hidden[points[:, 1], points[:, 0]])
    return Clip(frames, key, points, np.array(truth), np.array(seen))
