"""Renders docs/styles.jpg from the clip tests/data/sample.mp4: `python -m tests.gallery`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

from flowcli.cli.main import main
from flowcli.pictures import draw_text, read_unscaled
from tests import sample

PATH = Path(__file__).parent.parent / "docs" / "styles.jpg"
FRAME = 17
KINDS = ("wheel", "hsv", "magnitude", "overlay", "arrows", "trails", "warp", "occlusion", "confidence")
COLUMNS = 3
GAP = 4
LABEL = 20


def cell(folder: Path, kind: str) -> np.ndarray:
    """The picture of one kind with its name above it."""
    image = read_unscaled(folder / kind / f"{FRAME:06d}.png")
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    label = np.full((LABEL, image.shape[1], 3), 40, np.uint8)
    return np.concatenate((draw_text(label, kind, 4, LABEL - 6, 9), image))


def montage(folder: Path) -> np.ndarray:
    cells = [np.pad(cell(folder, kind), ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for kind in KINDS]
    rows = [np.concatenate(cells[start : start + COLUMNS], axis=1) for start in range(0, len(cells), COLUMNS)]
    return np.concatenate(rows)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        outs = [word for kind in KINDS for word in ("-o", f"{name}/{kind}/", "--as", f"{kind}.png")]
        if main(["estimate", str(sample.PATH), "--stop", str(FRAME + 2), *outs, "--legend"]):
            raise SystemExit(1)
        PATH.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(PATH), montage(Path(name))[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
