"""flowcli.flow and flowcli.flow_to_rgb: arrays, tensors and pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import flowcli
from flowcli import arrays
from flowcli.given import as_frames, as_picture
from flowcli.types import FlowField

HEIGHT, WIDTH = 65, 97
NOISE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH + 8, 3), np.uint8)
FIRST, SECOND = NOISE[:, 3 : 3 + WIDTH], NOISE[:, :WIDTH]
"""Whose picture moves three pixels to the right."""


@pytest.fixture(autouse=True)
def _fresh() -> None:
    arrays._engine.cache_clear()


def test_flow_of_two_arrays() -> None:
    found = flowcli.flow(FIRST, SECOND, model="dis")
    assert found.shape == (HEIGHT, WIDTH, 2)
    assert found.dtype == np.float32
    middle = found[20:45, 20:70]
    assert np.abs(middle - (3, 0)).mean() < 0.1
    assert np.array_equal(
        found, next(flowcli.estimate([FIRST, SECOND], model="dis")).forward.numpy().transpose(1, 2, 0)
    )


def test_all_forms_of_a_picture_are_one() -> None:
    grey = FIRST[..., :1]
    forms = [
        FIRST / 255.0,
        FIRST.astype(np.float32) / 255,
        FIRST.astype(np.uint16) * 257,
        np.asfortranarray(FIRST),
        torch.from_numpy(FIRST.copy()).permute(2, 0, 1),
        torch.from_numpy(FIRST.copy()).permute(2, 0, 1).double() / 255,
        Image.fromarray(FIRST),
        Image.fromarray(FIRST).convert("RGBA"),
    ]
    for form in forms:
        assert np.array_equal(as_picture(form), FIRST)
    greys = [grey, grey[..., 0], torch.from_numpy(grey[..., 0].copy()), torch.from_numpy(grey.copy()).permute(2, 0, 1)]
    for form in [*greys, Image.fromarray(grey[..., 0])]:
        assert np.array_equal(as_picture(form), grey.repeat(3, 2))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (
            FIRST.transpose(2, 0, 1),
            r"a picture has the shape \(3, 65, 97\) \(channels last\): NumPy arrays are \(H, W, 3\)",
        ),
        (torch.from_numpy(FIRST.copy()), r"a picture has the shape \(97, 3, 65\) \(channels last\)"),
        (FIRST[None], r"a picture has the shape \(1, 65, 97, 3\)"),
        (np.zeros((4, 0, 3), np.uint8), r"a picture has the shape \(4, 0, 3\)"),
        (FIRST[..., :2], r"a picture has the shape \(65, 97, 2\)"),
        (FIRST.astype(np.int64), "a picture is int64, must be uint8, uint16 or floats from 0 to 1"),
        (FIRST > 100, "a picture is bool, must be"),
        (FIRST.astype(np.float32), "a picture of floats goes from 0 to 255, must lie between 0 and 1"),
        (FIRST / 127.5 - 1, "a picture of floats goes from -1 to 1, must lie between 0 and 1"),
        (np.full((4, 4), np.nan), "a picture of floats goes from nan to nan"),
    ],
)
def test_what_is_no_picture(picture: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        flowcli.flow(picture, FIRST)


def test_pictures_of_two_sizes() -> None:
    with pytest.raises(flowcli.FlowcliError, match="97x65"):
        flowcli.flow(FIRST, SECOND[:60], model="dis")


def test_an_engine_is_kept_for_the_same_options() -> None:
    for _ in range(3):
        flowcli.flow(FIRST, SECOND, model="dis")
    assert arrays._engine.cache_info().misses == 1
    flowcli.flow(FIRST, SECOND, model="dis", max_side=50)
    assert arrays._engine.cache_info().misses == 2


def test_pictures_are_counted_and_frames_have_to_be() -> None:
    made = list(as_frames([FIRST, SECOND]))
    assert [(each.index, each.time) for each in made] == [(0, 0), (1, Fraction(1, 25))]
    alone = list(as_frames([flowcli.Frame(FIRST), flowcli.Frame(SECOND), flowcli.Frame(FIRST, cut=True)]))
    assert [(each.index, each.time, each.cut) for each in alone] == [
        (0, 0, False),
        (1, Fraction(1, 25), False),
        (2, Fraction(2, 25), True),
    ]
    (pair,) = flowcli.estimate([flowcli.Frame(FIRST), flowcli.Frame(SECOND)], model="dis")
    assert repr(pair) == f"FlowPair(000000 -> 000001, {FIRST.shape[1]}x{FIRST.shape[0]})"
    with pytest.raises(
        ValueError, match=r"^two frames have the number 3: count `index` up, or give the pictures alone$"
    ):
        list(as_frames([flowcli.Frame(FIRST, 3), flowcli.Frame(SECOND, 3)]))


def test_colours_are_those_of_the_command(tmp_path: Path) -> None:
    from flowcli.draw.color import flow_to_rgb

    uv = np.random.default_rng(1).normal(0, 4, (2, 6, 9)).astype(np.float32)
    uv[:, 2, 3] = np.nan
    expected = flow_to_rgb(torch.from_numpy(uv), 5.0).numpy()
    assert not expected[2, 3].any()
    valid = torch.from_numpy(np.isfinite(uv[0]))
    for form in (
        uv,
        uv.transpose(1, 2, 0),
        torch.from_numpy(uv),
        uv.astype(np.float64),
        FlowField(torch.from_numpy(uv), valid),
    ):
        assert np.array_equal(flowcli.flow_to_rgb(form, 5), expected)
    speeds = np.hypot(*uv)
    scale = float(np.percentile(speeds[np.isfinite(speeds)], 99))
    assert np.abs(flowcli.flow_to_rgb(uv).astype(int) - flowcli.flow_to_rgb(uv, scale)).max() <= 1
    still = flowcli.flow_to_rgb(np.zeros((4, 5, 2)))
    assert (still == 255).all()


@pytest.mark.parametrize("shape", [(2, 5, 2), (5, 4, 3), (5, 2), (1, 2, 5, 4)])
def test_what_is_no_flow(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^flow has the shape \(.*\), must have \(H, W, 2\) or \(2, H, W\)$"):
        flowcli.flow_to_rgb(np.zeros(shape))


@pytest.mark.parametrize("scale", [0, -1, float("nan")])
def test_full_colour_needs_a_speed(scale: float) -> None:
    with pytest.raises(ValueError, match=r"^max_flow is .*, must be above 0$"):
        flowcli.flow_to_rgb(np.zeros((4, 5, 2)), scale)


def test_representations_are_short() -> None:
    (pair,) = flowcli.estimate([FIRST, SECOND], model="dis", direction="both")
    assert repr(pair) == "FlowPair(000000 <-> 000001, 97x65)"
    assert repr(pair.first) == "Frame(000000, 97x65, 0.000 s)"
    assert repr(flowcli.Frame(FIRST, 7, Fraction(1, 3), "shot_7", cut=True)) == "Frame(shot_7, 97x65, 0.333 s, cut)"
    assert repr(pair.forward) == "FlowField(97x65, cpu)"
    valid = torch.ones(4, 5, dtype=torch.bool)
    assert repr(FlowField(torch.zeros(2, 4, 5), valid)) == "FlowField(5x4, cpu, with unknown pixels)"
    forward = next(flowcli.estimate([FIRST, SECOND], model="dis"))
    assert repr(forward) == "FlowPair(000000 -> 000001, 97x65)"
