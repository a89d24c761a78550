from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flowcli.errors import WeightsError
from flowcli.weights import torch7
from flowcli.weights.checkpoints import read_checkpoint
from tests.lua import Lua, whole

CHANNELS = (8, 6, 4, 2)


def arrays(number: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(number)
    inputs, outputs = CHANNELS[number], CHANNELS[number + 1]
    return random.random((outputs, inputs, 3, 5), np.float32), random.random(outputs, np.float32)


def level(lua: Lua) -> bytes:
    """A network as SpyNet has one for each level of its pyramid."""
    relu = [lua.layer("cudnn.ReLU", inplace=False, mode="CUDNN_ACTIVATION_RELU", nElem=40) for _ in range(2)]
    first = lua.convolution(*arrays(0), "cudnn.SpatialConvolution", groups=1)
    second = lua.convolution(*arrays(1), "nn.SpatialConvolutionMM", flat=True, finput=lua.none())
    third = lua.convolution(*arrays(2), accGrad=lua.function(8), old=lua.function(7), older=lua.function(6))
    return lua.sequential(first, relu[0], second, relu[1], third, _type="torch.FloatTensor", train=False)


def check(state: dict[str, torch.Tensor], prefix: str = "") -> None:
    assert list(state) == [f"{prefix}{layer}.{kind}" for layer in (0, 2, 4) for kind in ("weight", "bias")]
    for number, layer in enumerate((0, 2, 4)):
        weight, bias = arrays(number)
        np.testing.assert_array_equal(state[f"{prefix}{layer}.weight"], weight)
        np.testing.assert_array_equal(state[f"{prefix}{layer}.bias"], bias)


def failure(path: Path, content: bytes) -> str:
    path.write_bytes(whole(content))
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("long", ["q", "i"])
def test_convolutions_of_a_network(tmp_path: Path, long: str) -> None:
    file = tmp_path / "modelL1_F.t7"
    file.write_bytes(whole(level(Lua(long))))
    check(read_checkpoint(file))


def test_networks_in_networks() -> None:
    lua = Lua()
    check(torch7.weights(lua.sequential(lua.layer("nn.Identity"), lua.sequential(level(lua)))), "1.0.")
    copies = lua.sequential(level(lua), level(lua), name="nn.DataParallelTable", gpuAssignments={1: 1, 2: 2})
    check(torch7.weights(copies))


def test_no_bias() -> None:
    lua = Lua()
    state = torch7.weights(lua.layer("nn.SpatialConvolution", weight=arrays(0)[0]))
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {"weight": (6, 8, 3, 5)}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Double", np.float64),
        ("Cuda", np.float32),
        ("CudaHalf", np.float16),
        ("Half", np.float16),
        ("CudaDouble", float),
    ],
)
def test_types_of_numbers(name: str, kind: type[Any]) -> None:
    lua = Lua()
    weight = arrays(0)[0].astype(kind)
    layer = lua.layer("nn.SpatialConvolution", weight=lua.tensor(f"torch.{name}Tensor", weight), sizes=lua.none())
    np.testing.assert_array_equal(torch7.weights(layer)["weight"].numpy(), weight)


def test_other_tensors_are_passed_over() -> None:
    for long, width in (("q", np.int64), ("i", np.int32)):
        lua = Lua(long)
        sizes = lua.storage("torch.LongStorage", np.arange(4, dtype=width))
        mask = lua.tensor("torch.ByteTensor", np.arange(6, dtype=np.uint8))
        check(torch7.weights(lua.sequential(level(lua), size=sizes, mask=mask)), "0.")


def test_views_and_shared_storages() -> None:
    """Flattened parameters: every weight is a part of one storage, which is written once."""
    lua = Lua()
    weight, bias = arrays(0)
    first = lua.tensor("torch.FloatTensor", np.concatenate([bias, weight.ravel()]))
    index = struct.unpack("<i", first[first.index(b"torch.FloatStorage") - 15 :][:4])[0]
    parts = [
        lua.of_class("torch.FloatTensor", struct.pack(f"<i{2 * each.ndim + 1}q2i", each.ndim, *more, 4, index))
        for each, more in ((weight, (6, 8, 3, 5, 120, 15, 5, 1, 7)), (bias, (6, 1, 1)))
    ]
    state = torch7.weights(lua.layer("nn.SpatialConvolution", all=first, weight=parts[0], bias=parts[1]))
    np.testing.assert_array_equal(state["weight"], weight)
    np.testing.assert_array_equal(state["bias"], bias)


def test_files_without_versions() -> None:
    lua = Lua()
    weight, bias = (lua.value(array).replace(lua.text("V 1"), b"") for array in arrays(0))
    state = torch7.weights(
        lua.of_class("nn.SpatialConvolution", lua.value({"weight": weight, "bias": bias}), version="")
    )
    np.testing.assert_array_equal(state["weight"], arrays(0)[0])


