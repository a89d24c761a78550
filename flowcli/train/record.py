"""The course of a run: tables that grow with it, and a picture of them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from flowcli.atomic import Part
from flowcli.draw.color import wheel
from flowcli.pictures import draw_line, draw_text

Series = Sequence[tuple[float, float]]
HEIGHT, WIDTH = 480, 800
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 24, 40
"""Margins, pixels: numbers are to the left of the plot and below, names to the right."""
LETTERS = 9


@contextmanager
def table(path: Path, fields: Sequence[str]) -> Iterator[Callable[..., None]]:
    """What appends a line to the CSV file at `path`, which begins with the names of the fields."""
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields)
        if file.tell() == 0:
            writer.writeheader()

        def write(**row: object) -> None:
            writer.writerow(row)
            file.flush()

        yield write


def cut_table(path: Path, step: int) -> None:
    """Removes the lines after `step`: a run goes on from its checkpoint, and what it wrote after that comes again."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    with Part(path, overwrite=True) as part, part.path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(line for number, line in enumerate(lines) if number == 0 or int(line[0]) <= step)


def read_series(path: Path, x: str, y: str, by: str | None = None) -> dict[str, Series]:
    """Points (x, y) of two columns of a CSV file, apart for each word in the column `by`; none without the file."""
    found: dict[str, list[tuple[float, float]]] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row[y] and not math.isnan(float(row[y])):
                    found.setdefault(row[by] if by else y, []).append((float(row[x]), float(row[y])))
    return dict(found)


def draw_curves(series: Mapping[str, Series]) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) uint8 RGB: each series as a line, over a logarithmic scale upwards. Values are above 0."""
    image = np.full((HEIGHT, WIDTH, 3), 24, np.uint8)
    points = [point for line in series.values() for point in line]
    if not points:
        return image
    last = max(x for x, _ in points)
    low, high = math.log(min(y for _, y in points)), math.log(max(y for _, y in points))
    low, high = low - 0.05, high + 0.05

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / max(last, 1)
        return across, TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log(y)) / (high - low)

    for value in _ticks(math.exp(low), math.exp(high)):
        start, stop = place(0, value), place(last, value)
        image = draw_line(image, [start, stop], (60, 60, 60))
        image = draw_text(image, f"{value:g}", 6, round(start[1]) + LETTERS // 2, LETTERS)
    for x in (0, last / 2, last):
        across, _ = place(x, math.exp(low))
        image = draw_text(image, f"{x:g}", round(across) - 12, HEIGHT - BOTTOM + 20, LETTERS)
    colours = wheel().tolist()
    for number, (name, line) in enumerate(series.items()):
        colour = tuple(colours[number * len(colours) // len(series)])
        image = draw_line(image, [place(*point) for point in line], colour)
        row = TOP + 20 * (number + 1)
        image = draw_line(image, [(WIDTH - RIGHT + 10, row - 4), (WIDTH - RIGHT + 30, row - 4)], colour)
        image = draw_text(image, f"{name} {line[-1][1]:.2f}", WIDTH - RIGHT + 36, row, LETTERS)
    return image


def _ticks(low: float, high: float) -> Iterable[float]:
    """1, 2 and 5 times each power of ten from `low` to `high`."""
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for digit in (1, 2, 5):
            if low <= digit * 10**power <= high:
                yield digit * 10.0**power
