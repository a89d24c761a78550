"""How VideoINR is trained: full-size frames at any time, from two small ones, of generated scenes.

Times, factors and schedule are those of its authors, Chen et al. 2022, arXiv:2206.04647, section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.errors import InputError
from flowcli.train.clips import VALIDATION_SCENES, VALIDATION_SEED, Clips
from flowcli.train.kinds import draw_scene
from flowcli.train.options import FrameTrainOptions
from flowcli.train.rendering import render

FACTOR = 4
"""Frames are so many times as high and wide as what they are made from; towards the end of a run, LEAST to FACTOR."""
LEAST = 2.0
EIGHTHS = 8
"""Times are whole eighths of the way from one frame to the other."""
TIMES = 3
"""Frames that are made of a pair in a step."""
PARTS = 4
"""Times that the rate falls in a run; the factor varies during the last."""
LAST_SHARE = 1e-3
"""Of the highest rate, at the end of each part."""


class Enlarging:
    """The recipe. Raises InputError for crops that are no multiple of FACTOR."""

    autocast = False

    def __init__(self, bank: Tensor, options: FrameTrainOptions) -> None:
        if options.crop % FACTOR:
            raise InputError(
                f"crop {options.crop} is not a multiple of {FACTOR}", f"use {options.crop // FACTOR * FACTOR}"
            )
        self._bank, self._options = bank, options

    def batches(self, start: int) -> Iterator[Clips]:
        return (draw_clips(self._bank, self._options, number) for number in count(start))

    def unseen(self) -> list[Clips]:
        crop = self._options.crop
        return [_clips(self._bank, VALIDATION_SEED, range(VALIDATION_SCENES), crop // FACTOR, crop, (0.5,))]

    def rate(self, step: int) -> float:
        return falling(step, self._options.steps)


def falling(step: int, steps: int) -> float:
    """The learning rate at `step` as a share of the highest: a half wave of a cosine in each part of the run."""
    period = max(1, steps // PARTS)
    return LAST_SHARE + (1 - LAST_SHARE) * (1 + math.cos(math.pi * (step % period) / period)) / 2


def draw_clips(bank: Tensor, options: FrameTrainOptions, number: int) -> Clips:
    """Batch `number` of a run, on the bank's device, a function of (seed, number): no scene comes twice."""
    generator = torch.Generator().manual_seed(options.seed * 1_000_003 + number)
    times = (torch.randperm(EIGHTHS + 1, generator=generator)[:TIMES].sort().values / EIGHTHS).tolist()
    factor = float(FACTOR)
    if number >= options.steps * (PARTS - 1) // PARTS:
        factor = LEAST + (FACTOR - LEAST) * torch.rand((), generator=generator).item()
    small = options.crop // FACTOR
    scenes = range(number * options.batch, (number + 1) * options.batch)
    return _clips(bank, options.seed, scenes, small, round(factor * small), tuple(times))


def _clips(bank: Tensor, seed: int, scenes: range, small: int, side: int, times: tuple[float, ...]) -> Clips:
    scene = draw_scene(seed, scenes, side, side, len(bank))
    frames = [frame.clamp(0, 1) for frame in render(scene, bank, side, side, (0.0, 1.0, *times))]
    first, second = (_shrunk(frame, small) for frame in frames[:2])
    return Clips(first, second, times, frames[2:])


def _shrunk(frame: Tensor, side: int) -> Tensor:
    """Without aliasing, as the frames were shrunk that the paper trained on."""
    return F.interpolate(frame, (side, side), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
