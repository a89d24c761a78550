"""Pictures on their way into networks: every kernel against numpy, at every place and in every layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.geometry import Crop
from flowcli.ops import unpack_pixels, unshuffle_pixels
from flowcli.ops.library import FALLBACKS
from tests.ops.layouts import LAYOUTS, random

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def colours(*shape: int) -> Tensor:
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def padded(pixels: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    below, right = height - top - pixels.shape[1], width - left - pixels.shape[2]
    wide = np.pad(pixels.cpu().numpy(), ((0, 0), (top, below), (left, right), (0, 0)), "edge")
    return torch.from_numpy((wide.astype(np.float32) / np.float32(255)).transpose(0, 3, 1, 2).copy())


def unshuffled(image: Tensor, factor: int) -> Tensor:
    count, channels, height, width = image.shape
    cells = image.cpu().double().numpy().reshape(count, channels, height // factor, factor, width // factor, factor)
    order = cells.transpose(0, 1, 3, 5, 2, 4)
    return torch.from_numpy(order.reshape(count, -1, height // factor, width // factor).copy())


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 67), (64, 96), (33, 2)])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_pixels_are_unpacked_and_padded(device: str, height: int, width: int, count: int) -> None:
    pixels = colours(count, height, width).to(device)
    planes, part = unpack_pixels(pixels, 32, 64)
    high, wide = max(64, height), max(64, -(-width // 32) * 32)
    assert part == Crop((high - height) // 2, (wide - width) // 2, height, width)
    assert planes.is_contiguous()
    assert torch.equal(planes.cpu(), padded(pixels, part.top, part.left, high, wide))
    alone, part = unpack_pixels(pixels)
    assert part == Crop(0, 0, height, width)
    assert torch.equal(alone.cpu(), padded(pixels, 0, 0, height, width))


@pytest.mark.parametrize(("top", "left"), [(0, 0), (5, 0), (0, 8), (2, 3)])
def test_any_place(device: str, top: int, left: int) -> None:
    pixels = colours(2, 3, 4).to(device)
    planes = torch.ops.flowcli.unpack_pixels(pixels, top, left, 8, 12)
    assert torch.equal(planes.cpu(), padded(pixels, top, left, 8, 12))


def test_every_value_is_its_255th_part(device: str) -> None:
    values = torch.arange(256, dtype=torch.uint8, device=device).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    planes, _ = unpack_pixels(values)
    expected = np.arange(256, dtype=np.float32) / np.float32(255)
    for plane in planes[0].cpu().flatten(1).numpy():
        np.testing.assert_array_equal(plane, expected)


def test_pixels_that_lie_apart(device: str) -> None:
    wide = colours(2, 12, 140).to(device)
    for view in (wide[:, ::2, 3::2], wide.transpose(1, 2), wide.flip(3)[..., 1:, :]):
        assert torch.equal(unpack_pixels(view, 16)[0], unpack_pixels(view.contiguous(), 16)[0])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("factor", "rows", "columns"), [(2, 3, 5), (4, 1, 1), (4, 2, 37), (3, 2, 7)])
def test_pixels_become_channels(
    device: str, dtype: torch.dtype, layout: str, factor: int, rows: int, columns: int
) -> None:
    image = LAYOUTS[layout](random(2, 3, factor * rows, factor * columns).float().to(device))
    cells = unshuffle_pixels(image, factor, dtype)
    assert cells.dtype == dtype
    assert cells.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(cells.cpu(), unshuffled(image.to(dtype), factor).to(dtype))


@pytest.mark.parametrize("shape", [(0, 3, 4, 8), (1, 0, 4, 8), (1, 3, 0, 8), (2, 3, 4, 0)])
def test_nothing_to_unshuffle(library: object, shape: tuple[int, ...]) -> None:
    count, channels, height, width = shape
    cells = torch.ops.flowcli.unshuffle_pixels(torch.zeros(shape), 4, torch.bfloat16)
    assert cells.shape == (count, 16 * channels, height // 4, width // 4)


def test_gradients(device: str) -> None:
    image = random(1, 2, 4, 6).float().to(device).requires_grad_()
    weights = random(1, 8, 2, 3, seed=1).float().to(device)
    (grad,) = torch.autograd.grad((unshuffle_pixels(image, 2, torch.float32) * weights).sum(), image)
    assert torch.equal(grad, torch.nn.functional.pixel_shuffle(weights, 2))


def test_wrong_input_is_refused() -> None:
    for wrong in (torch.zeros(1, 4, 5, 3), colours(4, 5), colours(1, 4, 5)[..., :2], colours(1, 0, 5)):
        with pytest.raises(
            ValueError, match=r"^pixels are torch\.\w+ of \(.*\), must be torch.uint8 of \(N, H, W, 3\)$"
        ):
            unpack_pixels(wrong)
    for factor in (-1, 0, 1, 3):
        with pytest.raises(ValueError, match=rf"^factor is {factor}, must be 2 or more and divide 8x4$"):
            unshuffle_pixels(torch.zeros(1, 3, 8, 4), factor, torch.float32)


def test_native_kernels_check_too(library: object) -> None:
    pixels, image, run = colours(1, 4, 5), torch.zeros(1, 3, 8, 12), torch.ops.flowcli
    with pytest.raises(RuntimeError, match="pixels are Float"):
        run.unpack_pixels(pixels.float(), 0, 0, 4, 5)
    for place in ((-1, 0, 8, 8), (0, -1, 8, 8), (5, 0, 8, 8), (0, 4, 8, 8), (0, 0, 3, 8)):
        with pytest.raises(RuntimeError, match="do not fit into"):
            run.unpack_pixels(pixels, *place)
    with pytest.raises(RuntimeError, match="image is Double"):
        run.unshuffle_pixels(image.double(), 2, torch.float32)
    for factor in (-2, 0, 8):
        with pytest.raises(RuntimeError, match=f"factor {factor} does not fit"):
            run.unshuffle_pixels(image, factor, torch.float32)


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    check, run = torch.library.opcheck, torch.ops.flowcli
    check(run.unpack_pixels, (colours(2, 5, 6).to(device), 1, 2, 8, 16))
    image = random(2, 3, 8, 12).float().to(device)
    for dtype in DTYPES:
        check(run.unshuffle_pixels, (image.detach().requires_grad_(), 4, dtype))


def test_the_fallback_is_pad_and_pixel_unshuffle() -> None:
    """The names are those of torch: channels of one pixel lie as it has them."""
    image = random(2, 3, 8, 12).float()
    assert torch.equal(
        FALLBACKS["unshuffle_pixels"](image, 4, torch.float32), torch.nn.functional.pixel_unshuffle(image, 4)
    )
