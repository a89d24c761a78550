"""Convolutions and what follows them, and the same in 8 bits."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcli.models import conv as module
from flowcli.models.conv import Conv, Int8Conv, int8_works, measure_ranges, to_int8

needs_int8 = pytest.mark.skipif(not int8_works(), reason="this CPU, or this torch, has no convolutions in int8")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("dilation", [1, 2])
@torch.inference_mode()
def test_what_follows_a_convolution(dilation: int) -> None:
    image, plus = random(1, 6, 8, 9), random(1, 6, 8, 9, seed=1)
    conv = Conv(6, 6, dilation=dilation, residual=True, relu=True)
    bare = F.conv2d(image, conv.weight, conv.bias, padding=dilation, dilation=dilation)
    expected = (bare + image + plus).clamp_min(0)
    torch.testing.assert_close(conv(image[:, :2], image[:, 2:], plus=plus), expected)
    torch.testing.assert_close(conv(image, plus=plus), expected)
    assert Conv(6, 4, 1, 2)(image).shape == (1, 4, 4, 5)


@needs_int8
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("size", "stride", "dilation", "residual", "relu"),
    [(3, 1, 1, False, False), (3, 2, 1, False, True), (3, 1, 2, True, True), (1, 1, 1, False, True)],
)
@torch.inference_mode()
def test_in_8_bits(size: int, stride: int, dilation: int, residual: bool, relu: bool, dtype: torch.dtype) -> None:
    """Exact where all numbers are whole steps, at the border too, where nothing lies outside."""
    torch.manual_seed(0)
    conv = Conv(8, 8, size, stride, dilation, residual=residual, relu=relu)
    conv.weight.copy_(torch.randint(-127, 128, conv.weight.shape) / 127)
    conv.weight[:, 0, 0, 0] = 1
    image = (torch.randint(-100, 156, (2, 8, 12, 14)) / 100).to(dtype)
    steps = (image.float() * 100).round() / 100
    expected = F.conv2d(steps, conv.weight, conv.bias, stride, dilation * (size // 2), dilation)
    expected = expected + image.float() if residual else expected
    expected = expected.clamp_min(0) if relu else expected
    maps = (image.clone(),) if residual else (image[:, :3], image[:, 3:])
    found = Int8Conv(conv, -1.0, 1.55, dtype)(*maps)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=1e-5 if dtype == torch.float32 else 2**-8, atol=1e-4)


@needs_int8
@torch.inference_mode()
def test_what_is_added_stays_as_it_is() -> None:
    conv, image, plus = Conv(8, 8), random(1, 8, 6, 7), random(1, 8, 6, 7, seed=1)
    kept = plus.clone()
    found = Int8Conv(conv, -1, 1, torch.float32)(image, plus=plus)
    torch.testing.assert_close(found, conv(image) + kept, rtol=0, atol=0.03)
    assert torch.equal(plus, kept)


@needs_int8
@torch.inference_mode()
def test_maps_of_many_shapes_by_turns() -> None:
    """More of them than packed weights are kept for."""
    conv = Conv(8, 8, 3, 2)
    int8 = Int8Conv(conv, -1, 1, torch.float32)
    for seed in range(2 * module._SHAPES + 2):
        image = random(1 + seed % 2, 8, 4 + seed % (module._SHAPES + 1), 9, seed=seed)
        torch.testing.assert_close(int8(image), conv(image), rtol=0, atol=0.03)
    assert len(int8._packed) <= module._SHAPES


@needs_int8
@torch.inference_mode()
def test_maps_and_weights_that_are_zero() -> None:
    conv = Conv(8, 8)
    conv.weight.zero_()
    found = Int8Conv(conv, 0.0, 0.0, torch.float32)(torch.zeros(1, 8, 5, 5))
    bias = dict(conv.named_parameters())["bias"]
    torch.testing.assert_close(found, bias[:, None, None].expand(8, 5, 5)[None])


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Identity(), Conv(3, 16, relu=True))
        self.second = Conv(16, 8)
        self.third = Conv(8, 8, precise=True)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.third(self.second(self.first(image)))
        return result


@torch.inference_mode()
def test_ranges() -> None:
    model, image = Two(), random(1, 3, 64, 64) * 3
    image[0, 0, 0, 0] = 1e6
    result, ranges = measure_ranges(model, lambda: model(image))
    assert torch.equal(result, model(image))
    assert list(ranges) == ["first.1", "second"]
    low, high = ranges["first.1"]
    assert -3 < low < -2.99
    assert 2.99 < high < 3, "a single number that is far out does not count"
    assert ranges["second"][0] == 0.0
    # What is looked for is gone afterwards.
    before = dict(ranges)
    model(image * 100)
    assert ranges == before
    assert all(low == 0 for low, _ in measure_ranges(model, lambda: model(image.abs()))[1].values())


@needs_int8
@torch.inference_mode()
def test_a_model_in_8_bits() -> None:
    model, image = Two(), random(1, 3, 64, 64)
    expected, ranges = measure_ranges(model, lambda: model(image))
    int8 = copy.deepcopy(model)
    to_int8(int8, ranges, torch.float32)
    assert isinstance(int8.first[1], Int8Conv)
    assert isinstance(int8.second, Int8Conv)
    assert isinstance(int8.third, Conv)
    found = int8(image)
    assert 0 < (found - expected).abs().mean() < 0.02 * expected.std()
    to_int8(int8, ranges, torch.float32)
    assert torch.equal(int8(image), found)


def test_a_cpu_without_vnni_does_not_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_cpu_has_vnni", lambda: False)
    monkeypatch.setattr(module, "Int8Conv", None)
    assert not int8_works.__wrapped__()


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError])
def test_a_torch_that_knows_no_such_convolutions(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail(*given: object) -> None:
        raise error

    monkeypatch.setattr(module, "_cpu_has_vnni", lambda: True)
    monkeypatch.setattr(module, "Int8Conv", fail)
    assert not int8_works.__wrapped__()


def test_a_torch_whose_convolutions_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_cpu_has_vnni", lambda: True)
    monkeypatch.setattr(module, "Int8Conv", lambda *given: lambda image, plus: image)
    assert not int8_works.__wrapped__()
