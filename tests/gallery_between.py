"""Renders docs/between.jpg, frames between frames where it works and where not: `python -m tests.gallery_between`."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

import flowcli
from flowcli.pictures import draw_text
from flowcli.types import Frame
from tests.moving import WIDTH, camera, square, texture

PATH = Path(__file__).parent.parent / "docs" / "between.jpg"
PARTS = 4
"""Each frame made is so much of the time between two frames after the one before."""
GAP = 4
LABEL = 20


def far(count: int) -> np.ndarray:
    """(count, HEIGHT, WIDTH, 3): a disc of 10 pixels that moves 48 pixels in each frame."""
    frames = camera(count)
    for number, frame in enumerate(frames):
        cv2.circle(frame, (40 + 48 * number, 48), 5, (250, 240, 60), -1, cv2.LINE_AA)
    return frames


def fence(count: int) -> np.ndarray:
    """The same of bars that move by more than half of their distance."""
    columns = np.arange(WIDTH)
    frames = camera(count, number=1)
    for number, frame in enumerate(frames):
        frame[16:80, (columns - 9 * number) % 14 < 6] = texture(3)[0, 0]
    return frames


ROWS: dict[str, Callable[[int], np.ndarray]] = {
    "works: a thing moves less far than it is large": lambda count: square(count, side=40, u=16, v=4),
    "fails: it moves farther than it is large": far,
    "fails: a pattern moves by more than half of its period": fence,
}


def strip(scene: Callable[[int], np.ndarray]) -> np.ndarray:
    """A given frame, those made after it, and the next given one, beside each other."""
    frames = [Frame(np.ascontiguousarray(image), number, Fraction(number)) for number, image in enumerate(scene(2))]
    times = [Fraction(number, PARTS) for number in range(PARTS + 1)]
    made = [frame.image for frame in flowcli.interpolate(frames, times, device="cpu")]
    cells = [np.pad(image, ((0, 0), (0, GAP), (0, 0)), constant_values=255) for image in made]
    return np.concatenate(cells, axis=1)


def montage() -> np.ndarray:
    rows = []
    for text, scene in ROWS.items():
        row = strip(scene)
        label = np.full((LABEL, row.shape[1], 3), 40, np.uint8)
        rows += [draw_text(label, text, 4, LABEL - 6, 9), row]
    return np.concatenate(rows)


if __name__ == "__main__":
    cv2.imwrite(str(PATH), montage()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
