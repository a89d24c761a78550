"""Renders docs/carried.jpg, points and paint carried over tests/data/sample.mp4: `python -m tests.gallery_carried`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

from flowcli.cli.main import main
from flowcli.pictures import draw_text, read_picture, write_picture
from tests import sample

PATH = Path(__file__).parent.parent / "docs" / "carried.jpg"
FRAMES = (0, 13, 26, 39)
GAP = 4
LABEL = 20
ROWS = {"trails": "points of frame 0: --points", "painted": "a picture painted over frame 0: --picture"}


def write_points(path: Path) -> None:
    """A grid of points of the first frame."""
    rows = [f"{x},{y}" for y in range(20, sample.HEIGHT, 36) for x in range(20, sample.WIDTH, 36)]
    path.write_text("\n".join(("x,y", *rows)), encoding="utf-8")


def write_paint(path: Path) -> None:
    """Bars with text."""
    picture = np.zeros((sample.HEIGHT, sample.WIDTH, 4), np.uint8)
    for top in (40, 130, 205):
        picture[top : top + 26] = (250, 220, 40, 255)
        picture[top + 1 : top + 25, :, :3] = (200, 30, 40)
        for left in range(10, sample.WIDTH, 95):
            picture[..., :3] = draw_text(np.ascontiguousarray(picture[..., :3]), "flowcli", left, top + 19, 12)
    write_picture(path, picture)


def strip(folder: Path) -> np.ndarray:
    cells = [read_picture(folder / f"{number:06d}.png") for number in FRAMES]
    return np.concatenate([np.pad(cell, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for cell in cells], axis=1)


def montage(folder: Path) -> np.ndarray:
    rows = []
    for name, text in ROWS.items():
        row = strip(folder / name)
        rows += [draw_text(np.full((LABEL, row.shape[1], 3), 40, np.uint8), text, 4, LABEL - 6, 9), row]
    return np.concatenate(rows)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_points(place / "points.csv")
        write_paint(place / "paint.png")
        given = {"trails": ["--points", f"{name}/points.csv"], "painted": ["--picture", f"{name}/paint.png"]}
        for row, words in given.items():
            if main(["propagate", str(sample.PATH), *words, "--out", f"{name}/{row}/", "--device", "cpu"]):
                raise SystemExit(1)
        cv2.imwrite(str(PATH), montage(place)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
