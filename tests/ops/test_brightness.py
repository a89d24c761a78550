"""Levelled brightness: every kernel against loops in double precision, and what it is for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.ops import levelled_brightness
from flowcli.ops.library import FALLBACKS
from tests.ops import oracle
from tests.ops.layouts import LAYOUTS, random

CELL, LEAST = 4, 0.02


def loops(image: Tensor, cell: int = CELL) -> Tensor:
    each = [oracle.levelled_brightness(one, cell, LEAST) for one in image.double().cpu().numpy()]
    return torch.from_numpy(np.stack(each))[:, None]


@pytest.mark.parametrize(
    ("rows", "columns", "cell"), [(1, 1, 4), (1, 5, 4), (6, 1, 2), (3, 37, 4), (2, 3, 3), (3, 4, 1)]
)
def test_it_is_the_loop(device: str, rows: int, columns: int, cell: int) -> None:
    image = random(2, 3, cell * rows, cell * columns).float().to(device)
    levelled = levelled_brightness(image, cell, LEAST)
    assert levelled.dtype == torch.float32
    assert levelled.is_contiguous()
    torch.testing.assert_close(levelled.double().cpu(), loops(image, cell), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(device: str, layout: str) -> None:
    image = LAYOUTS[layout](random(2, 3, 12, 20).float().to(device))
    torch.testing.assert_close(
        levelled_brightness(image, CELL, LEAST).double().cpu(), loops(image), rtol=1e-5, atol=1e-5
    )


@pytest.mark.slow
def test_a_high_picture_is_the_loop(device: str) -> None:
    """High enough for several threads, which meet inside a picture and between two."""
    image = random(3, 3, 92, 260).float().to(device)
    torch.testing.assert_close(
        levelled_brightness(image, CELL, LEAST).double().cpu(), loops(image), rtol=1e-5, atol=1e-5
    )


def test_no_picture_at_all(device: str) -> None:
    assert levelled_brightness(torch.zeros(0, 3, 8, 12, device=device), CELL, LEAST).shape == (0, 1, 8, 12)


def smooth_noise(height: int, width: int) -> Tensor:
    """(1, 3, H, W) in [0, 1], without detail that a shift by fractions of a pixel would lose."""
    noise = np.random.default_rng(0).random((height // 4, width // 4, 3), np.float32)
    smooth = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    return torch.from_numpy(smooth).permute(2, 0, 1)[None]


def test_it_forgets_light_and_contrast(device: str) -> None:
    image = smooth_noise(64, 96).to(device)
    levelled = levelled_brightness(image * 2 - 1, CELL, LEAST)
    assert levelled.shape == (1, 1, 64, 96)
    assert levelled.mean().abs() < 0.1
    assert 0.7 < levelled.std() < 1.3
    other = levelled_brightness((0.3 + 0.5 * image) * 2 - 1, CELL, LEAST)
    assert (other - levelled).abs().mean() < 0.05
    flat = levelled_brightness(torch.full((1, 3, 32, 32), 0.3, device=device), CELL, LEAST)
    assert flat.abs().max() < 1e-3


def test_gradients(device: str) -> None:
    image = random(1, 3, 8, 12).float().to(device)
    grads: list[Tensor] = []
    for run in (torch.ops.flowcli.levelled_brightness, FALLBACKS["levelled_brightness"]):
        given = image.clone().requires_grad_()
        grads += torch.autograd.grad(run(given, CELL, LEAST).square().sum(), given)
    assert grads[0].any()
    torch.testing.assert_close(*grads)


def test_gradient_is_that_of_the_formula() -> None:
    image = random(1, 3, 4, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: FALLBACKS["levelled_brightness"](given, CELL, 0.5), (image,))


def test_wrong_input_is_refused() -> None:
    for shape in ((1, 3, 8, 10), (1, 3, 9, 12), (1, 1, 8, 12), (3, 8, 12), (1, 3, 0, 12)):
        with pytest.raises(
            ValueError, match=r"^image has the shape \(.*\), must have \(N, 3, H, W\) with whole cells of"
        ):
            levelled_brightness(torch.zeros(shape), CELL, LEAST)
    with pytest.raises(ValueError, match=r"with whole cells of 0x0$"):
        levelled_brightness(torch.zeros(1, 3, 8, 12), 0, LEAST)


def test_native_kernel_checks_too(library: object) -> None:
    image, run = torch.zeros(1, 3, 8, 12), torch.ops.flowcli.levelled_brightness
    for wrong in (image.double(), image[:, :2], image[0]):
        with pytest.raises(RuntimeError, match="image is"):
            run(wrong, CELL, LEAST)
    for cell in (-4, 0, 3):
        with pytest.raises(RuntimeError, match=f"cells of {cell} do not fit"):
            run(image, cell, LEAST)


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    image = random(2, 3, 8, 12).float().to(device).requires_grad_()
    torch.library.opcheck(torch.ops.flowcli.levelled_brightness, (image, CELL, LEAST))
