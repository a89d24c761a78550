"""Which pixels give way where several come from one place: every kernel against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.ops.crowd import crowded_out
from tests import reference
from tests.ops.layouts import LAYOUTS, random


def given(device: str, height: int = 11, width: int = 19) -> tuple[Tensor, Tensor]:
    flow, error = 2 * random(2, height, width), 4 * random(height, width, seed=1).abs()
    return flow.float().to(device), error.float().to(device)


def expected(flow: np.ndarray, error: np.ndarray, most: float, margin: float) -> np.ndarray:
    height, width = error.shape
    _, cover = reference.splat_forward(np.zeros((1, height, width)), flow, np.ones((height, width)))
    least = np.full((height + 2, width + 2), np.inf)

    def place(y: int, x: int) -> tuple[float, float]:
        return min(max(y + flow[1, y, x], 0), height - 1), min(max(x + flow[0, y, x], 0), width - 1)

    for y, x in np.ndindex(height, width):
        row, column = (round(side) + 1 for side in place(y, x))
        least[row, column] = min(least[row, column], error[y, x])
    result = np.zeros((height, width), bool)
    for y, x in np.ndindex(height, width):
        there_y, there_x = place(y, x)
        crowd = sum(
            cover[row, column] * max(0, 1 - abs(there_y - row)) * max(0, 1 - abs(there_x - column))
            for row in range(height)
            for column in range(width)
        )
        row, column = round(there_y), round(there_x)
        result[y, x] = crowd > most and error[y, x] - least[row : row + 3, column : column + 3].min() > margin
    return result


def test_it_is_the_loop(device: str) -> None:
    flow, error = given(device)
    found = crowded_out(flow, error, 1.6, 1.0).cpu().numpy()
    assert 0.05 < found.mean() < 0.5
    assert (found == expected(flow.cpu().double().numpy(), error.cpu().double().numpy(), 1.6, 1.0)).mean() > 0.995


def test_of_two_that_come_from_one_place_the_worse_gives_way(device: str) -> None:
    flow, error = torch.zeros(2, 6, 20, device=device), torch.zeros(6, 20, device=device)
    # The right half comes from where the left half is, and looks unlike it.
    flow[0, :, 10:], error[:, 10:] = -10, 5
    assert crowded_out(flow, error, 1.6, 1.0)[:, 10:].all()
    assert not crowded_out(flow, error, 1.6, 1.0)[:, :10].any()
    assert not crowded_out(flow, error, 2.5, 1.0).any()
    assert not crowded_out(flow, error, 1.6, 6.0).any()


def test_far_places_count_at_the_border(device: str) -> None:
    flow, error = given(device)
    far = torch.where(torch.rand(error.shape, generator=torch.Generator().manual_seed(0)).to(device) < 0.1, 1e20, flow)
    assert crowded_out(far, error, 1.6, 1.0).shape == error.shape


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(device: str, layout: str) -> None:
    flow, error = given(device)
    laid = [LAYOUTS[layout](each[None])[0] for each in (flow, error[None])]
    assert torch.equal(crowded_out(laid[0], laid[1][0], 1.6, 1.0), crowded_out(flow, error, 1.6, 1.0))


def test_wrong_input_is_refused(library: object) -> None:
    flow, error = given("cpu")
    for wrong in ((flow[:1], error), (flow[..., 1:], error), (flow[0], error)):
        with pytest.raises(ValueError, match=r"^flow \(.*\) and error \(.*\) do not fit$"):
            crowded_out(*wrong, 1.6, 1.0)
    with pytest.raises(RuntimeError, match="do not fit, or are not float32"):
        torch.ops.flowcli.crowded_out(flow.double(), error, 1.6, 1.0)


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    torch.library.opcheck(torch.ops.flowcli.crowded_out, (*given(device), 1.6, 1.0))