def test_no_weights(tmp_path: Path) -> None:
    file = tmp_path / "x.t7"
    lua = Lua()
    for content in (lua.value({}), lua.value({"model": 1}), lua.sequential(lua.layer("nn.ReLU")), lua.none()):
        assert failure(file, content) == f"no weights in the checkpoint: {file}"


def test_other_layers_with_weights(tmp_path: Path) -> None:
    file = tmp_path / "x.t7"
    lua = Lua()
    message = failure(
        file, lua.sequential(lua.convolution(*arrays(0)), lua.convolution(*arrays(1), "nn.SpatialFullConvolution"))
    )
    assert message == f"damaged checkpoint: {file}: 'nn.SpatialFullConvolution' has weights, and is no convolution"


def damaged() -> Iterator[tuple[str, bytes]]:
    lua = Lua()
    start = lua.of_class("nn.SpatialConvolution", b"")
    floats = struct.pack("<2i", 4, 90) + lua.text("V 1") + lua.text("torch.FloatTensor")
    storage = struct.pack("<2i", 4, 91) + lua.text("V 1") + lua.text("torch.FloatStorage")
    yield "a type of object", struct.pack("<2i", 3, 1) + struct.pack("<2i", 1, 77)
    yield "a string", struct.pack("<5i", 3, 1, 1, 2, 1 << 30)
    yield "a string of no length", struct.pack("<5i", 3, 1, 1, 2, -1)
    yield "a table", struct.pack("<3i", 3, 1, 1 << 30)
    yield "a storage", storage + struct.pack("<q", 1 << 40)
    yield "a storage of bytes", storage + struct.pack("<q", 4) + bytes(15)
    yield "a storage of no length", storage + struct.pack("<q", -1)
    yield "dimensions", floats + struct.pack("<i", 1 << 30)
    yield "dimensions below none", floats + struct.pack("<i", -1)
    for size, stride, offset in ((5, 1, 1), (4, 1, 2), (1 << 40, 0, 1), (-4, 1, 1), (2, -1, 2), (4, 1, 0), (5, 0, 1)):
        shape = struct.pack("<i3q", 1, size, stride, offset)
        numbers = storage + struct.pack("<q", 4) + bytes(16)
        yield f"size {size}, stride {stride}, offset {offset}", floats + shape + numbers
    yield "a tensor on a table", floats + struct.pack("<i3q", 1, 1, 1, 1) + lua.value({})
    yield "fields", start + lua.value(3)
    yield "a kernel", start + lua.value({"weight": arrays(0)[0].reshape(6, -1), "kW": 5, "kH": 3, "nInputPlane": 7})
    yield (
        "a kernel of inf",
        start + lua.value({"weight": arrays(0)[0].reshape(6, -1), "kW": 5, "kH": 3, "nInputPlane": 1e999}),
    )
    yield "no kernel", start + lua.value({"weight": arrays(0)[0].reshape(6, -1)})
    yield "a missing layer", lua.layer("nn.Sequential", modules={2: lua.convolution(*arrays(0))})
    yield "more", level(lua) + b"\0"
    yield "a class", lua.of_class("torch.ComplexTensor", bytes(40))
    yield "text", b"\x03\0\0\0\x01\0\0\0" + b"9" * 99


@pytest.mark.parametrize(("what", "content"), list(damaged()))
def test_damage(tmp_path: Path, what: str, content: bytes) -> None:
    assert failure(tmp_path / "x.t7", content).startswith(f"damaged checkpoint: {tmp_path}/x.t7: ")


def test_deep_and_endless_files(tmp_path: Path) -> None:
    file = tmp_path / "x.t7"
    opening = b"".join(struct.pack("<3iid", 3, number, 1, 1, 0) for number in range(1, 50_000))
    assert failure(file, opening).endswith("more than 100 objects lie within each other")
    itself = struct.pack("<2i", 4, 1) + Lua().text("nn.Sequential") + Lua().value({"modules": b"MODULES"})
    start = itself.split(b"MODULES")[0]
    endless = start + struct.pack("<3i", 3, 9, 1) + struct.pack("<id", 1, 1) + struct.pack("<2i", 4, 1)
    assert failure(file, endless) == f"damaged checkpoint: {file}: 'nn.Sequential' is used twice"
    lua = Lua()
    many = lua.sequential(lua.convolution(*arrays(0)))
    for _ in range(20):
        again = struct.pack("<2i", 4, struct.unpack("<i", many[4:8])[0])
        many = lua.sequential(many, again)
    assert failure(file, many).endswith("'nn.Sequential' is used twice")


@pytest.mark.slow
def test_a_truncated_file(tmp_path: Path) -> None:
    content = level(Lua())
    for length in range(9, len(content), 37):
        assert failure(tmp_path / "x.t7", content[:length]).startswith(f"damaged checkpoint: {tmp_path}/x.t7: ")


@given(st.data())
def test_damage_is_told(data: st.DataObject) -> None:
    content = bytearray(level(Lua()))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 600))] = data.draw(st.integers(0, 255))
    try:
        state = torch7.weights(bytes(content))
    except torch7.DAMAGE:
        return
    assert isinstance(state, dict)
