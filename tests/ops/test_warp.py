"""Pictures where a flow leads: every kernel against loops, and against `geometry.backward_warp`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.geometry import Interpolation, _linear, backward_warp
from flowcli.ops import warp
from tests.ops.layouts import LAYOUTS, random

MODES = get_args(Interpolation)
Loop = Callable[[np.ndarray, np.ndarray], np.ndarray]


def given(device: str, height: int = 9, width: int = 37) -> tuple[Tensor, Tensor]:
    image, flow = random(3, 7, 11), 6 * random(2, height, width, seed=1)
    return image.float().to(device), flow.float().to(device)


def expected(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    result = np.zeros((len(image), *flow.shape[1:]))
    for y, x in np.ndindex(*flow.shape[1:]):
        place = [
            min(max(pixel + (0 if math.isnan(move) else move), 0), side - 1)
            for pixel, move, side in zip((y, x), (flow[1, y, x], flow[0, y, x]), image.shape[1:], strict=True)
        ]
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                share = max(0, 1 - abs(place[0] - row)) * max(0, 1 - abs(place[1] - column))
                result[:, y, x] += share * image[:, row, column]
    return result


def test_it_is_the_loop(device: str) -> None:
    image, flow = given(device)
    flow[:, 2, 3], flow[0, 4, 5], flow[1, 5, 6], flow[:, 6, 7] = torch.nan, 1e30, -torch.inf, torch.inf
    found = warp(image, flow).cpu().numpy()
    np.testing.assert_allclose(found, expected(image.cpu().double().numpy(), flow.cpu().double().numpy()), atol=1e-5)
    plain, _ = backward_warp(image[None], torch.where(flow.isnan(), 0, flow)[None])
    torch.testing.assert_close(warp(image, flow), plain[0], rtol=0, atol=1e-5)


def bicubic(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Keys' kernel with -3/4, at the places where it finds in a ramp what is there (`geometry._linear`)."""
    result = np.zeros((len(image), *flow.shape[1:]))
    for y, x in np.ndindex(*flow.shape[1:]):
        taps = []
        for pixel, move, side in zip((y, x), (flow[1, y, x], flow[0, y, x]), image.shape[1:], strict=True):
            place = min(max(pixel + (0 if math.isnan(move) else move), 0), side - 1)
            straight = float(_linear(torch.tensor(place, dtype=torch.float64)))
            taps.append([(min(max(each, 0), side - 1), keys(straight - each)) for each in around(place)])
        for row, down in taps[0]:
            for column, across in taps[1]:
                result[:, y, x] += down * across * image[:, row, column]
    return result


def around(place: float) -> range:
    return range(math.floor(place) - 1, math.floor(place) + 3)


def keys(distance: float) -> float:
    far = abs(distance)
    if far <= 1:
        return 1.25 * far**3 - 2.25 * far**2 + 1
    return -0.75 * (far**3 - 5 * far**2 + 8 * far - 4) if far < 2 else 0.0


def test_bicubic_is_the_loop(device: str) -> None:
    image, flow = given(device)
    flow[:, 2, 3], flow[0, 4, 5], flow[1, 5, 6], flow[:, 6, 7] = torch.nan, 1e30, -torch.inf, torch.inf
    found = warp(image, flow, "bicubic").cpu().numpy()
    np.testing.assert_allclose(found, bicubic(image.cpu().double().numpy(), flow.cpu().double().numpy()), atol=2e-5)
    plain, _ = backward_warp(image[None], torch.where(flow.isnan(), 0, flow)[None], mode="bicubic")
    torch.testing.assert_close(torch.from_numpy(found), plain[0].cpu(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(device: str, layout: str, mode: Interpolation) -> None:
    image, flow = given(device)
    laid_image, laid_flow = (LAYOUTS[layout](each[None])[0] for each in (image, flow))
    assert torch.equal(warp(laid_image, laid_flow, mode), warp(image, flow, mode))


def test_whole_pixels_are_copied(device: str) -> None:
    image, flow = given(device, 7, 11)
    flow[0], flow[1] = 2, -1
    # Plain torch has places as shares of the picture, which round.
    torch.testing.assert_close(warp(image, flow)[:, 1:, :-2], image[:, :-1, 2:], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("mode", "loop"), [("bilinear", expected), ("bicubic", bicubic)])
@pytest.mark.parametrize("size", [(1, 1), (1, 8), (17, 2)])
def test_small_pictures(device: str, size: tuple[int, int], mode: Interpolation, loop: Loop) -> None:
    image, flow = given(device)
    part = image[:, : size[0], : size[1]]
    found = loop(part.cpu().double().numpy(), flow.cpu().double().numpy())
    np.testing.assert_allclose(warp(part, flow, mode).cpu().numpy(), found, atol=1e-5)


def test_wrong_input_is_refused(library: object) -> None:
    image, flow = given("cpu")
    for wrong in ((image[0], flow), (image, flow[:1]), (image, flow[0]), (image[:, :0], flow)):
        with pytest.raises(ValueError, match=r"^image \(.*\) and flow \(.*\) do not fit$"):
            warp(*wrong)
    with pytest.raises(RuntimeError, match="do not fit, or are not float32 or bfloat16"):
        torch.ops.flowcli.warp(image.double(), flow)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [2, 4, 16, 37])
def test_channels_that_lie_together_stay_so(device: str, channels: int, mode: Interpolation) -> None:
    flow = given(device)[1]
    image = random(7, 11, channels).float().to(device).permute(2, 0, 1)
    for each in (image, image.bfloat16()):
        found = warp(each, flow, mode)
        assert found.dtype == each.dtype
        assert found.permute(1, 2, 0).is_contiguous()
        expected = warp(each.float().contiguous(), flow, mode).to(each.dtype)
        # Sums are in another order, which may round to the next number.
        rounded = 0.008 if each.dtype == torch.bfloat16 else 0
        torch.testing.assert_close(found, expected, rtol=rounded, atol=1e-5)
    planes = image.bfloat16().contiguous()
    assert torch.equal(warp(planes, flow, mode), warp(planes.float(), flow, mode).bfloat16())


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    image, flow = given(device)
    torch.library.opcheck(torch.ops.flowcli.warp, (image, flow))
    together = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    torch.library.opcheck(torch.ops.flowcli.warp, (together.bfloat16(), flow, True))
