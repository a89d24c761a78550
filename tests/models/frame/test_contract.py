"""What every network in flowcli/models/frame has to hold to."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli import models
from flowcli.interpolation.options import ALONG_FLOW
from flowcli.models.base import FrameModel

SMALL = {
    "videoinr": {"channels": 8, "groups": 2, "front": 1, "trunk": 1},
    "synthesis": {"half": 4, "quarter": 6, "fine": 3, "hidden": 8},
}
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


def flows(name: str, count: int, height: int = 21, width: int = 34) -> list[Tensor]:
    """Smooth motion of some pixels, both ways, if the network needs it."""
    generator = torch.Generator().manual_seed(2)
    coarse = 4 * torch.randn(2, count, 2, 3, 3, generator=generator)
    fine = [F.interpolate(each, (height, width), mode="bilinear", align_corners=False) for each in coarse]
    return fine if fresh(name).needs_flow else []


def test_names_are_known_and_others_are_refused() -> None:
    assert "videoinr" in models.frame_names()
    assert [name for name in models.frame_names() if fresh(name).needs_flow] == list(ALONG_FLOW)
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
    frames = list(model.decode(model.encode(first, second, *flows(name, 1, height, width)), TIMES, tall, wide))
    assert len(frames) == len(TIMES)
    for frame in frames:
        assert frame.shape == (1, 3, tall, wide)
        assert frame.dtype == torch.float32
        assert frame.isfinite().all()


@every_model
@torch.inference_mode()
def test_frames_are_made_when_they_are_asked_for(name: str) -> None:
    model = fresh(name)
    features = model.encode(*pictures(2).split(1), *flows(name, 1))
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
    # In double precision, if it can: what a network makes of rounding may be large.
    exact = not fresh(name).needs_flow
    kind, bound = (torch.float64, 1e-7) if exact else (torch.float32, 1e-5)
    model = copy.deepcopy(fresh(name)).to(kind)
    given = [pictures(3).to(kind), pictures(3).to(kind).flip(0), *flows(name, 3)]
    both = model(*given[:2], TIMES, 42, 68, *given[2:])
    for number in range(3):
        own = [each[number : number + 1] for each in given]
        alone = model(*own[:2], TIMES, 42, 68, *own[2:])
        for together, one in zip(both, alone, strict=True):
            torch.testing.assert_close(together[number : number + 1], one, rtol=bound, atol=bound)


@every_model
@torch.inference_mode()
def test_what_it_makes_of_two_pictures_is_the_frame_between_them(name: str) -> None:
    model, pair = fresh(name), pictures(2).split(1)
    still = [torch.zeros_like(each) for each in flows(name, 1)]
    torch.testing.assert_close(model.result(*pair), model(*pair, [0.5], 21, 34, *still)[0], rtol=0, atol=0)
    assert model.makes == "frames"


@pytest.mark.slow
@every_model
def test_gradients_reach_every_parameter(name: str) -> None:
    model = fresh(name)
    model.train()
    sum((frame**2).mean() for frame in model(*pictures(2).split(1), TIMES, 42, 68, *flows(name, 1))).backward()
    silent = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    model.zero_grad()
    model.eval()
    assert silent == []


@every_model
def test_weights_come_back(name: str) -> None:
    model, other = fresh(name), models.create_frame(name, **SMALL.get(name, {}))
    other.load_state_dict(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
