"""Clips of three frames from videos, to train on what cameras and codecs do."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from flowcli.errors import FlowcliError, InputError
from flowcli.shots import compare
from flowcli.types import Frame
from flowcli.video import open_source

_LOG = logging.getLogger("flowcli")

CLIP = 3
"""Frames of a clip."""
STEPS = (1, 2, 3)
"""From one frame of a clip to the next: of videos that move slowly, too."""
EACH = 400
"""Clips of one video, at most."""
LEAST = 2.0
"""Grey levels by which the first and the last frame of a clip differ on average, at least."""
TRIES = 4
"""Places in a frame of which that with most motion is taken."""


def draw_footage(folder: Path, side: int, seed: int) -> Tensor:
    """Clips (N, CLIP, 3, side, side) uint8 RGB of the videos in a folder, none across a cut.

    Videos that cannot be read, or are smaller, are left out, and named in the log. Raises InputError if none is left.
    """
    if not folder.is_dir():
        raise InputError(f"no such folder of videos: {folder}", "check the name")
    clips = []
    for number, path in enumerate(sorted(each for each in folder.iterdir() if each.is_file())):
        try:
            clips += _of_video(path, side, np.random.default_rng((seed, number)))
        except FlowcliError as error:
            _LOG.info("not trained on %s: %s", path, error.message)
    if not clips:
        raise InputError(f"no clips of {side}x{side} with motion in {folder}", "give videos that are larger")
    return torch.from_numpy(np.stack(clips))


def _of_video(path: Path, side: int, random: np.random.Generator) -> list[np.ndarray]:
    """Up to EACH clips, all as likely."""
    kept: list[np.ndarray] = []
    with open_source(str(path)) as source:
        if min(source.info.height, source.info.width) < side:
            raise InputError(f"{source.info.width}x{source.info.height} is too small", f"{side}x{side} is cut of it")
        for number, frames in enumerate(_runs(source)):
            place = number if number < EACH else int(random.integers(number + 1))
            if place < EACH and (clip := _cut(frames, side, random)) is not None:
                kept[place : place + 1] = [clip]
    return kept


def _runs(frames: Iterable[Frame]) -> Iterator[list[np.ndarray]]:
    """All CLIP frames that follow each other at one of STEPS within a shot, of which none repeats another."""
    run: list[np.ndarray] = []
    for change in compare(frames):
        if change.marked.cut or change.repeats:
            run = []
        run = [*run, change.marked.image][-(STEPS[-1] * (CLIP - 1) + 1) :]
        for step in STEPS:
            if len(run) > step * (CLIP - 1):
                yield run[::-step][:CLIP][::-1]


def _cut(frames: list[np.ndarray], side: int, random: np.random.Generator) -> np.ndarray | None:
    """(CLIP, 3, side, side) of the frames (H, W, 3); None if too little moves there."""
    height, width = frames[0].shape[:2]
    found, most = None, LEAST
    for _ in range(TRIES):
        top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
        part = np.stack([frame[top : top + side, left : left + side] for frame in frames])
        motion = float(np.abs(part[0].astype(np.float32) - part[-1]).mean())
        if motion >= most:
            found, most = part, motion
    return None if found is None else np.ascontiguousarray(found.transpose(0, 3, 1, 2))
