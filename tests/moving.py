"""Clips with known motion: a picture under a moving camera, and objects that move over it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from flowcli.train.textures import procedural_textures
from flowcli.types import Frame
from tests.video import clips

HEIGHT, WIDTH = 96, 144
RATE = 10


@cache
def texture(number: int = 0) -> np.ndarray:
    """(384, 384, 3) uint8: the nth of a few pictures with different colours."""
    return np.ascontiguousarray(procedural_textures(4, 3)[number].permute(1, 2, 0).numpy())


def camera(
    count: int, *, pan: float = 0, tilt: float = 0, zoom: float = 1, roll: float = 0, number: int = 0
) -> np.ndarray:
    """(count, HEIGHT, WIDTH, 3): from frame to frame the picture is scaled and turned about its centre, then shifted.

    pan, tilt: pixels to the right and down; roll: degrees, clockwise as seen.
    """
    angle = math.radians(roll)
    across, down = zoom * math.cos(angle), zoom * math.sin(angle)
    centre = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    step = np.eye(3)
    step[:2, :2] = [[across, -down], [down, across]]
    step[:2, 2] = centre - step[:2, :2] @ centre + (pan, tilt)
    place = np.eye(3)
    place[:2, 2] = centre - (384 - 1) / 2
    frames = []
    for _ in range(count):
        frames.append(cv2.warpAffine(texture(number), place[:2], (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC))
        place = step @ place
    return np.stack(frames)


def square(count: int, *, side: int, u: int, v: int) -> np.ndarray:
    """(count, HEIGHT, WIDTH, 3): a textured square moves over a still picture."""
    frames = camera(count)
    for index, frame in enumerate(frames):
        top, left = 20 + v * index, 30 + u * index
        frame[top : top + side, left : left + side] = texture(1)[:side, :side]
    return frames


def write(path: Path, frames: np.ndarray) -> Path:
    """Writes a lossless clip of RATE frames per second."""
    return clips.write(path, frames, rate=RATE)


def as_frames(images: Iterable[np.ndarray]) -> list[Frame]:
    return [Frame(image, index, Fraction(index, RATE)) for index, image in enumerate(images)]
