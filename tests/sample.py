"""The clip tests/data/sample.mp4, and its true flow: `python -m tests.sample` renders it again.

A scene of the project's own generator, with procedural textures alone, whose layers swing to and fro.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from flowcli.train.kinds import draw_scene
from flowcli.train.rendering import render, true_flow
from flowcli.train.scenes import Scene
from flowcli.train.textures import procedural_textures
from flowcli.types import Frame, StreamInfo, drain
from flowcli.video import open_video_sink

PATH = Path(__file__).parent / "data" / "sample.mp4"
HEIGHT, WIDTH, FRAMES, RATE = 256, 384, 40, Fraction(25)
SEED, INDEX, TEXTURES = 5, 10, 12
SWING = 3.0
"""The layers move from minus this time to plus this time and back, in the generator's unit of time."""


def scene() -> Scene:
    return draw_scene(SEED, [INDEX], HEIGHT, WIDTH, TEXTURES, ("mixed",))


def time(frame: int) -> float:
    return SWING * math.sin(2 * math.pi * frame / FRAMES)


def flow(frame: int) -> tuple[Tensor, Tensor]:
    """True flow (2, H, W) from this frame to the next, and where it leads behind something or outside, (H, W) bool."""
    uv, occluded = true_flow(scene(), bank(), HEIGHT, WIDTH, time(frame), time(frame + 1))
    return uv[0], occluded[0]


@cache
def bank() -> Tensor:
    return torch.stack(procedural_textures(TEXTURES, SEED))


def frames() -> Iterator[Frame]:
    for index in range(FRAMES):
        (image,) = render(scene(), bank(), HEIGHT, WIDTH, [time(index)])
        pixels = (image[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)
        yield Frame(np.ascontiguousarray(pixels), index, index / RATE)


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    drain(frames(), [open_video_sink(PATH, StreamInfo(HEIGHT, WIDTH, RATE), crf=20, overwrite=True)])
