"""What every network in flowcli/models/flow has to hold to."""

from __future__ import annotations

import copy
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli import models
from flowcli.engine.engine import Engine
from flowcli.engine.graphs import NoWaiting
from flowcli.engine.precision import DTYPES
from flowcli.models.base import FlowModel
from flowcli.types import Frame

NAMES = [pytest.param(name, marks=pytest.mark.slow) if name == "flownet2" else name for name in models.names()]
"""FlowNet 2.0 has 162 million parameters; the networks that it is made of are here one by one."""


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    network: str = request.param
    return network


@pytest.fixture(scope="module")
def model(name: str) -> FlowModel:
    """The network with small random weights everywhere, so that no part of it is silent. Tests leave it as it is."""
    return fresh(name)


def fresh(name: str) -> FlowModel:
    torch.manual_seed(0)
    model = models.create(name).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def pictures(count: int, model: FlowModel, wide: int = 1) -> Tensor:
    side = -(-max(64, model.least) // model.stride) * model.stride
    width = wide * (side + max(model.stride, 64))
    return torch.rand(count, 3, side, width, generator=torch.Generator().manual_seed(1))


def test_names_are_known_and_others_are_refused() -> None:
    assert "rpwc" in models.names()
    with pytest.raises(ValueError, match=r"^unknown network 'raft'; there are: .*rpwc"):
        models.create("raft")


@torch.inference_mode()
def test_flows_from_coarse_to_fine(model: FlowModel) -> None:
    image = pictures(3, model)
    flows = model(image, image.flip(0))
    sides = [flow.shape[-1] for flow in flows]
    assert sides == sorted(sides)
    for flow in flows:
        assert flow.shape[:2] == (3, 2)
        assert flow.dtype == torch.float32
        assert flow.isfinite().all()
        assert flow.shape[2] * image.shape[3] == flow.shape[3] * image.shape[2]
    assert flows[-1].std() > 0


@torch.inference_mode()
def test_a_frame_is_encoded_the_same_in_any_company(model: FlowModel) -> None:
    image = pictures(3, model)
    together, alone = model.encode(image), model.encode(image[1:2])
    assert len(together) == len(alone)
    for many, one in zip(together, alone, strict=True):
        assert many.shape[0] == 3
        torch.testing.assert_close(many[1:2], one, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@torch.inference_mode()
def test_pairs_of_a_batch_do_not_mix(model: FlowModel) -> None:
    features = model.encode(pictures(3, model))
    first, second = (tuple(part[start : start + 2] for part in features) for start in (0, 1))
    both = model.decode(first, second)[-1]
    for number in range(2):
        one, other = (tuple(part[number : number + 1] for part in each) for each in (first, second))
        torch.testing.assert_close(both[number : number + 1], model.decode(one, other)[-1], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_gradients_reach_every_parameter(model: FlowModel) -> None:
    model = copy.deepcopy(model).train()
    # Wide enough for every level of a pyramid.
    image = pictures(2, model, wide=8)
    sum((flow**2).mean() for flow in model(image, image.flip(0))).backward()
    silent = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


@pytest.mark.slow
@torch.inference_mode()
def test_a_gpu_is_left_to_work_alone(model: FlowModel) -> None:
    """What can be known of a CUDA graph without a GPU: nothing reads a value or makes a tensor of numbers."""
    image = pictures(2, model)
    model(image, image.flip(0))
    with NoWaiting():  # type: ignore[no-untyped-call]
        flows = model(image, image.flip(0))
    assert flows[-1].isfinite().all()


def test_weights_come_back(name: str, model: FlowModel) -> None:
    other = models.create(name)
    other.load_state_dict(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(1, 1), (65, 97), (40, 200)])
def test_pictures_of_any_size(model: FlowModel, height: int, width: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    frames = [Frame(image, index, Fraction(index)) for index, image in enumerate(images)]
    (pair,) = Engine(model, device="cpu", precision="fp32").pairs(frames)
    assert pair.forward.uv.shape == (2, height, width)
    assert pair.forward.uv.isfinite().all()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_engine_takes_float32_where_others_lose_too_much(model: FlowModel, precision: str) -> None:
    assert "fp32" in model.precisions
    expected = precision if precision in model.precisions else "fp32"
    engine = Engine(model, device="cpu", precision=precision)
    assert engine.precision == expected
    assert {parameter.dtype for parameter in engine.model.parameters()} == {DTYPES[expected]}


@pytest.mark.slow
@pytest.mark.parametrize("network", ["rpwc", "flownets"])
@torch.inference_mode()
def test_half_precision_is_near(network: str) -> None:
    model = fresh(network)
    image = pictures(2, model)
    exact = model(image[:1], image[1:])[-1]
    model.to(torch.bfloat16)
    features = model.encode(image)
    rough = model.decode(tuple(part[:1] for part in features), tuple(part[1:] for part in features))[-1]
    assert rough.dtype == torch.float32
    assert (rough - exact).norm() < 0.1 * exact.norm()
