from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from flowcli import geometry
from tests import reference

SIZES = [(1, 1), (1, 9), (7, 1), (65, 97)]


def _random(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))) * scale


def test_grid_is_x_then_y() -> None:
    grid = geometry.grid(2, 3)
    assert grid.dtype == torch.float32
    assert grid.tolist() == [[[0, 1, 2], [0, 1, 2]], [[0, 0, 0], [1, 1, 1]]]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_backward_warp_equals_the_oracle(height: int, width: int) -> None:
    image, flow = _random(1, 3, height, width), _random(1, 2, height, width, scale=4)
    warped, inside = geometry.backward_warp(image, flow)
    expected, expected_inside = reference.warp_backward(image[0].numpy(), flow[0].numpy())
    np.testing.assert_allclose(warped[0].numpy(), expected, atol=2e-4)
    np.testing.assert_array_equal(inside[0, 0].numpy(), expected_inside)


def test_backward_warp_brings_the_second_picture_onto_the_first() -> None:
    first = torch.zeros(1, 1, 5, 7)
    first[..., 1, 2] = 1
    second = first.roll((2, 3), (2, 3))
    flow = torch.tensor((3.0, 2.0)).view(1, 2, 1, 1).expand(1, 2, 5, 7)
    warped, inside = geometry.backward_warp(second, flow)
    torch.testing.assert_close(warped * inside, first)
    assert inside[0, 0].nonzero().amax(dim=0).tolist() == [2, 3]


def test_backward_warp_samples_a_picture_of_another_size_for_each_flow_pixel() -> None:
    image, flow = _random(2, 4, 12, 9), _random(2, 2, 5, 6, scale=3)
    warped, _ = geometry.backward_warp(image, flow)
    expected, _ = reference.warp_backward(image[1].numpy(), flow[1].numpy())
    np.testing.assert_allclose(warped[1].numpy(), expected, atol=2e-4)


def test_backward_warp_margin_takes_the_area_of_the_border_pixels_in() -> None:
    flow = torch.zeros(1, 2, 1, 5)
    flow[0, 0, 0] = torch.tensor((-0.5, -2.0, 0.0, 2.0, 0.6))
    image = torch.zeros(1, 1, 1, 5)
    assert geometry.backward_warp(image, flow)[1].flatten().tolist() == [False, False, True, False, False]
    assert geometry.backward_warp(image, flow, margin=0.5)[1].flatten().tolist() == [True, False, True, False, False]


def test_bicubic_samples_of_a_ramp_are_where_they_are_asked_for() -> None:
    across, down = torch.linspace(2, 13, 89), torch.linspace(2, 9, 89)
    ramp = torch.arange(17.0)[None, :] + 10 * torch.arange(13.0)[:, None]
    position = torch.stack((across, down))[None, :, None]
    sampled, inside = geometry.sample(ramp[None, None], position, mode="bicubic")
    assert inside.all()
    torch.testing.assert_close(sampled[0, 0, 0], across + 10 * down, rtol=0, atol=11 * 6e-4)


def test_bicubic_samples_at_pixels_are_the_pixels() -> None:
    image = torch.rand(1, 3, 13, 17, generator=torch.Generator().manual_seed(2))
    sampled, _ = geometry.sample(image, geometry.grid(13, 17)[None], mode="bicubic")
    torch.testing.assert_close(sampled, image, rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e10, -1e30])
