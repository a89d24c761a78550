"""Every kernel of both operators against loops in NumPy, in every dtype and layout."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from flowcli.ops import correlation, lookup_correlation
from flowcli.ops.correlation import DTYPES
from flowcli.ops.library import FALLBACKS
from tests.ops import oracle
from tests.ops.layouts import LAYOUTS, NAN, random

INF = float("inf")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-8, torch.float16: 2**-10}
"""Of values about 1 and of the largest: one rounding of the result, after exact or float32 sums."""


def smooth_flow(count: int, height: int, width: int, seed: int = 2) -> Tensor:
    """A float32 flow of a few pixels, none of it within 0.01 of a whole number, where it has no gradient."""
    flow = 3 * random(count, 2, height, width, seed=seed)
    return (flow.floor() + (flow - flow.floor()).clamp(0.01, 0.99)).float()


def is_last(tensor: Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def assert_close(actual: Tensor, expected: Tensor | np.ndarray, dtype: torch.dtype) -> None:
    wanted = torch.as_tensor(expected, dtype=torch.float64)
    largest = max(1.0, wanted.abs().max().item()) if wanted.numel() else 1.0
    bound = TOLERANCE[dtype]
    torch.testing.assert_close(actual.detach().double().cpu(), wanted, rtol=bound, atol=bound * largest)


SHAPES = [(1, 3, 1, 1), (0, 4, 5, 6), (2, 1, 1, 9), (2, 5, 7, 4), (1, 16, 4, 3), (1, 70, 3, 5)]


@pytest.mark.parametrize("radius", range(5))
@pytest.mark.parametrize("dilation", [1, 2])
def test_correlation_is_the_loop(device: str, radius: int, dilation: int) -> None:
    for shape in SHAPES:
        first, second = random(*shape), random(*shape, seed=1)
        actual = correlation(first.to(device), second.to(device), radius, dilation)
        assert_close(actual, oracle.correlation(first.numpy(), second.numpy(), radius, dilation), torch.float64)


@pytest.mark.parametrize("radius", range(5))
def test_lookup_is_the_loop(device: str, radius: int) -> None:
    for shape in SHAPES:
        first, second, flow = random(*shape), random(*shape, seed=1), smooth_flow(shape[0], *shape[2:])
        actual = lookup_correlation(first.to(device), second.to(device), flow.to(device), radius)
        assert_close(
            actual, oracle.lookup_correlation(first.numpy(), second.numpy(), flow.numpy(), radius), torch.float64
        )


@pytest.mark.slow
def test_odd_sizes(device: str) -> None:
    first, second = random(1, 2, 65, 97), random(1, 2, 65, 97, seed=1)
    flow = smooth_flow(1, 65, 97)
    one, two, moved = (tensor.float().to(device) for tensor in (first, second, flow))
    assert_close(correlation(one, two, 1), oracle.correlation(first.numpy(), second.numpy(), 1, 1), torch.float32)
    expected = oracle.lookup_correlation(first.numpy(), second.numpy(), flow.numpy(), 1)
    assert_close(lookup_correlation(one, two, moved, 1), expected, torch.float32)


@pytest.mark.parametrize(
    "shape", [(3, 9, 5, 7), (1, 9, 130, 170), pytest.param((1, 9, 250, 290), marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_few_and_many_tiles(device: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """A GPU divides its work by the number of tiles, and by how unlike the flows of neighbours are."""
    first, second = (random(*shape, seed=seed).to(dtype) for seed in range(2))
    flow = 0.3 * random(shape[0], 2, *shape[2:]).float()
    flow[..., shape[3] // 2 :] *= 40
    wide, narrow = (
        FALLBACKS["correlation"](first.double(), second.double(), 1, 2),
        FALLBACKS["lookup_correlation"](first.double(), second.double(), flow.double(), 1),
    )
    for layout in ("contiguous", "channels_last"):
        one, two, moved = (LAYOUTS[layout](tensor.to(device)) for tensor in (first, second, flow))
        assert_close(correlation(one, two, 1, 2), wide, dtype)
        assert_close(lookup_correlation(one, two, moved, 1), narrow, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("radius", [10, *(pytest.param(radius, marks=pytest.mark.slow) for radius in (15, 16, 33))])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_large_radii_and_any_number_of_channels(device: str, dtype: torch.dtype, radius: int) -> None:
    """Radius 15 is the last that the matrix units of a GPU take; 8 and 32 channels fill its vectors, and its rows."""
    for channels in (1, 8, 32, 33, 72):
        first, second, flow, fixed, moving = exact(dtype, radius, channels)
        one, two, moved = (tensor.to(device) for tensor in (first, second, flow))
        assert_close(correlation(one, two, radius), fixed, dtype)
        assert_close(lookup_correlation(one, two, moved, radius), moving, dtype)


@functools.cache
def exact(dtype: torch.dtype, radius: int, channels: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Features and flow, and both volumes in double precision, once for all kernels."""
    first, second = (random(1, channels, 3, 6, seed=seed).to(dtype) for seed in range(2))
    flow = smooth_flow(1, 3, 6)
    wide = first.double(), second.double()
    fixed = FALLBACKS["correlation"](*wide, radius, 1)
    return first, second, flow, fixed, FALLBACKS["lookup_correlation"](*wide, flow.double(), radius)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_and_layouts(device: str, dtype: torch.dtype, layout: str) -> None:
    arrange = LAYOUTS[layout]
    first, second = (arrange(random(2, 13, 5, 9, seed=seed).to(dtype).to(device)) for seed in range(2))
    flow = arrange(smooth_flow(2, 5, 9).to(device))
    one, two, moved = (tensor.double().cpu().numpy() for tensor in (first, second, flow))
    for volume, expected in (
        (correlation(first, second, 2), oracle.correlation(one, two, 2, 1)),
        (lookup_correlation(first, second, flow, 2), oracle.lookup_correlation(one, two, moved, 2)),
    ):
        assert_close(volume, expected, dtype)
        assert volume.dtype == dtype
        assert is_last(volume) == is_last(first)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("channels", "height", "width"), [(32, 5, 33), (70, 11, 16), (64, 2, 47)])
