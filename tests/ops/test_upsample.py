"""Convex upsampling: every kernel against loops, in every dtype and layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.ops import convex_upsample
from tests.ops import oracle
from tests.ops.layouts import LAYOUTS, random


def loops(flow: Tensor, mask: Tensor) -> Tensor:
    pairs = zip(flow.double().cpu().numpy(), mask.double().cpu().numpy(), strict=True)
    return torch.from_numpy(np.stack([oracle.convex_upsample(*pair) for pair in pairs]))


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (2, 1)])
def test_it_is_the_loop(device: str, factor: int, height: int, width: int) -> None:
    flow, mask = random(2, 2, height, width), 3 * random(2, 9 * factor**2, height, width, seed=1)
    actual = convex_upsample(flow.to(device), mask.to(device)).cpu()
    torch.testing.assert_close(actual, loops(flow, mask), rtol=1e-12, atol=1e-12)
    actual = convex_upsample(flow.float().to(device), mask.float().to(device))
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double().cpu(), loops(flow.float(), mask.float()), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_dtypes_and_layouts(device: str, dtype: torch.dtype, layout: str) -> None:
    """The mask may be rough: what is computed with it is not."""
    flow = LAYOUTS[layout](random(2, 2, 4, 5).float().to(device))
    mask = LAYOUTS[layout]((3 * random(2, 144, 4, 5, seed=1)).to(dtype).to(device))
    actual = convex_upsample(flow, mask)
    assert actual.dtype == torch.float32
    assert actual.is_contiguous()
    torch.testing.assert_close(actual.double().cpu(), loops(flow, mask), rtol=1e-5, atol=1e-5)


def test_large_weights_do_not_overflow(device: str) -> None:
    flow, mask = random(1, 2, 3, 4).float().to(device), torch.full((1, 36, 3, 4), -1e4, device=device)
    mask[:, 16:20] = 1e4  # All weight on the vector of the pixel itself.
    expected = 2 * flow.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(convex_upsample(flow, mask), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_gradients(device: str, dtype: torch.dtype) -> None:
    flow, mask = random(1, 2, 2, 3).to(device), random(1, 36, 2, 3, seed=1).to(device)
    if dtype == torch.float64:
        assert torch.autograd.gradcheck(convex_upsample, (flow.requires_grad_(), mask.requires_grad_()))
    else:
        rough = mask.to(dtype).requires_grad_()
        convex_upsample(flow.float(), rough).square().sum().backward()
        exact = rough.detach().double().requires_grad_()
        convex_upsample(flow.float().double(), exact).square().sum().backward()
        assert rough.grad is not None
        assert exact.grad is not None
        torch.testing.assert_close(rough.grad.double(), exact.grad, rtol=2**-7, atol=2**-7)


def test_wrong_input_is_refused() -> None:
    flow = torch.zeros(1, 2, 3, 4)
    with pytest.raises(ValueError, match=r"^flow has the shape \(1, 2, 3, 4\), must have \(1, 2, 3, 5\)$"):
        convex_upsample(flow, torch.zeros(1, 9, 3, 5))
    for channels in (0, 8, 18, 37):
        with pytest.raises(ValueError, match=rf"^mask has {channels} channels, must have 9 k\^2$"):
            convex_upsample(flow, torch.zeros(1, channels, 3, 4))


def test_native_kernel_checks_too(library: object) -> None:
    flow, run = torch.zeros(1, 2, 3, 4), torch.ops.flowcli.convex_upsample
    with pytest.raises(RuntimeError, match="do not fit"):
        run(flow, torch.zeros(1, 9, 3, 5))
    with pytest.raises(RuntimeError, match="mask has 18 channels"):
        run(flow, torch.zeros(1, 18, 3, 4))


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    flow, mask = random(2, 2, 3, 4).to(device), random(2, 36, 3, 4, seed=1).to(device)
    torch.library.opcheck(torch.ops.flowcli.convex_upsample, (flow.requires_grad_(), mask.requires_grad_()))
