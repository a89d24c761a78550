"""Maps carried along a flow, against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from flowcli.nets.warp import carry_map


def looped(values: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """(C, h, w): values (C, h, w) carried along one flow (u, v), in pixels of a picture (2, H, W), cell by cell."""
    height, width = values.shape[1:]
    tall, wide = flow.shape[1:]
    result = np.zeros_like(values)
    for row in range(height):
        for column in range(width):
            # The flow is the same everywhere, so that it matters only how it is scaled.
            x = column + flow[0, 0, 0] * width / wide
            y = row + flow[1, 0, 0] * height / tall
            x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
            left, top = math.floor(x), math.floor(y)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            p, q = x - left, y - top
            result[:, row, column] = (1 - q) * ((1 - p) * values[:, top, left] + p * values[:, top, right]) + q * (
                (1 - p) * values[:, bottom, left] + p * values[:, bottom, right]
            )
    return result


@pytest.mark.parametrize("cells", [(65, 97), (17, 25), (9, 12), (130, 97)])
@pytest.mark.parametrize("motion", [(3.0, -2.0), (0.5, 7.25), (-60.0, 0.0)])
def test_cells_are_areas_and_borders_are_repeated(cells: tuple[int, int], motion: tuple[float, float]) -> None:
    values = np.random.default_rng(2).normal(0, 1, (4, *cells)).astype(np.float32)
    flow = np.broadcast_to(np.array(motion, np.float32)[:, None, None], (2, 65, 97)).copy()
    found = carry_map(torch.from_numpy(values)[None], torch.from_numpy(flow))[0].numpy()
    # Positions are float32, and right to 1e-5 cells of 130; values of neighbours differ by up to 8.
    np.testing.assert_allclose(found, looped(values, flow), rtol=0, atol=1e-4)


def test_what_does_not_move_is_copied_exactly() -> None:
    values = torch.from_numpy(np.random.default_rng(3).normal(0, 1e3, (1, 7, 17, 25)).astype(np.float32))
    assert torch.equal(carry_map(values, torch.zeros(2, 65, 97)), values)


def test_whole_cells_move_exactly_enough_to_keep_classes() -> None:
    scores = torch.zeros(1, 3, 16, 24)
    labels = torch.from_numpy(np.random.default_rng(4).integers(0, 3, (16, 24)))
    scores.scatter_(1, labels[None, None], 1.0)
    flow = torch.zeros(2, 64, 96)
    flow[0], flow[1] = 8.0, -4.0
    carried = carry_map(scores, flow)[0].argmax(0)
    assert torch.equal(carried[1:, :-2], labels[:-1, 2:])


def test_factors_scale_what_is_carried() -> None:
    values = torch.ones(1, 2, 4, 5)
    factors = torch.tensor([2.0, -1.0]).view(2, 1, 1)
    assert torch.equal(carry_map(values, torch.zeros(2, 8, 10), factors), values * factors)


def test_unknown_flow_stays_finite() -> None:
    flow = torch.full((2, 8, 10), float("nan"))
    assert carry_map(torch.ones(1, 2, 4, 5), flow).isfinite().all()
