from __future__ import annotations

import colorsys
import math

import cv2
import numpy as np
import pytest
import torch

from flowcli.draw.color import flow_to_hsv, flow_to_rgb, legend, wheel
from tests import reference


def _pixel(u: float, v: float, scale: float = 10) -> tuple[int, ...]:
    return tuple(flow_to_rgb(torch.tensor((u, v), dtype=torch.float32).view(2, 1, 1), scale)[0, 0].tolist())


def test_wheel_has_the_colours_of_the_paper() -> None:
    assert wheel().dtype == torch.uint8
    np.testing.assert_array_equal(wheel().numpy(), reference.middlebury_wheel())
    for index, colour in reference.MIDDLEBURY_ANCHORS.items():
        assert tuple(wheel()[index].tolist()) == colour


def test_known_directions() -> None:
    assert _pixel(10, 0) == (255, 0, 0)
    assert _pixel(0, 0) == (255, 255, 255)
    right, down, left, up = (np.array(_pixel(u, v)) for u, v in ((9, 0), (0, 9), (-9, 0), (0, -9)))
    assert right[0] == 255
    assert max(right[1:]) < 30
    assert min(down[:2]) > 220
    assert down[2] < 30
    assert left[0] < 30
    assert min(left[1:]) > 180
    assert up[2] > 220
    assert up[1] < 60


def test_radius_fades_to_white_and_beyond_the_scale_gets_darker() -> None:
    assert _pixel(5, 0) == (255, 127, 127)
    assert _pixel(10, 0) == (255, 0, 0)
    assert _pixel(10.01, 0) == (191, 0, 0)
    assert _pixel(1e8, 0) == (191, 0, 0)


def test_colours_can_stay_full_beyond_the_scale() -> None:
    uv = torch.tensor([[5.0, 10.0, 11.0, 1e8, math.nan, math.inf], [0.0] * 6]).view(2, 1, 6)
    red = [255, 0, 0]
    assert flow_to_rgb(uv, 10, darken=False)[0].tolist() == [[255, 127, 127], red, red, red, [0, 0, 0], [0, 0, 0]]


def test_every_angle_and_radius_equals_the_oracle() -> None:
    angles = np.concatenate((np.linspace(-math.pi, math.pi, 721), np.arange(-27, 28) * math.pi / 27))
    radii = np.array((0, 0.01, 0.3, 0.5, 0.77, 0.999, 1.001, 1.5, 40)) * 7.3
    uv = np.stack((np.outer(radii, np.cos(angles)), np.outer(radii, np.sin(angles)))).astype(np.float32)
    rgb = flow_to_rgb(torch.from_numpy(uv), 7.3).numpy().reshape(-1, 3)
    exact = np.array([reference.middlebury_colour(u, v, 7.3) for u, v in uv.astype(np.float64).reshape(2, -1).T])
    # Rounded down: only where the exact value touches an integer may single precision fall on its other side.
    assert (np.abs(rgb - (exact - 0.5)) <= 0.5 + 2e-3).all()
    assert (rgb == np.floor(exact)).mean() > 0.99


def test_the_wheel_closes_at_the_right() -> None:
    assert _pixel(10, -1e-3) == (255, 0, 43)
    assert _pixel(10, 1e-3) == (255, 0, 0)
    assert _pixel(10, 0.0) == (255, 0, 0)
    assert _pixel(10, -0.0) == (255, 0, 43)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_unknown_pixels_are_black(value: float) -> None:
    assert _pixel(value, 1) == (0, 0, 0)
    assert _pixel(1, value) == (0, 0, 0)


def test_invalid_pixels_are_black_and_the_others_as_without_them() -> None:
    uv = torch.randn(2, 65, 97, generator=torch.Generator().manual_seed(0))
    valid = uv[0] > 0
    rgb = flow_to_rgb(uv, 1.0, valid)
    assert rgb[~valid].max() == 0
    assert torch.equal(rgb[valid], flow_to_rgb(uv, 1.0)[valid])


def test_hsv_is_hue_for_direction_and_value_for_speed() -> None:
    uv = 6 * torch.randn(2, 33, 49, generator=torch.Generator().manual_seed(1))
    uv[:, 0, :4] = torch.tensor([[5.0, 0.0, -5.0, 0.0], [0.0, 5.0, 0.0, -5.0]])
    rgb = flow_to_hsv(uv, 8.0)
    assert rgb[0, :4].tolist() == [[159, 0, 0], [80, 159, 0], [0, 159, 159], [80, 0, 159]]
    for u, v, colour in zip(*uv.double().flatten(1).tolist(), rgb.flatten(0, 1).tolist(), strict=True):
        hue = math.atan2(v, u) / (2 * math.pi) % 1
        exact = [255 * part for part in colorsys.hsv_to_rgb(hue, 1, min(math.hypot(u, v) / 8, 1))]
        assert np.abs(np.array(colour) - exact).max() <= 0.5 + 1e-3


def test_hsv_is_that_of_the_tutorial() -> None:
    uv = 6 * torch.randn(2, 33, 49, generator=torch.Generator().manual_seed(2))
    speed, angle = cv2.cartToPolar(uv[0].numpy(), uv[1].numpy())
    hsv = np.full((33, 49, 3), 255, np.uint8)
    hsv[..., 0] = angle * 180 / np.pi / 2
    hsv[..., 2] = cv2.normalize(speed, np.empty(0), 0, 255, cv2.NORM_MINMAX)
    theirs = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(int)
    # Its hue comes in steps of two degrees, rounded down: 255 / 60 levels each.
    assert np.abs(flow_to_hsv(uv, float(speed.max())).numpy() - theirs).max() <= 2 * 255 / 60 + 3


def test_hsv_of_what_is_unknown_is_black() -> None:
    uv = torch.tensor([[9.0, math.nan, math.inf, 9.0], [0.0, 1.0, 1.0, 0.0]])[:, None]
    valid = torch.tensor([[True, True, True, False]])
    assert flow_to_hsv(uv, 3, valid)[0].tolist() == [[255, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_the_flow_is_not_changed() -> None:
    uv = torch.randn(2, 9, 13)
    before = uv.clone()
    flow_to_rgb(uv, 2.0)
    flow_to_hsv(uv, 2.0)
    assert torch.equal(uv, before)


@pytest.mark.parametrize("size", [1, 2, 33, 64])
def test_legend_shows_each_motion_at_the_end_of_its_arrow(size: int) -> None:
    disc = legend(size).numpy()
    assert disc.shape == (size, size, 4)
    for row in range(size):
        for column in range(size):
            u, v = (column - (size - 1) / 2) / (size / 2), (row - (size - 1) / 2) / (size / 2)
            assert disc[row, column, 3] == (255 if math.hypot(u, v) <= 1 else 0)
            colour = reference.middlebury_colour(u, v, 1.0)
            assert np.abs(disc[row, column, :3] - (np.array(colour) - 0.5)).max() <= 0.5 + 2e-3


def test_legend_of_other_colours() -> None:
    disc = legend(33, flow_to_hsv)
    assert disc[16, 16].tolist() == [0, 0, 0, 255]
    assert disc[16, 32, 0] > 240
    assert disc[16, 32, 1:].tolist() == [0, 0, 255]
