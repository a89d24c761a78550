from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, fields
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from flowcli.motion.stats import MOVING, POINTS, RANGED, Meter, Row, Summary
from flowcli.shots import shots
from flowcli.types import FlowField, FlowPair, Frame
from tests import moving

HEIGHT, WIDTH = 37, 54
SCORES = {"frame", "time", "cut", "cut_score", "duplicate"}
MOTION = {each.name for each in fields(Row)} - SCORES
CHECK = {"fb_error", "occluded"}


def uniform(u: float, v: float, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.tensor([float(u), float(v)]).view(2, 1, 1).expand(2, height, width).clone()


def measured(uv: torch.Tensor, valid: torch.Tensor | None = None, backward: torch.Tensor | None = None) -> Row:
    """The row of the second of two frames, for this flow between them."""
    height, width = uv.shape[1:]
    image = np.zeros((height, width, 3), np.uint8)
    meter = Meter()
    first, second = meter.watch(Frame(image, index, Fraction(index, 10)) for index in (4, 5))
    back = None if backward is None else FlowField(backward)
    empty, row = meter.rows([FlowPair(first, second, FlowField(uv, valid), back, at=first)])
    assert (empty.frame, empty.time, row.frame, row.time) == (4, 0.4, 5, 0.5)
    assert {name for name in MOTION if getattr(empty, name) is not None} == set()
    return row


def test_uniform_motion() -> None:
    row = measured(uniform(3, -4))
    assert {name: value for name, value in asdict(row).items() if name in MOTION} == pytest.approx(
        {
            "speed_mean": 5, "speed_median": 5, "speed_p95": 5, "speed_max": 5,
            "direction": math.degrees(math.atan2(-4, 3)), "coherence": 1, "moving_area": 1,
            "pan": 3, "tilt": -4, "zoom": 1, "roll": 0, "object_speed": 0, "object_area": 0,
            "fb_error": None, "occluded": None,
        },
        abs=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("u", "v", "direction"), [(1, 0, 0), (0, 1, 90), (-1, 0, 180), (0, -1, -90), (1, 1, 45), (-2, -2, -135)]
)
def test_direction(u: float, v: float, direction: float) -> None:
    assert measured(uniform(u, v)).direction == pytest.approx(direction, abs=1e-4)


def test_nothing_moves() -> None:
    row = measured(uniform(0, 0))
    assert (row.speed_mean, row.speed_max, row.moving_area, row.object_area) == (0, 0, 0, 0)
    assert (row.direction, row.coherence) == (None, None)
    assert (row.pan, row.tilt, row.zoom, row.roll) == (0, 0, 1, 0)


def test_motion_to_all_sides_has_no_coherence() -> None:
    uv = uniform(4, 0)
    uv[0, :, WIDTH // 2 :] = -4
    assert measured(uv).coherence == pytest.approx(0, abs=1e-6)
    uv[0, :, WIDTH // 2 :] = 0
    assert measured(uv).coherence == pytest.approx(1, abs=1e-6)
    uv[1, :, WIDTH // 2 :] = 4
    assert measured(uv).coherence == pytest.approx(math.sqrt(0.5), abs=1e-6)


def test_the_distribution_of_speed() -> None:
    speed = np.random.default_rng(0).gamma(2, 3, (HEIGHT, WIDTH)).astype(np.float32)
    angle = np.random.default_rng(1).uniform(0, 2 * np.pi, speed.shape)
    row = measured(torch.from_numpy(np.stack([speed * np.cos(angle), speed * np.sin(angle)]).astype(np.float32)))
    assert row.speed_mean == pytest.approx(speed.mean(), rel=1e-5)
    assert row.speed_median == pytest.approx(np.sort(speed.ravel())[speed.size // 2], rel=1e-3)
    assert row.speed_p95 == pytest.approx(np.sort(speed.ravel())[round(0.95 * speed.size)], rel=1e-2)
    assert row.speed_max == pytest.approx(speed.max(), rel=1e-5)
    assert row.moving_area == pytest.approx((speed > MOVING).mean(), abs=1e-6)


def test_a_large_picture_is_sampled() -> None:
    height, width = 271, 483
    assert height * width > 4 * POINTS
    y, x = np.mgrid[0:height, 0:width]
    uv = np.stack([0.01 * (x - (width - 1) / 2) + 2, 0.01 * (y - (height - 1) / 2) - 1]).astype(np.float32)
    uv[0, 0, 0] = 900
    row = measured(torch.from_numpy(uv))
    speed = np.hypot(*uv)
    assert row.speed_max == pytest.approx(speed.max())
    assert row.speed_mean == pytest.approx(speed.mean(), rel=1e-5)
    assert row.speed_median == pytest.approx(np.median(speed), rel=0.02)
    assert row.speed_p95 == pytest.approx(np.percentile(speed, 95), rel=0.02)
    assert (row.pan, row.tilt, row.zoom, row.roll) == pytest.approx((2, -1, 1.01, 0), abs=1e-4)
    assert row.object_area == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (1, 40_000), (40_000, 1)])
def test_small_and_narrow_pictures(size: tuple[int, int]) -> None:
    row = measured(uniform(2, 1, *size))
    assert (row.pan, row.tilt, row.zoom, row.roll) == pytest.approx((2, 1, 1, 0), abs=1e-6)
    assert row.speed_median == pytest.approx(math.sqrt(5), rel=1e-5)


def test_an_object_against_the_camera() -> None:
    uv = uniform(6, 0)
    uv[:, 10:25, 20:40] = uniform(6, 8, 15, 20)
    row = measured(uv)
    share = 15 * 20 / (HEIGHT * WIDTH)
    assert (row.pan, row.tilt) == pytest.approx((6, 0), abs=0.02)
    assert row.object_area == pytest.approx(share, abs=1e-6)
    assert row.object_speed == pytest.approx(8 * share, abs=0.02)
    assert row.moving_area == 1


def test_what_hardly_differs_from_the_camera_is_no_object() -> None:
    uv = uniform(1, 0)
    uv[1, 10:25, 20:40] = 0.4
    assert measured(uv).object_area == 0
    uv = uniform(40, 0)
    uv[1, 10:25, 20:40] = 1
    assert measured(uv).object_area == 0
    uv[1, 10:25, 20:40] = 3
    assert measured(uv).object_area == pytest.approx(15 * 20 / (HEIGHT * WIDTH))


def test_unknown_flow_does_not_count() -> None:
    uv = uniform(3, 0)
    valid = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    valid[:, :20] = False
    uv[:, :, :20] = 500
    uv[0, 5:9] = torch.nan
    row = measured(uv, valid)
    assert (row.speed_mean, row.speed_max, row.coherence, row.pan) == pytest.approx((3, 3, 1, 3), abs=1e-5)
    nothing = measured(uv, torch.zeros_like(valid))
    assert {name for name in MOTION if getattr(nothing, name) is not None} == set()


@pytest.mark.parametrize(
    ("forward", "backward", "error", "occluded"),
    [
        ((3, 0), (-3, 0), 0, 3 / WIDTH),
        ((3, 0), (-3, 0.5), 0.5, 3 / WIDTH),
        ((3, 0), (-3, 4), 4, 1),
        # All leaves the picture: how well it matches there is unknown.
        ((100, 0), (-100, 0), None, 1),
    ],
)
def test_forward_and_backward(
    forward: tuple[float, float], backward: tuple[float, float], error: float | None, occluded: float
) -> None:
    row = measured(uniform(*forward), backward=uniform(*backward))
    assert row.fb_error == error
    assert row.occluded == pytest.approx(occluded, abs=1e-6)


def test_unknown_flow_does_not_count_where_it_is_compared() -> None:
    back = uniform(-3, 0.5)
    back[:, 10:20] = torch.nan
    row = measured(uniform(3, 0), backward=back)
    assert row.fb_error == 0.5
    # Ten rows, and the one before them: it is sampled between a known row and an unknown one.
    assert row.occluded == pytest.approx(1 - (HEIGHT - 11) * (WIDTH - 3) / (HEIGHT * WIDTH), abs=1e-6)


def pairs(frames: list[Frame]) -> list[FlowPair]:
    """Flow of (index of the second, 0) within each shot, as the engine pairs frames."""
    found = []
    for shot in map(list, shots(frames)):
        for first, second in pairwise(shot):
            found.append(FlowPair(first, second, FlowField(uniform(second.index, 0)), at=first))
    return found


def cut_clip() -> list[Frame]:
    """Shots that begin at 0, 5, 6 and 11, the second of a single frame."""
    parts = [moving.camera(5, pan=2), moving.camera(1, number=1), moving.camera(5, pan=2, number=2)]
    return moving.as_frames(np.concatenate([*parts, moving.camera(4, number=3)]))


def test_no_flow_crosses_a_cut() -> None:
    meter = Meter(cuts=True)
    frames = list(meter.watch(cut_clip()))
    assert [frame.index for frame in frames if frame.cut] == [5, 6, 11]
    rows = list(meter.rows(pairs(frames)))
    assert [row.frame for row in rows] == list(range(15))
    assert [row.frame for row in rows if row.cut] == [5, 6, 11]
    assert [row.frame for row in rows if row.pan is None] == [0, 5, 6, 11]
    assert all(row.pan == pytest.approx(row.frame) for row in rows if row.pan is not None)


def test_cuts_are_told_even_where_flow_crosses_them() -> None:
    meter = Meter()
    frames = list(meter.watch(cut_clip()))
    assert not any(frame.cut for frame in frames)
    rows = list(meter.rows(pairs(frames)))
    assert [row.frame for row in rows if row.cut] == [5, 6, 11]
    assert [row.frame for row in rows if row.pan is None] == [0]


def test_single_frames_at_the_end() -> None:
    meter = Meter(cuts=True)
    rows = list(meter.rows(pairs(list(meter.watch(cut_clip()[:6])))))
    assert [(row.frame, row.cut, row.pan is None) for row in rows][-2:] == [(4, False, False), (5, True, True)]


def row(frame: int, **values: Any) -> Row:
    known: dict[str, Any] = {"time": frame / 10, "cut": False, "cut_score": 0.0, "duplicate": 0.0}
    return Row(frame, **{**known, **values})


def summarised(*rows: Row) -> Summary:
    summary = Summary()
    assert list(summary.over(rows)) == list(rows)
    return summary


def test_summary() -> None:
    summary = summarised(
        row(0, cut_score=None, duplicate=None),
        row(1, speed_mean=2.0, direction=0.0, coherence=1.0, zoom=1.5),
        row(2, cut=True, cut_score=0.9),
        row(3, speed_mean=6.0, direction=90.0, coherence=0.5, zoom=1.1, duplicate=0.95),
        row(4, speed_mean=4.0, direction=180.0, coherence=0.5, zoom=1.0, duplicate=1.0),
    )
    assert (summary.frames, summary.measured, summary.cuts, summary.duplicates) == (5, 3, [2], [3, 4])
    assert set(summary.ranges) == {"cut_score", "duplicate", "speed_mean", "coherence", "zoom"}
    speed, zoom = summary.ranges["speed_mean"], summary.ranges["zoom"]
    assert (speed.mean, speed.least, speed.most, speed.at) == (4, 2, 6, 3)
    assert (zoom.mean, zoom.least, zoom.most, zoom.at) == pytest.approx((1.2, 1, 1.5, 1))
    # Mean motions of (2, 0), (0, 3) and (-2, 0), of speeds of 12.
    assert summary.direction == pytest.approx(90)
    assert summary.coherence == pytest.approx(0.25)


@pytest.mark.parametrize("make", [lambda: row(1), lambda: row(1, speed_mean=0.0)], ids=["unknown", "still"])
def test_summary_without_motion(make: Callable[[], Row]) -> None:
    summary = summarised(make())
    assert (summary.direction, summary.coherence) == (None, None)


def test_every_number_of_a_row_has_a_range() -> None:
    assert set(RANGED) == {each.name for each in fields(Row)} - {"frame", "time", "cut", "direction"}
    assert {name for name in MOTION if name not in CHECK} <= {*RANGED, "direction"}
