"""Forward splatting: every kernel against loops in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.ops import forward_splat
from flowcli.ops.library import FALLBACKS
from tests import reference
from tests.ops.layouts import LAYOUTS, random


def given(height: int, width: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    image, flow = random(2, 3, height, width), 3 * random(2, 2, height, width, seed=1)
    weight = random(2, 1, height, width, seed=2).abs()
    return image.float().to(device), flow.float().to(device), weight.float().to(device)


@pytest.mark.parametrize("size", [(9, 13), (1, 1), (1, 8), (17, 2)])
def test_it_is_the_loop(device: str, size: tuple[int, int]) -> None:
    image, flow, weight = given(*size, device)
    total, arrived = forward_splat(image, flow, weight)
    for k in range(2):
        image_k, flow_k, weight_k = image[k].cpu().numpy(), flow[k].cpu().numpy(), weight[k, 0].cpu().numpy()
        expected = reference.splat_forward(image_k, flow_k, weight_k)
        np.testing.assert_allclose(total[k].cpu().numpy(), expected[0], atol=1e-4)
        np.testing.assert_allclose(arrived[k, 0].cpu().numpy(), expected[1], atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(device: str, layout: str) -> None:
    image, flow, weight = given(6, 7, device)
    laid = [LAYOUTS[layout](each) for each in (image, flow, weight)]
    for found, expected in zip(forward_splat(*laid), forward_splat(image, flow, weight), strict=True):
        torch.testing.assert_close(found, expected)


def test_whole_pixels_move_exactly(device: str) -> None:
    image, flow, _ = given(8, 9, device)
    flow = torch.zeros_like(flow)
    flow[:, 0], flow[:, 1] = 2, -1
    total, arrived = forward_splat(image, flow, torch.ones_like(image[:, :1]))
    assert torch.equal(total[:, :, :-1, 2:], image[:, :, 1:, :-2])
    assert not arrived[:, :, -1].any()
    assert not arrived[..., :2].any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -1e30, 1e10])
def test_what_leaves_the_frame_is_dropped(device: str, value: float) -> None:
    image, flow, weight = given(4, 5, device)
    total, arrived = forward_splat(image, torch.full_like(flow, value), weight)
    assert not total.any()
    assert not arrived.any()


def test_gradients(device: str) -> None:
    image, flow, weight = given(5, 6, device)
    values = torch.cat((image * weight, weight), 1)
    grads: list[tuple[Tensor, ...]] = []
    for run in (torch.ops.flowcli.splat, FALLBACKS["splat"]):
        leaves = [each.clone().requires_grad_() for each in (values, flow)]
        grads.append(torch.autograd.grad(run(*leaves).square().sum(), leaves))
    for native, plain in zip(*grads, strict=True):
        assert native.any()
        torch.testing.assert_close(native, plain)


def test_gradient_is_that_of_the_formula() -> None:
    leaves = random(1, 2, 4, 5).requires_grad_(), random(1, 2, 4, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(FALLBACKS["splat"], leaves)


def test_wrong_input_is_refused() -> None:
    image, flow, weight = given(4, 5, "cpu")
    for wrong in ((image, flow[:1], weight), (image, flow[..., 1:], weight), (image, flow, image)):
        with pytest.raises(
            ValueError, match=r"^flow \(.*\) and weight \(.*\) do not fit to an image of \(2, 3, 4, 5\)$"
        ):
            forward_splat(*wrong)


def test_native_kernel_checks_too(library: object) -> None:
    image, flow, _ = given(4, 5, "cpu")
    for wrong in ((image.double(), flow), (image, flow[:1]), (image, flow[..., 1:]), (image[0], flow[0])):
        with pytest.raises(RuntimeError, match="do not fit, or are not float32"):
            torch.ops.flowcli.splat(*wrong)


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    image, flow, _ = given(4, 5, device)
    torch.library.opcheck(torch.ops.flowcli.splat, (image.requires_grad_(), flow.requires_grad_()))
