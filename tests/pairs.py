"""Small pairs with ground truth in the layouts of public datasets, with values that can be checked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flowcli.flowfile import write_flow
from flowcli.pictures import write_picture

HEIGHT, WIDTH = 66, 98


def picture(path: Path, brightness: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, np.full((*size, 3), brightness, np.uint8))
    return path


def flow(path: Path, u: float = 3.0, v: float = 4.0, unknown: int = 0) -> Path:
    """The same vector everywhere, unknown in the first rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    uv = np.empty((2, HEIGHT, WIDTH), np.float32)
    uv[0], uv[1] = u, v
    uv[:, :unknown] = np.nan
    write_flow(path, uv)
    return path


def mask(path: Path, rows: slice) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[rows] = 255
    write_picture(path, image)
    return path


def write_pair(folder: Path, name: str = "a", brightness: int = 0, u: float = 3.0, v: float = 4.0) -> Path:
    """Writes a pair in the flat layout, with PAIR_flow.flo. Returns the folder."""
    picture(folder / f"{name}_img1.png", 0)
    picture(folder / f"{name}_img2.ppm", brightness)
    flow(folder / f"{name}_flow.flo", u, v)
    return folder
