from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from flowcli.draw.tracks import Tracks, grid_points
from flowcli.types import FlowField, FlowPair, Frame

SIZES = [(1, 1), (3, 200), (33, 17), (65, 97)]


def _pair(uv: torch.Tensor, index: int, backward: torch.Tensor | None = None) -> FlowPair:
    image = np.zeros((*uv.shape[1:], 3), np.uint8)
    first, second = (Frame(image, number, Fraction(number, 25)) for number in (index, index + 1))
    return FlowPair(first, second, FlowField(uv), None if backward is None else FlowField(backward), at=first)


def _constant(u: float, v: float, height: int = 65, width: int = 97) -> torch.Tensor:
    return torch.tensor((u, v), dtype=torch.float32).view(2, 1, 1).repeat(1, height, width)


def _follow(uv: torch.Tensor, count: int, spacing: float = 8, length: int = 15) -> Iterator[np.ndarray]:
    tracks = Tracks(spacing, length)
    return (tracks.follow(_pair(uv, index)) for index in range(count))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("spacing", [1, 7.3, 40])
def test_grid_points_lie_in_the_middle_of_cells(height: int, width: int, spacing: float) -> None:
    points, cells = grid_points(height, width, spacing)
    assert cells.shape == (height, width)
    assert cells[points[:, 1], points[:, 0]].tolist() == list(range(len(points)))
    for number, (x, y) in enumerate(points):
        rows, columns = np.nonzero(cells == number)
        for place, across, size in ((y, rows, height), (x, columns, width)):
            assert abs(place - (across.min() + across.max()) / 2) <= 1
            assert np.ptp(across) + 1 <= max(1.5 * spacing + 1, 1)
            assert np.ptp(across) + 1 >= min(0.6 * spacing - 1, size)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("motion", [(0.0, 0.0), (2.5, -1.25), (-7.0, 3.0), (300.0, 0.0)])
def test_paths_of_a_constant_flow_are_straight(height: int, width: int, motion: tuple[float, float]) -> None:
    _, cells = grid_points(height, width, 8)
    lengths = []
    for paths in _follow(_constant(*motion, height, width), 20):
        assert paths.shape[::2] == (15, 2)
        steps = np.diff(paths, axis=0)
        steps = steps[np.isfinite(steps).all(axis=2)]
        np.testing.assert_allclose(steps, np.broadcast_to(motion, steps.shape), atol=2e-3)
        x, y = paths[-1][np.isfinite(paths[-1, :, 0])].T
        assert min(x.min(), y.min()) >= -0.5
        assert x.max() <= width - 0.5
        assert y.max() <= height - 0.5
        found = cells[np.rint(y).astype(int).clip(0, height - 1), np.rint(x).astype(int).clip(0, width - 1)]
        assert sorted(found) == list(range(cells.max() + 1)), "a point in each cell"
        lengths.append(int(np.isfinite(paths[..., 0]).sum(axis=0).max()))
    if motion == (0, 0):
        assert lengths == [*range(1, 15), 15, 15, 15, 15, 15, 15]
    elif motion == (300, 0):
        assert set(lengths) == {1}


def test_a_path_that_has_ended_is_kept_until_it_is_old() -> None:
    # All points leave the frame in their first step, and others start.
    for index, paths in enumerate(_follow(_constant(300, 0, 8, 97), 9, spacing=8, length=5)):
        known = np.isfinite(paths[..., 0])
        assert known.sum(axis=1).tolist() == [12 * (age <= index) for age in (4, 3, 2, 1, 0)]
        assert (known.sum(axis=0) == 1).all()


def test_points_end_where_the_flow_is_unknown() -> None:
    uv = _constant(1, 0)
    uv[:, 20:40, 30:50] = torch.nan
    *_, paths = _follow(uv, 10)
    before, now = paths[-2], paths[-1]
    x, y = before.T
    inside = (x > 30) & (x < 48) & (y > 20) & (y < 38)
    assert inside.sum() >= 4
    assert np.isnan(now[inside]).all()
    valid = torch.isfinite(uv[0])
    tracks = Tracks(8)
    for index in range(10):
        pair = _pair(_constant(1, 0), index)
        masked = tracks.follow(replace(pair, forward=FlowField(pair.forward.uv, valid)))
    np.testing.assert_array_equal(masked, paths)


def test_points_end_where_they_are_hidden() -> None:
    # What is at rest in the first frame is behind something else, of other motion, in the second.
    forward, backward = _constant(0, 0), _constant(0, 0)
    backward[0, 10:40, 50:60] = -8
    for given in (backward, None):
        tracks = Tracks(4)
        (points,) = tracks.follow(_pair(forward, 0, given))[-1:]
        paths = tracks.follow(_pair(forward, 1))
        hidden = (points[:, 0] >= 50) & (points[:, 0] < 60) & (points[:, 1] >= 10) & (points[:, 1] < 40)
        assert hidden.sum() >= 14
        np.testing.assert_array_equal(paths[-2, : len(points)], points)
        ended = np.isnan(paths[-1, : len(points), 0])
        np.testing.assert_array_equal(ended, hidden if given is not None else False)


def test_where_points_meet_the_oldest_goes_on() -> None:
    # All that is right of the middle comes to it, and stays.
    uv = _constant(0, 0, 8, 80)
    uv[0] = (40 - torch.arange(80.0)).clamp(max=0)
    *_, paths = _follow(uv, 6)
    ages = np.isfinite(paths[..., 0]).sum(axis=0)
    assert ages[paths[-1, :, 0] // 8 == 5].tolist() == [6]
    assert np.isfinite(paths[-1, :, 0]).sum() == 10


def test_all_points_start_anew_after_a_gap() -> None:
    tracks = Tracks(8)
    uv = _constant(1, 0)
    for index in (0, 1, 2):
        paths = tracks.follow(_pair(uv, index))
    assert np.isfinite(paths[-3:, :, 0]).all(axis=0).any()
    paths = tracks.follow(_pair(uv, 7))
    assert np.isnan(paths[:-1]).all()
    np.testing.assert_array_equal(paths[-1], grid_points(65, 97, 8)[0])


def test_paths_are_the_same_again() -> None:
    uv = 5 * torch.randn(2, 65, 97, generator=torch.Generator().manual_seed(0))
    for one, other in zip(_follow(uv, 12), _follow(uv, 12), strict=True):
        np.testing.assert_array_equal(one, other)
