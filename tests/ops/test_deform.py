"""Deformable convolution: every kernel against loops, in every dtype and layout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.ops import deform_conv
from tests.ops import oracle
from tests.ops.layouts import LAYOUTS, NAN, random

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}
"""The result is rounded to the dtype, and nothing before it but to float32."""
Given = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def given(
    channels: int = 4,
    height: int = 5,
    width: int = 7,
    groups: int = 2,
    kernel: tuple[int, int] = (3, 3),
    count: int = 2,
) -> Given:
    """Features, offsets by a few pixels, mask, weight of three outputs, and bias."""
    places = groups * kernel[0] * kernel[1]
    return (
        random(count, channels, height, width),
        2 * random(count, 2 * places, height, width, seed=1),
        random(count, places, height, width, seed=2).sigmoid(),
        random(3, channels, *kernel, seed=3) / 4,
        random(3, seed=4),
    )


def changed(given: Given, change: Callable[[Tensor], Tensor], most: int = 5) -> Given:
    """All of them changed, or only the first few."""
    one, two, three, four, five = (change(each) if place < most else each for place, each in enumerate(given))
    return one, two, three, four, five


def loops(given: Given) -> Tensor:
    features, offsets, mask, weight, bias = (each.double().cpu().numpy() for each in given)
    pictures = zip(features, offsets, mask, strict=True)
    return torch.from_numpy(np.stack([oracle.deform_conv(*each, weight, bias) for each in pictures]))


def is_channels_last(tensor: Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "height", "width", "groups", "kernel"),
    [
        (4, 5, 7, 2, (3, 3)),
        (3, 1, 1, 1, (3, 3)),
        (6, 1, 9, 3, (1, 5)),
        (5, 4, 1, 5, (3, 1)),
        (2, 3, 4, 1, (1, 1)),
        (32, 4, 5, 4, (3, 3)),
        (16, 3, 4, 1, (3, 3)),
    ],
)
def test_it_is_the_loop(
    device: str, channels: int, height: int, width: int, groups: int, kernel: tuple[int, int]
) -> None:
    exact = given(channels, height, width, groups, kernel)
    actual = deform_conv(*changed(exact, lambda each: each.to(device)))
    torch.testing.assert_close(actual.cpu(), loops(exact), rtol=1e-12, atol=1e-12)
    single = changed(exact, Tensor.float)
    actual = deform_conv(*changed(single, lambda each: each.to(device)))
    torch.testing.assert_close(actual.double().cpu(), loops(single), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_dtypes_and_layouts(device: str, dtype: torch.dtype, layout: str) -> None:
    rough = changed(given(), lambda each: each.to(dtype).to(device))
    laid_out = changed(rough, LAYOUTS[layout], most=4)
    actual = deform_conv(*laid_out)
    assert actual.dtype == dtype
    assert is_channels_last(actual)
    torch.testing.assert_close(actual.double().cpu(), loops(rough), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_offsets_and_mask_that_are_slices_of_one_tensor(device: str) -> None:
    """As a network has them: one convolution gives both."""
    features, offsets, mask, weight, bias = changed(given(), lambda each: each.float().to(device))
    both = torch.cat([offsets, mask], 1).contiguous(memory_format=torch.channels_last)
    sliced = features, *both.split((offsets.shape[1], mask.shape[1]), 1), weight, bias
    torch.testing.assert_close(deform_conv(*sliced), deform_conv(features, offsets, mask, weight, bias))


def test_a_large_map_is_the_loop(device: str) -> None:
    """Large enough for several threads and several products, which meet inside a picture and between two."""
    large = given(2, 40, 70, 2, kernel=(1, 1))
    actual = deform_conv(*changed(large, lambda each: each.to(device))).cpu()
    torch.testing.assert_close(actual, loops(large), rtol=1e-12, atol=1e-12)


def test_without_offsets_it_is_a_convolution(device: str) -> None:
    features, offsets, mask, weight, bias = changed(given(), lambda each: each.float().to(device))
    actual = deform_conv(features, torch.zeros_like(offsets), torch.ones_like(mask), weight, bias)
    torch.testing.assert_close(actual, F.conv2d(features, weight, bias, padding=1), rtol=1e-5, atol=1e-5)


def test_samples_outside_are_zero(device: str) -> None:
    features, offsets, mask, weight, bias = changed(given(), lambda each: each.float().to(device))
    for far in (1e4, -1e4, 1e30, -1e30, float("inf"), float("-inf"), NAN):
        actual = deform_conv(features, torch.full_like(offsets, far), mask, weight, bias)
        torch.testing.assert_close(actual, bias[:, None, None].expand_as(actual))


def test_no_map_at_all(device: str) -> None:
    assert deform_conv(*changed(given(count=0), lambda each: each.to(device))).shape == (0, 3, 5, 7)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [(3, 3), (1, 3)])
def test_gradients(device: str, kernel: tuple[int, int]) -> None:
    small = given(4, 3, 4, 2, kernel, count=1)
    assert torch.autograd.gradcheck(deform_conv, changed(small, lambda each: each.to(device).requires_grad_()))


def test_gradients_in_half_precision(device: str) -> None:
    rough = changed(given(), lambda each: each.bfloat16().to(device).requires_grad_())
    exact = changed(rough, lambda each: each.detach().double().requires_grad_())
    for each in (rough, exact):
        deform_conv(*each).square().sum().backward()
    for one, other in zip(rough, exact, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        scale = float(other.grad.abs().max())
        torch.testing.assert_close(one.grad.double() / scale, other.grad / scale, rtol=2**-6, atol=2**-6)


def test_autocast_takes_the_widest_dtype(device: str) -> None:
    features, offsets, mask, weight, bias = changed(given(), lambda each: each.float().to(device))
    known, where, scales = features.bfloat16(), offsets.bfloat16(), mask.bfloat16()
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        actual = deform_conv(known, where, scales, weight, bias)
    assert actual.dtype == torch.float32
    expected = deform_conv(known.float(), where.float(), scales.float(), weight, bias)
    torch.testing.assert_close(actual, expected)


def test_wrong_input_is_refused() -> None:
    features, offsets, mask, weight, bias = given()
    fit = r"^weight has the shape .* and bias .*, must have \(O, 4, k, l\), k and l odd, and \(O,\)$"
    for wrong in (weight[:, :3], weight[:, :, :2]):
        with pytest.raises(ValueError, match=fit):
            deform_conv(features, offsets, mask, wrong, bias)
    with pytest.raises(ValueError, match=fit):
        deform_conv(features, offsets, mask, weight, bias[:2])
    with pytest.raises(
        ValueError, match=r"^mask has the shape \(2, 17, 5, 7\), must have \(2, 9 G, 5, 7\), where G div"
    ):
        deform_conv(features, offsets, mask[:, :17], weight, bias)
    with pytest.raises(ValueError, match=r"^mask has the shape \(2, 27, 5, 7\), .* divides 4$"):
        deform_conv(features, offsets, torch.cat([mask, mask[:, :9]], 1), weight, bias)
    with pytest.raises(ValueError, match=r"^offsets have the shape \(2, 35, 5, 7\), must have \(2, 36, 5, 7\)$"):
        deform_conv(features, offsets[:, :35], mask, weight, bias)
    with pytest.raises(ValueError, match=r"^must have the same dtype and device: features torch\.float64 on cpu, off"):
        deform_conv(features, offsets, mask, weight.float(), bias)


def test_native_kernel_checks_too(library: object) -> None:
    features, offsets, mask, weight, bias = given()
    run = torch.ops.flowcli.deform_conv
    for wrong in ((features[:, :3], offsets, mask, weight, bias), (features, offsets[:, :9], mask, weight, bias)):
        with pytest.raises(RuntimeError, match="do not fit"):
            run(*wrong)
    with pytest.raises(RuntimeError, match="must be Double, on cpu"):
        run(features, offsets, mask, weight, bias.float())


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    torch.library.opcheck(
        torch.ops.flowcli.deform_conv, changed(given(), lambda each: each.to(device).requires_grad_())
    )
