from __future__ import annotations

from fractions import Fraction
from typing import get_args

import cv2
import numpy as np
import pytest
import torch

from flowcli.draw.color import legend
from flowcli.draw.effects import Color
from flowcli.types import FlowField, FlowPair, Frame, Style

STYLES: tuple[Style, ...] = get_args(Style)
HEIGHT, WIDTH = 181, 320


def _pair(uv: torch.Tensor, image: np.ndarray | None = None) -> FlowPair:
    frame = Frame(np.full((*uv.shape[1:], 3), 90, np.uint8) if image is None else image, 0, Fraction(0))
    return FlowPair(frame, Frame(frame.image, 1, Fraction(1)), FlowField(uv), at=frame)


def _still(height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.zeros(2, height, width)


def _box(color: Color, pair: FlowPair, style: Style = "wheel") -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what the legend covers, both ends included. style: of `color`."""
    bare = Color(12.5, style=style)(pair).image
    rows, columns = np.nonzero((color(pair).image != bare).any(axis=2))
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_the_wheel_stands_beside_its_words() -> None:
    image = Color(12.5, legend=True)(_pair(_still())).image
    top, bottom, left, right = _box(Color(12.5, legend=True), _pair(_still()))
    assert (bottom, left) == (HEIGHT - 1, 0)
    assert right < 0.4 * WIDTH
    panel = image[top : bottom + 1, : right + 1].astype(int)
    size = 32
    disc = legend(size).numpy()
    inside = disc[..., 3] > 0
    found = [
        (y, x)
        for y in range(len(panel) - size + 1)
        for x in range(12)
        if (panel[y : y + size, x : x + size][inside] == disc[..., :3][inside]).all()
    ]
    assert len(found) == 1
    words = panel[:, found[0][1] + size :]
    # White letters at least 9 pixels high on a dark, even ground, in two lines.
    assert (np.ptp(words, axis=2) == 0).all()
    assert words.max() > 240
    assert np.median(words) == words[0, 0, 0] < 40
    lit = (words[..., 0] > 128).any(axis=1)
    lines = np.split(np.flatnonzero(lit), np.flatnonzero(np.diff(np.flatnonzero(lit)) > 1) + 1)
    assert len(lines) == 2
    assert min(map(len, lines)) >= 9


def test_the_words_say_pixels_per_frame() -> None:
    """Of two scales the first lines differ, and the second ones are what OpenCV writes."""
    one, other = (Color(scale, legend=True)(_pair(_still())).image.astype(int) for scale in (1250.0, 3.0))
    written = np.zeros((40, 120), np.uint8)
    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, 9)
    cv2.putText(written, "per frame", (5, 20), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 1, cv2.LINE_AA)
    x, y, width, height = cv2.boundingRect((written > 128).astype(np.uint8))
    letters = written[y : y + height, x : x + width].astype(np.float32)
    for image in (one, other):
        match = cv2.matchTemplate(image[..., 1].astype(np.float32)[120:, :120], letters, cv2.TM_CCOEFF_NORMED)
        assert match.max() > 0.95
    assert (one != other).any()


@pytest.mark.parametrize("style", STYLES)
def test_every_style_has_one_that_fits_a_small_picture(style: Style) -> None:
    top, bottom, left, right = _box(Color(12.5, style=style, legend=True), _pair(_still()), style)
    assert (bottom, left) == (HEIGHT - 1, WIDTH if style == "side-by-side" else 0)
    assert bottom - top < 0.3 * HEIGHT
    assert right - left < 0.56 * WIDTH


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("below", [False, True])
def test_it_stays_in_the_corner_that_was_still(right: bool, below: bool) -> None:
    rows = slice(HEIGHT // 2, None) if below else slice(0, HEIGHT // 2)
    columns = slice(WIDTH // 2, None) if right else slice(0, WIDTH // 2)
    moving = torch.full_like(_still(), 6.0)
    moving[:, rows, columns] = 0
    for style in ("wheel", "arrows"):
        color = Color(12.5, style=style, legend=True)
        for uv in (moving, 6 - moving):
            top, _, left, _ = _box(color, _pair(uv), style)
            assert (top > HEIGHT // 2, left > WIDTH // 2) == (below, right)


def test_it_leaves_detail_free_where_nothing_moves() -> None:
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[:, : WIDTH // 2] = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH // 2, 3), np.uint8)
    top, _, left, _ = _box(Color(12.5, style="overlay", legend=True), _pair(_still(), image), "overlay")
    assert top > HEIGHT // 2
    assert left > WIDTH // 2