def test_more_than_one_vector_in_every_direction(
    library: Path, dtype: torch.dtype, layout: str, channels: int, height: int, width: int
) -> None:
    """As in double precision by the plain kernels, which the loops prove right."""
    arrange = LAYOUTS[layout]
    first, second = (arrange(random(2, channels, height, width, seed=seed).to(dtype)) for seed in range(2))
    flow = 4 * smooth_flow(2, height, width)
    one, two, moved = first.double(), second.double(), flow.double()
    for radius, dilation in ((4, 1), (10, 2), (2, 5)):
        expected = FALLBACKS["correlation"](one, two, radius, dilation)
        assert_close(correlation(first, second, radius, dilation), expected, dtype)
    for radius in (3, 4, 9):
        expected = FALLBACKS["lookup_correlation"](one, two, moved, radius)
        assert_close(lookup_correlation(first, second, flow, radius), expected, dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_in_dtypes_and_layouts(device: str, dtype: torch.dtype, layout: str) -> None:
    """As in double precision by the plain kernels, which gradcheck proves right."""
    arrange = LAYOUTS[layout]
    first, second = (arrange(random(2, 13, 5, 9, seed=seed).to(dtype).to(device)) for seed in range(2))
    flow = arrange(smooth_flow(2, 5, 9).to(device))
    grad = arrange(random(2, 25, 5, 9, seed=3).to(dtype).to(device))
    one, two, moved, given = (tensor.double().cpu() for tensor in (first, second, flow, grad))
    inputs = first, second, flow = tuple(tensor.detach().requires_grad_() for tensor in (first, second, flow))

    correlation(first, second, 2, 2).backward(grad)
    for tensor, expected in zip(inputs, FALLBACKS["correlation_backward"](given, one, two, 2, 2), strict=False):
        assert tensor.grad is not None
        assert_close(tensor.grad, expected, dtype)
        assert tensor.grad.dtype == tensor.dtype
        tensor.grad = None

    lookup_correlation(first, second, flow, 2).backward(grad)
    exact = FALLBACKS["lookup_correlation_backward"](given, one, two, moved, 2)
    for tensor, expected in zip(inputs, exact, strict=True):
        assert tensor.grad is not None
        assert_close(tensor.grad, expected, tensor.dtype)
        assert tensor.grad.dtype == tensor.dtype


@pytest.mark.slow
@pytest.mark.parametrize("radius", [0, 1])
@pytest.mark.parametrize("dilation", [1, 2])
def test_gradcheck_correlation(device: str, radius: int, dilation: int) -> None:
    inputs = [random(2, 3, 3, 4, seed=seed).to(device).requires_grad_() for seed in range(2)]
    assert torch.autograd.gradcheck(lambda a, b: correlation(a, b, radius, dilation), inputs)


@pytest.mark.slow
@pytest.mark.parametrize("radius", [0, 1])
def test_gradcheck_lookup(device: str, radius: int) -> None:
    inputs = [random(2, 3, 3, 4, seed=seed).to(device).requires_grad_() for seed in range(2)]
    flow = smooth_flow(2, 3, 4).double().to(device).requires_grad_()
    # On CUDA the gradient of `second` is added up in any order.
    assert torch.autograd.gradcheck(
        lambda a, b, moved: lookup_correlation(a, b, moved, radius), [*inputs, flow], nondet_tol=1e-12
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_flow_that_points_outside_finds_nothing(device: str, dtype: torch.dtype) -> None:
    values = [NAN, INF, -INF, 1e38, -1e38, 1e10, -1e10, 5000.0, -5000.0, 2.0**31, -(2.0**31), 2.0**63]
    flow = torch.zeros(1, 2, 2, len(values), device=device)
    flow[0, 0, 0] = flow[0, 1, 1] = torch.tensor(values, device=device)
    first, second = (random(1, 8, 2, len(values), seed=seed).to(dtype).to(device).requires_grad_() for seed in range(2))
    flow.requires_grad_()
    volume = lookup_correlation(first, second, flow, 4)
    assert volume.count_nonzero() == 0
    volume.sum().backward()
    for tensor in (first, second, flow):
        assert tensor.grad is not None
        assert tensor.grad.count_nonzero() == 0


def test_one_flow_that_is_not_finite_leaves_its_neighbours_alone(device: str) -> None:
    first, second, flow = random(1, 4, 5, 6), random(1, 4, 5, 6, seed=1), smooth_flow(1, 5, 6)
    flow[0, 0, 2, 3], flow[0, 1, 4, 0] = NAN, -INF
    actual = lookup_correlation(first.to(device), second.to(device), flow.to(device), 3)
    assert_close(actual, oracle.lookup_correlation(first.numpy(), second.numpy(), flow.numpy(), 3), torch.float64)


@given(seed=st.integers(0, 2**32), u=st.integers(-9, 9), v=st.integers(-9, 9), radius=st.integers(0, 3))
def test_a_whole_flow_shifts_the_volume(library: Path, seed: int, u: int, v: int, radius: int) -> None:
    first, second = random(1, 6, 8, 7, seed=seed), random(1, 6, 8, 7, seed=seed + 1)
    flow = torch.tensor([u, v]).float().view(1, 2, 1, 1).expand(1, 2, 8, 7)
    # Both with a margin as wide as the radius, so that `there` shows what the flow points to.
    here = torch.nn.functional.pad(first, [3] * 4)
    there = torch.nn.functional.pad(second, [12] * 4)[:, :, 9 + v : 23 + v, 9 + u : 22 + u]
    expected = correlation(here, there, radius)[:, :, 3:-3, 3:-3]
    assert_close(lookup_correlation(first, second, flow, radius), expected, torch.float64)


def test_results_do_not_depend_on_the_number_of_threads(library: Path) -> None:
    first, second, grad = random(1, 20, 30, 9), random(1, 20, 30, 9, seed=1), random(1, 49, 30, 9, seed=3)
    flow, threads, found = smooth_flow(1, 30, 9), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(
                (
                    correlation(first, second, 2, 3),
                    lookup_correlation(first, second, flow, 3),
                    *torch.ops.flowcli.lookup_correlation_backward(grad, first, second, flow, 3),
                )
            )
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_opcheck(device: str, dtype: torch.dtype) -> None:
    operators, opcheck = torch.ops.flowcli, torch.library.opcheck
    for layout in ("contiguous", "channels_last"):
        first, second, flow, grad = (
            LAYOUTS[layout](tensor).to(device)
            for tensor in (
                random(2, 3, 5, 4).to(dtype),
                random(2, 3, 5, 4, seed=1).to(dtype),
                smooth_flow(2, 5, 4),
                random(2, 9, 5, 4, seed=3).to(dtype),
            )
        )
        opcheck(operators.correlation_backward.default, (grad, first, second, 1, 2))
        opcheck(operators.lookup_correlation_backward.default, (grad, first, second, flow, 1))
        for tensor in (first, second, flow):
            tensor.requires_grad_()
        opcheck(operators.correlation.default, (first, second, 1, 2))
        opcheck(operators.lookup_correlation.default, (first, second, flow, 1))


def test_autocast_leaves_the_flow_alone(device: str) -> None:
    first, second, flow = random(1, 4, 5, 6).float(), random(1, 4, 5, 6, seed=1).bfloat16(), smooth_flow(1, 5, 6)
    first, second, flow = first.to(device), second.to(device), flow.to(device)
    with torch.autocast(device, torch.bfloat16):
        volumes = correlation(first, second, 1), lookup_correlation(first, second, flow, 1)
        half = lookup_correlation(first.bfloat16(), second, flow, 1)
    assert half.dtype == torch.bfloat16
    for volume, plain in zip(
        volumes,
        (correlation(first, second.float(), 1), lookup_correlation(first, second.float(), flow, 1)),
        strict=True,
    ):
        assert volume.dtype == torch.float32
        torch.testing.assert_close(volume, plain)


def call(**changes: Any) -> Tensor:
    """lookup_correlation, or correlation if `dilation` is given, with good arguments but the `changes`."""
    features = torch.zeros(1, 4, 5, 6)
    values: dict[str, Any] = {"first": features, "second": features, "radius": 1, **changes}
    if "dilation" in changes:
        return correlation(**values)
    return lookup_correlation(**{"flow": torch.zeros(1, 2, 5, 6), **values})


@pytest.mark.parametrize("operator", [{}, {"dilation": 1}], ids=["lookup", "correlation"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"second": torch.zeros(1, 4, 5, 7)},
            "features have the shapes (1, 4, 5, 6) and (1, 4, 5, 7), must have the same (N, C, H, W)",
        ),
        (
            {"first": torch.zeros(4, 5, 6), "second": torch.zeros(4, 5, 6)},
            "features have the shapes (4, 5, 6) and (4, 5, 6), must have the same (N, C, H, W)",
        ),
        (
            {"first": torch.zeros(1, 0, 5, 6), "second": torch.zeros(1, 0, 5, 6)},
            "features have the shapes (1, 0, 5, 6) and (1, 0, 5, 6), must have the same (N, C, H, W)",
        ),
        (
            {"second": torch.zeros(1, 4, 5, 6, device="meta")},
            "features are on cpu and meta, must be on the same device",
        ),
        (
            {"first": torch.zeros(1, 4, 5, 6, dtype=torch.int32)},
            "features are torch.int32 and torch.float32, must be floating point",
        ),
        (
            {"second": torch.zeros(1, 4, 5, 6, dtype=torch.float64)},
            "features are torch.float32 and torch.float64, must be the same",
        ),
        ({"radius": -1}, "radius is -1, must not be negative"),
    ],
)
def test_bad_features(operator: dict[str, int], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(**operator, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dilation": 0}, "dilation is 0, must be at least 1"),
        ({"flow": torch.zeros(1, 2, 5, 7)}, "flow has the shape (1, 2, 5, 7), must have (1, 2, 5, 6)"),
        ({"flow": torch.zeros(1, 2, 5, 6, device="meta")}, "flow is on meta, the features are on cpu"),
        (
            {"flow": torch.zeros(1, 2, 5, 6, dtype=torch.bfloat16)},
            "flow is torch.bfloat16, must be float32 (or float64 for float64 features)",
        ),
    ],
)
def test_bad_dilation_and_flow(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(**changes)


def test_a_native_kernel_does_not_read_beyond_its_tensors(library: Path) -> None:
    features, flow, grad = torch.zeros(1, 4, 5, 6), torch.zeros(1, 2, 5, 6), torch.zeros(1, 9, 5, 6)
    smaller, operators = torch.zeros(1, 4, 5, 5), torch.ops.flowcli
    with pytest.raises(RuntimeError, match="features must have the same shape"):
        operators.correlation(features, smaller, 1, 1)
    with pytest.raises(RuntimeError, match="features must have the same dtype"):
        operators.correlation(features, features.double(), 1, 1)
    with pytest.raises(RuntimeError, match="radius -1 or dilation 1 is out of range"):
        operators.correlation(features, features, -1, 1)
    with pytest.raises(RuntimeError, match="expected 2 channels over features"):
        operators.lookup_correlation(features, features, flow[:, :1], 1)
    with pytest.raises(RuntimeError, match="expected 9 channels over features"):
        operators.correlation_backward(grad[:, :8], features, features, 1, 1)
    with pytest.raises(RuntimeError, match="expected 9 channels over features"):
        operators.lookup_correlation_backward(grad[..., :5], features, features, flow, 1)
