"""What every network in flowcli/models/frame has to hold to."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from flowcli import models
from flowcli.models.base import FrameModel

SMALL = {"videoinr": {"channels": 8, "groups": 2, "front": 1, "trunk": 1}}
"""Settings with which a network is quick."""
TIMES = (0.25, Fraction(1, 3))

every_model = pytest.mark.parametrize("name", models.frame_names())


@functools.cache
@torch.inference_mode(False)
def fresh(name: str) -> FrameModel:
    """Random weights everywhere, so that no part of the network is silent."""
    torch.manual_seed(0)
    model = models.create_frame(name, **SMALL.get(name, {})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def pictures(count: int, height: int = 21, width: int = 34) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_names_are_known_and_others_are_refused() -> None:
    assert "videoinr" in models.frame_names()
    assert not set(models.frame_names()) & set(models.names())
    with pytest.raises(ValueError, match=r"^unknown network 'rpwc'; there are: .*videoinr"):
        models.create_frame("rpwc")
    with pytest.raises(ValueError, match=r"^unknown network 'videoinr'; there are: .*rpwc"):
        models.create("videoinr")


@pytest.mark.slow
@every_model
@pytest.mark.parametrize(("height", "width"), [(1, 1), (65, 97), (5, 40)])
@pytest.mark.parametrize("factor", [Fraction(1), Fraction(5, 2), Fraction(4)])
@torch.inference_mode()
def test_pictures_of_any_size(name: str, height: int, width: int, factor: Fraction) -> None:
    model = fresh(name)
    first, second = pictures(2, height, width).split(1)
    tall, wide = round(height * factor), round(width * factor)
    frames = list(model.decode(model.encode(first, second), TIMES, tall, wide))
    assert len(frames) == len(TIMES)
    for frame in frames:
        assert frame.shape == (1, 3, tall, wide)
        assert frame.dtype == torch.float32
        assert frame.isfinite().all()


@every_model
@torch.inference_mode()
def test_frames_are_made_when_they_are_asked_for(name: str) -> None:
    model = fresh(name)
    features = model.encode(*pictures(2).split(1))
    asked: list[float] = []

    class Times(list[float]):
        def __iter__(self) -> Iterator[float]:
            for time in super().__iter__():
                asked.append(time)
                yield time

    frames = model.decode(features, Times((0.0, 0.5, 1.0)), 21, 34)
    assert asked == []
    first, second = next(frames), next(frames)
    assert asked == [0.0, 0.5]
    assert not torch.equal(first, second)


@pytest.mark.slow
@every_model
@torch.inference_mode()
def test_pairs_of_a_batch_do_not_mix(name: str) -> None:
    # In double precision: what a network makes of rounding may be large.
    model = copy.deepcopy(fresh(name)).double()
    first, second = pictures(3).double(), pictures(3).double().flip(0)
    both = model(first, second, TIMES, 42, 68)
    for number in range(3):
        alone = model(first[number : number + 1], second[number : number + 1], TIMES, 42, 68)
        for together, one in zip(both, alone, strict=True):
            torch.testing.assert_close(together[number : number + 1], one, rtol=1e-7, atol=1e-7)


@every_model
@torch.inference_mode()
def test_what_it_makes_of_two_pictures_is_the_frame_between_them(name: str) -> None:
    model, pair = fresh(name), pictures(2).split(1)
    torch.testing.assert_close(model.result(*pair), model(*pair, [0.5], 21, 34)[0], rtol=0, atol=0)
    assert model.makes == "frames"


@pytest.mark.slow
@every_model
def test_gradients_reach_every_parameter(name: str) -> None:
    model = fresh(name)
    model.train()
    sum((frame**2).mean() for frame in model(*pictures(2).split(1), TIMES, 42, 68)).backward()
    silent = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    model.zero_grad()
    model.eval()
    assert silent == []


@every_model
def test_weights_come_back(name: str) -> None:
    model, other = fresh(name), models.create_frame(name, **SMALL.get(name, {}))
    other.load_state_dict(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