def test_backward_warp_survives_any_flow(value: float) -> None:
    image = _random(1, 2, 6, 5)
    warped, inside = geometry.backward_warp(image, torch.full((1, 2, 6, 5), value))
    assert not inside.any()
    assert bool(((warped >= image.min()) & (warped <= image.max())).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_backward_warp_of_a_half_image_keeps_float32_positions(dtype: torch.dtype) -> None:
    # At x = 3000 half precision could not tell 0.25 px steps apart.
    image = torch.linspace(0, 1, 4000).view(1, 1, 1, -1).to(dtype)
    flow = torch.full((1, 2, 1, 4000), 0.25)
    flow[:, 1] = 0
    warped, _ = geometry.backward_warp(image, flow)
    expected = 0.75 * image[..., 3000].float() + 0.25 * image[..., 3001].float()
    assert warped.dtype == torch.float32
    torch.testing.assert_close(warped[..., 3000], expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_isolated_samples_equal_the_oracle(height: int, width: int, dtype: torch.dtype) -> None:
    image = _random(2, 3, height, width).to(dtype)
    position = _random(2, 2, 9, 11).to(dtype) * max(height, width) + _random(1, 2, 1, 1).abs().to(dtype) * width
    sampled = geometry.sample_isolated(image, position)
    assert sampled.dtype == dtype
    # Zeros around it, more than the border is repeated.
    bordered = np.pad(image[1].double().numpy(), ((0, 0), (1, 1), (1, 1)))
    expected = np.zeros((3, 9, 11))
    for row, column in np.ndindex(9, 11):
        x, y = position[1, :, row, column].double().tolist()
        expected[:, row, column] = reference.bilinear(bordered, x + 1, y + 1)
    assert expected.any()
    np.testing.assert_allclose(sampled[1].numpy(), expected, atol=2e-4 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("value", [1e30, -1e30, float("inf"), float("-inf"), float("nan")])
def test_isolated_samples_at_any_position(value: float) -> None:
    position = torch.tensor([[1.0, value], [0.0, 0.0]])[None, :, None]
    sampled = geometry.sample_isolated(torch.ones(1, 1, 3, 4), position)
    assert sampled.flatten().tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("height", "width"), [(33, 49), (65, 40), (130, 97), pytest.param(131, 203, marks=pytest.mark.slow), (1, 1)]
)
def test_resize_image_equals_the_oracle(height: int, width: int) -> None:
    image = _random(1, 1, 65, 97)
    expected = reference.resize_plane(image[0, 0].numpy(), height, width)
    np.testing.assert_allclose(geometry.resize_image(image, height, width)[0, 0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(32, 150), (65, 97), (131, 48)])
def test_resize_flow_scales_u_by_the_width_and_v_by_the_height(height: int, width: int) -> None:
    flow = torch.tensor((3.0, -5.0)).view(2, 1, 1).expand(2, 65, 97)
    resized = geometry.resize_flow(flow, height, width)
    assert resized.shape == (2, height, width)
    torch.testing.assert_close(resized[0], torch.full((height, width), 3.0 * width / 97))
    torch.testing.assert_close(resized[1], torch.full((height, width), -5.0 * height / 65))
    torch.testing.assert_close(geometry.resize_flow(flow[None], height, width)[0], resized)


def test_resize_flow_has_no_offset() -> None:
    # A zoom about the point c of the area: flow = 0.5 (x + 0.5 - c) - it must stay the same zoom in any size.
    x = geometry.grid(1, 48)[0] + 0.5
    flow = torch.stack((0.5 * (x - 20), torch.zeros_like(x)))
    small = geometry.resize_flow(flow, 1, 24)
    expected = 0.5 * (geometry.grid(1, 24)[0] + 0.5 - 10)
    torch.testing.assert_close(small[0, :, 1:-1], expected[:, 1:-1])


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("stride", "least"), [(1, 1), (8, 1), (32, 64), (64, 1), (10, 64)])
def test_pad_to_repeats_the_border_and_crop_undoes_it(height: int, width: int, stride: int, least: int) -> None:
    image = _random(2, 3, height, width)
    padded, part = geometry.pad_to(image, stride, least)
    for size, original in zip(padded.shape[2:], (height, width), strict=True):
        assert size % stride == 0
        assert size >= max(original, least)
        assert size - stride < max(original, least)
    below, right = padded.shape[2] - part.top - height, padded.shape[3] - part.left - width
    assert 0 <= below - part.top <= 1
    assert 0 <= right - part.left <= 1
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (part.top, below), (part.left, right)), mode="edge")
    np.testing.assert_array_equal(padded.numpy(), expected)
    torch.testing.assert_close(geometry.crop(padded, part), image, rtol=0, atol=0)


def test_consistency_equals_the_oracle() -> None:
    forward = 3 + _random(1, 2, 33, 49, scale=0.5)
    backward = _random(2, 2, 33, 49, scale=0.5)[:1] - 3
    mask = geometry.consistency(forward, backward, alpha=0.05, beta=0.3)
    expected = reference.occluded(forward[0].numpy(), backward[0].numpy(), 0.05, 0.3)
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(mask[0, 0].numpy(), expected)


def test_consistency_finds_what_a_moving_square_covers() -> None:
    # A square of 6 px moves 4 px to the right over a resting ground; it covers a strip 4 px wide in front of it.
    forward, backward = torch.zeros(1, 2, 20, 20), torch.zeros(1, 2, 20, 20)
    forward[:, 0, 5:11, 5:11] = 4
    backward[:, 0, 5:11, 9:15] = -4
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[5:11, 11:15] = True
    assert torch.equal(geometry.consistency(forward, backward)[0, 0], expected)


