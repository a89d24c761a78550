from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from flowcli.models.base import Features, FlowModel
from flowcli.train import validation
from flowcli.train.textures import load_bank
from flowcli.train.validation import FAST, ValidationPairs, flat_areas, validate, validation_pairs


class Constant(FlowModel):
    """The same flow everywhere, whatever it is given."""

    def __init__(self, *flow: float) -> None:
        super().__init__()
        self.flow = torch.tensor(flow)

    def encode(self, image: Tensor) -> Features:
        return (image,)

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        image = first[0]
        return [self.flow[None, :, None, None].expand(len(image), 2, *image.shape[-2:])]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "SCENES", 3)
    monkeypatch.setattr(validation, "HARD_SCENES", 4)


def test_errors_are_of_the_pixels_that_count() -> None:
    size = (3, 8, 10)
    flow = torch.zeros(3, 2, 8, 10)
    flow[1, 0] = 3.0
    flow[2, 1] = 50.0
    image = torch.zeros(3, 3, 8, 10, dtype=torch.uint8)
    marked = [torch.zeros(size, dtype=torch.bool) for _ in range(3)]
    for number, mark in enumerate(marked):
        mark[number, : number + 2] = True
    pairs = ValidationPairs(image, image, flow, *marked)
    errors = validate(Constant(0.0, 4.0), pairs, 2, torch.device("cpu"))
    assert (errors.epe, errors.flat, errors.fast) == pytest.approx((4.0, 5.0, 46.0))
    none = dataclasses.replace(pairs, fast=torch.zeros_like(marked[0]))
    assert math.isnan(validate(Constant(0.0, 0.0), none, 2, torch.device("cpu")).fast)


@pytest.mark.slow
def test_pairs_are_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = load_bank(None)
    fresh = validation_pairs(bank, 64, 96, tmp_path)
    monkeypatch.setattr(validation, "_rendered", None)
    again = validation_pairs(bank, 64, 96, tmp_path)
    for name, tensor in vars(fresh).items():
        assert torch.equal(vars(again)[name], tensor), name
    assert fresh.first.shape == (7, 3, 64, 96)
    assert fresh.plain.flatten(1).any(1).tolist() == [True] * 3 + [False] * 4
    assert not (fresh.plain & (fresh.flat | fresh.fast)).any()
    assert (fresh.flow.norm(dim=1)[fresh.fast] > FAST).all()
    assert fresh.flat.any()


def test_flat_is_where_nothing_is_near() -> None:
    image = torch.full((1, 3, 60, 80), 0.5)
    image[..., 30, 40] = 0.9
    expected = torch.ones(60, 80, dtype=torch.bool)
    expected[22:39, 32:49] = False
    assert torch.equal(flat_areas(image)[0], expected)
    assert not flat_areas(torch.rand(1, 3, 60, 80)).any()
