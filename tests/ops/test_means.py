"""Means over cells: every kernel against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.ops import cell_means
from tests.ops.layouts import LAYOUTS, random


def loops(image: np.ndarray, cell: int) -> np.ndarray:
    channels, height, width = image.shape
    known = np.where(np.isfinite(image), image, 0)
    means = np.zeros((channels, -(-height // cell), -(-width // cell)))
    for row, column in np.ndindex(*means.shape[1:]):
        part = known[:, cell * row : cell * (row + 1), cell * column : cell * (column + 1)]
        means[:, row, column] = part.mean((1, 2))
    return means


def picture(device: str) -> Tensor:
    """(3, 13, 41) uint8, the colours of a pixel side by side, as cameras give it."""
    pixels = np.random.default_rng(0).integers(0, 256, (13, 41, 3), np.uint8)
    return torch.from_numpy(pixels).to(device).permute(2, 0, 1)


@pytest.mark.parametrize("cell", [1, 2, 3, 7, 50])
def test_it_is_the_loop(device: str, cell: int) -> None:
    image = picture(device)
    for given in (image, image.contiguous(), image.float(), image.float().contiguous()):
        found = cell_means(given, cell)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.cpu().numpy(), loops(given.cpu().numpy(), cell), rtol=1e-5)


def test_what_is_not_finite_counts_as_nothing(device: str) -> None:
    image = 6 * random(2, 9, 37).float()
    image[0, 2, 3], image[1, 4, 5], image[1, 8, 36] = torch.nan, torch.inf, -torch.inf
    found = cell_means(image.to(device), 4).cpu().numpy()
    np.testing.assert_allclose(found, loops(image.double().numpy(), 4), atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(device: str, layout: str) -> None:
    image = random(1, 3, 12, 21).float().to(device)
    assert torch.equal(cell_means(LAYOUTS[layout](image)[0], 5), cell_means(image[0], 5))


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (17, 2)])
def test_small_pictures(device: str, size: tuple[int, int]) -> None:
    image = picture(device)[:, : size[0], : size[1]]
    np.testing.assert_allclose(cell_means(image, 2).cpu().numpy(), loops(image.cpu().numpy(), 2), rtol=1e-5)


def test_wrong_input_is_refused(library: object) -> None:
    image = picture("cpu")
    for wrong, cell in ((image[0], 2), (image[:, :0], 2), (image, 0)):
        with pytest.raises(ValueError, match=r"^an image \(.*\) has no cells of \d pixels$"):
            cell_means(wrong, cell)
    with pytest.raises(RuntimeError, match="image is Double"):
        torch.ops.flowcli.cell_means(image.double(), 2)


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    torch.library.opcheck(torch.ops.flowcli.cell_means, (picture(device), 3))