def test_consistency_counts_unknown_and_leaving_pixels_as_occluded() -> None:
    forward = torch.zeros(1, 2, 1, 4)
    forward[0, 0, 0] = torch.tensor((torch.nan, 0.0, 1.9, 0.4))
    backward = -torch.nan_to_num(forward)
    backward[0, 0, 0, 1] = torch.nan
    assert geometry.consistency(forward, backward).flatten().tolist() == [True, True, True, False]


def test_confidence_equals_the_oracle() -> None:
    forward = 3 + _random(1, 2, 33, 49, scale=0.5)
    backward = _random(2, 2, 33, 49, scale=0.5)[:1] - 3
    found = geometry.confidence(forward, backward, alpha=0.05, beta=0.3)[0, 0].numpy()
    np.testing.assert_allclose(
        found, reference.confidence(forward[0].numpy(), backward[0].numpy(), 0.05, 0.3), atol=1e-4
    )
    # One half is where occlusion begins.
    hidden = geometry.consistency(forward, backward, alpha=0.05, beta=0.3)[0, 0].numpy()
    np.testing.assert_array_equal(hidden, found < 0.5)


def test_confidence_is_full_where_flows_agree_and_none_where_they_cannot() -> None:
    forward = torch.zeros(1, 2, 1, 5)
    forward[0, 0, 0] = torch.tensor((torch.nan, 0.0, 1.9, 0.4, torch.inf))
    assert geometry.confidence(forward, torch.zeros(1, 2, 1, 5))[0, 0, 0, [0, 4]].tolist() == [0, 0]
    still = torch.zeros(1, 2, 7, 9)
    assert geometry.confidence(still, still).min() == 1
    away = torch.full((1, 2, 7, 9), 4.0)
    found = geometry.confidence(away, -away)[0, 0]
    assert found[:3, :5].min() == 1
    assert found[3:].max() == found[:, 5:].max() == 0


def test_resizing_with_and_without_smoothing() -> None:
    stripes = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 2, 8, 16)
    assert geometry.resize_flow(stripes, 8, 8).abs().max() < 0.2, "alternating flow averages out"
    plain = geometry.resize_flow(stripes, 8, 14, smooth=False)[0, 0, 0] * 16 / 14
    place = (np.arange(14) + 0.5) * 16 / 14 - 0.5
    np.testing.assert_allclose(plain.numpy(), np.interp(place, np.arange(16), stripes[0, 0, 0].numpy()), atol=1e-5)
    assert geometry.resize_flow(stripes, 8, 16) is stripes


def _box(radius: int, picture: torch.Tensor) -> torch.Tensor:
    """Sums over (2 radius + 1)^2 pixels, with zeros beyond the picture, as convolutions do it."""
    weight = torch.ones(picture.shape[1], 1, 2 * radius + 1, 2 * radius + 1)
    return functional.conv2d(picture, weight, padding=radius, groups=picture.shape[1])


@pytest.mark.parametrize("side", [pytest.param(1, marks=pytest.mark.slow), 7, 16, 64, 97, 100, 0])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_tiles_give_what_the_whole_gives(height: int, width: int, side: int) -> None:
    first, second = _random(2, 3, height, width), _random(2, 1, height, width)
    sides: list[int] = []

    def work(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sides.append(max(first.shape[2:]))
        near = _box(2, first) + second
        return near.double(), near.repeat_interleave(4, 2).repeat_interleave(4, 3)[:, :1]

    small, large = geometry.in_tiles(work, (first, second), side, 2)
    assert len(sides) == (-(-height // side) * -(-width // side) if side else 1)
    assert max(sides) <= (side + 4 if side else 97)
    expected_small, expected_large = work(first, second)
    assert small.dtype == torch.float64
    torch.testing.assert_close(small, expected_small)
    torch.testing.assert_close(large, expected_large)


def test_tiles_with_too_small_a_margin_do_not() -> None:
    image = _random(1, 1, 30, 30)
    (tiled,) = geometry.in_tiles(lambda image: (_box(2, image),), (image,), 10, 1)
    wrong = (tiled - _box(2, image)).abs() > 1e-3
    assert wrong[0, 0, 9:11].any()
    assert not wrong[0, 0, 2:8, 2:8].any()
