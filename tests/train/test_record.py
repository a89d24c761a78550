from __future__ import annotations

from pathlib import Path

import numpy as np

from flowcli.train.record import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    cut_table,
    draw_curves,
    read_series,
    table,
)


def test_series_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("step,set,epe\n20,a,1.5\n20,b,\n40,a,1\n40,b,3\n")
    assert read_series(path, "step", "epe") == {"epe": [(20, 1.5), (40, 1), (40, 3)]}
    assert read_series(path, "step", "epe", by="set") == {"a": [(20, 1.5), (40, 1)], "b": [(40, 3)]}
    assert read_series(tmp_path / "none.csv", "step", "epe") == {}


def test_a_table_goes_on_from_a_step(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for start in (0, 3):
        with table(path, ("step", "loss")) as write:
            for step in range(start, start + 3):
                write(step=step, loss=0.5)
    cut_table(path, 3)
    assert path.read_text().split() == ["step,loss", "0,0.5", "1,0.5", "2,0.5", "3,0.5"]
    cut_table(path, 0)
    assert path.read_text().split() == ["step,loss", "0,0.5"]
    path.write_text("")
    cut_table(path, 0)
    assert path.read_text() == ""
    cut_table(tmp_path / "none.csv", 1)
    assert [each.name for each in tmp_path.iterdir()] == ["log.csv"]


def plotted(image: np.ndarray, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the plot that have this colour."""
    inside = image[TOP : HEIGHT - BOTTOM, LEFT : WIDTH - RIGHT]
    rows, columns = np.nonzero((inside == colour).all(2))
    return rows, columns


def test_a_line_falls_as_its_numbers_do() -> None:
    image = draw_curves({"loss": [(1, 8.0), (50, 2.0), (100, 0.5)]})
    assert image.shape == (HEIGHT, WIDTH, 3)
    rows, columns = plotted(image, (255, 0, 0))
    assert columns.max() - columns.min() > 0.95 * (WIDTH - LEFT - RIGHT)
    # On a logarithmic scale, equal ratios are equal ways: a straight line.
    slope, start = np.polyfit(columns, rows, 1)
    assert slope > 0
    assert np.abs(rows - slope * columns - start).max() < 4


def test_every_series_has_its_colour() -> None:
    alone = draw_curves({"a": [(0, 1.0), (10, 2.0)]})
    both = draw_curves({"a": [(0, 1.0), (10, 2.0)], "b": [(0, 2.0), (10, 1.0)]})
    colours = {tuple(pixel) for pixel in both[::2].reshape(-1, 3)} - {tuple(pixel) for pixel in alone.reshape(-1, 3)}
    assert max(colours, key=lambda pixel: max(pixel) - min(pixel))[0] < 128, "the other one is not red"


def test_nothing_to_draw() -> None:
    assert np.unique(draw_curves({})).tolist() == [24]


def test_one_point_is_a_dot() -> None:
    image = draw_curves({"a": [(10, 3.0)]})[:, : WIDTH - RIGHT + 5]
    assert 0 < (image == (255, 0, 0)).all(2).sum() < 30
