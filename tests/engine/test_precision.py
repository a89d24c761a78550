"""Devices that are there and those that are not, what each is fast in, and the copy of a model that is made for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from flowcli.engine import precision
from flowcli.engine.engine import Engine
from flowcli.engine.precision import DTYPES, choose_device, choose_precision, converted, cpu_has_bf16, dtype_of
from flowcli.errors import DeviceError
from flowcli.models.base import FlowModel
from flowcli.models.conv import Conv, Int8Conv
from tests.fakes import Tiled, Tiny, frame, run


class Convolution(FlowModel):
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({"layer": (-1.0, 1.0)})

    def __init__(self) -> None:
        super().__init__()
        self.layer = Conv(3, 4)


@pytest.mark.parametrize(
    ("int8", "bf16", "known", "expected"),
    [
        (True, True, ("int8", "fp32", "bf16"), "int8"),
        (True, True, ("fp32", "bf16"), "bf16"),
        (False, True, ("int8", "fp32", "bf16"), "bf16"),
        (True, False, ("int8", "fp32", "bf16"), "int8"),
        (False, False, ("int8", "fp32", "bf16"), "fp32"),
        (True, True, ("fp32", "fp16"), "fp32"),
    ],
)
def test_auto_precision_of_a_cpu(
    monkeypatch: pytest.MonkeyPatch, int8: bool, bf16: bool, known: tuple[str, ...], expected: str
) -> None:
    monkeypatch.setattr(precision, "int8_works", lambda: int8)
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: bf16)
    assert choose_precision("auto", torch.device("cpu"), known) == expected
    assert dtype_of("int8") == (torch.bfloat16 if bf16 else torch.float32)


def test_a_model_gets_fp32_for_what_it_does_not_know() -> None:
    assert choose_precision("fp16", torch.device("cpu"), ("fp32", "bf16")) == "fp32"
    with pytest.raises(
        ValueError, match=r"precision must be one of \('auto', 'int8', 'bf16', 'fp16', 'fp32'\), got 'fp8'"
    ):
        choose_precision("fp8", torch.device("cpu"), ("fp32",))


def test_int8_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "int8_works", lambda: False)
    with pytest.raises(DeviceError, match="cpu has no convolutions in int8 that flowcli can use"):
        choose_precision("int8", torch.device("cpu"), ("int8", "fp32"))
    assert Engine(Tiny(), "cpu", "bf16").precision == "bf16"


@pytest.mark.parametrize(
    ("capability", "expected"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((6, 1), "fp32")]
)
def test_auto_precision_of_a_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", torch.device("cuda", 0), ("int8", "fp32", "bf16", "fp16")) == expected


@pytest.mark.parametrize(("avx512", "amx"), [(True, False), (False, True), (True, True), (False, False)])
def test_bf16_by_the_answer_of_torch(monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert cpu_has_bf16() == (avx512 or amx)


@pytest.mark.parametrize(
    ("flags", "expected"), [("avx512f avx512_bf16", True), ("amx_bf16 amx_tile", True), ("avx512f avx2", False)]
)
def test_bf16_by_the_flags_of_the_cpu(monkeypatch: pytest.MonkeyPatch, flags: str, expected: bool) -> None:
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: f"flags : fpu {flags} sse\n")
    assert cpu_has_bf16() == expected


def test_bf16_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: Path, encoding: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.setattr(Path, "read_text", missing)
    assert not cpu_has_bf16()


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes torch believe in a number of GPUs."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)

    return pretend


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("cpu", 2, "cpu"),
        ("cuda", 2, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_device(gpus: Callable[[int], None], name: str, count: int, expected: str) -> None:
    gpus(count)
    assert choose_device(name) == torch.device(expected)


@pytest.mark.parametrize(
    ("name", "count", "message", "hint"),
    [
        ("cuda", 0, "no CUDA device for 'cuda'", "pass --device cpu, or install a torch that supports the GPU"),
        ("cuda:2", 2, "no such device: cuda:2", "there are 2: cuda:0 to cuda:1"),
        ("gpu", 0, "unknown device: gpu", "use auto, cpu, cuda or cuda:<number>"),
        ("mps", 0, "unknown device: mps", "use auto, cpu, cuda or cuda:<number>"),
        ("", 0, "unknown device: ", "use auto, cpu, cuda or cuda:<number>"),
    ],
)
def test_devices_that_are_not_there(
    gpus: Callable[[int], None], name: str, count: int, message: str, hint: str
) -> None:
    gpus(count)
    with pytest.raises(DeviceError) as caught:
        Engine(Tiny(), name)
    assert (caught.value.message, caught.value.hint) == (message, hint)


# The engine's own copy of a model


@pytest.mark.parametrize("chosen", ["fp32", "bf16", "fp16"])
def test_the_model_that_was_given_stays_as_it_is(chosen: str) -> None:
    model = Tiny().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    engine = Engine(model, "cpu", chosen)
    list(engine.pairs([frame(0), frame(1)]))
    assert model.training
    assert model.layer.weight.requires_grad
    assert model.layer.weight.dtype == torch.float32
    assert model.layer.weight.is_contiguous()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {value.dtype for value in engine.model.state_dict().values()} == {DTYPES[chosen]}


def test_weights_that_need_no_conversion_take_no_memory() -> None:
    model = Tiny().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.register_buffer("mean", torch.ones(3))
    own = converted(model, torch.device("cpu"), "fp32")
    for mine, theirs in zip(own.state_dict().values(), model.state_dict().values(), strict=True):
        assert mine.data_ptr() == theirs.data_ptr()
    assert own is not model
    half = converted(model, torch.device("cpu"), "bf16")
    assert half.state_dict().keys() == model.state_dict().keys()
    assert {value.dtype for value in half.state_dict().values()} == {torch.bfloat16}
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}


def test_int8_is_of_the_copy_alone() -> None:
    model = Convolution()
    own = converted(model, torch.device("cpu"), "int8")
    assert isinstance(own.get_submodule("layer"), Int8Conv)
    assert isinstance(model.layer, Conv)
    assert model.layer.weight.dtype == torch.float32
    again = converted(own, torch.device("cpu"), "int8")
    assert again is not own
    assert again.get_submodule("layer") is own.get_submodule("layer")


def test_engines_that_share_a_model_do_not_disturb_each_other() -> None:
    model, frames = Tiled(2048), [frame(0), frame(1)]
    ones, others = Engine(model, "cpu", "fp32", tile=64), Engine(model, "cpu", "bf16", tile=500)
    (expected,) = run(Tiny(), frames)
    (pair,) = ones.pairs(frames)
    assert torch.equal(pair.forward.uv, expected.forward.uv)
    assert (model.tile, ones.model.tile, others.model.tile) == (0, 64, 500)
