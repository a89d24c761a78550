from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowcli.motion.plot import PANELS, SINGLY, Plot
from flowcli.motion.stats import Row
from flowcli.pictures import read_picture


def drawn(path: Path, rows: list[Row]) -> Path:
    plot = Plot(path, path.suffix[1:])
    for row in rows:
        plot.write(row)
    plot.close()
    return path


def rows(count: int, **values: Any) -> list[Row]:
    known: dict[str, Any] = {"cut": False, "cut_score": 0.0, "duplicate": 0.0, **values}
    return [Row(index, index / 10, **known) for index in range(count)]


def labels(svg: Path) -> set[str]:
    return set(re.findall(r"<text [^>]*>([^<]+)</text>", svg.read_text()))


def test_every_column_has_its_place() -> None:
    names = [name for panel in PANELS.values() for name in panel]
    assert len(set(names)) == len(names)
    elsewhere = {"frame", "time", "cut", "speed_max", "direction", "coherence"}
    assert set(names) == {each.name for each in fields(Row)} - elsewhere


def test_known_columns_are_named(tmp_path: Path) -> None:
    found = labels(drawn(tmp_path / "a.svg", rows(20, speed_mean=2.0, pan=1.0)))
    assert {"speed_mean", "pan", "cut_score", "duplicate", "seconds", *PANELS} <= found
    assert "fb_error" not in found
    assert "tilt" not in found


def test_zoom_is_in_percent(tmp_path: Path) -> None:
    faster = [Row(index, index / 10, False, 0.0, 0.0, zoom=1.05 + index / 100) for index in range(11)]
    assert {"5.0", "10.0", "15.0"} <= labels(drawn(tmp_path / "a.svg", faster))


def blue_columns(image: np.ndarray) -> np.ndarray:
    """Columns of the first panel that hold the colour of its first line."""
    top = image[: image.shape[0] // 5].astype(int)
    return np.flatnonzero((np.abs(top - (31, 119, 180)).sum(-1) < 30).any(0))


@pytest.mark.slow
def test_lines_break_where_motion_is_unknown(tmp_path: Path) -> None:
    whole = rows(SINGLY + 50, speed_p95=1.0)
    broken = [row if abs(row.frame - 75) > 20 else rows(row.frame + 1)[-1] for row in whole]
    covered, gap = (
        blue_columns(read_picture(drawn(tmp_path / name, each))) for name, each in (("a.png", whole), ("b.png", broken))
    )
    plotted = covered[covered < 920]
    assert np.diff(plotted).max() == 1
    assert 0.2 < np.diff(gap[gap < 920]).max() / (plotted[-1] - plotted[0]) < 0.35


@pytest.mark.slow
def test_cuts_are_lines_through_all_panels(tmp_path: Path) -> None:
    without = rows(200, speed_mean=1.0, pan=1.0, zoom=1.0, moving_area=1.0)
    one = [replace(row, cut=row.frame == 150) for row in without]
    pictures = [read_picture(drawn(tmp_path / name, each)) for name, each in (("a.png", without), ("b.png", one))]
    changed = (pictures[0] != pictures[1]).any(-1).sum(0)
    at = int(changed[:920].argmax())
    assert changed[at] > 250
    assert 650 < at < 750


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_rows(count: int, tmp_path: Path) -> None:
    image = read_picture(drawn(tmp_path / "a.png", rows(count, speed_p95=3.0)))
    assert bool(len(blue_columns(image)[blue_columns(image) < 920])) == (count > 0)


@pytest.mark.slow
def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    one, other = (drawn(tmp_path / name, rows(9, pan=2.0)).read_bytes() for name in ("a.svg", "b.svg"))
    assert one == other


@pytest.mark.slow
def test_a_long_video_is_a_small_picture(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    long = [Row(index, index / 25, False, 0.0, 0.0, pan=float(dice.normal())) for index in range(30_000)]
    assert drawn(tmp_path / "a.svg", long).stat().st_size < 2_000_000
