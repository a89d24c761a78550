from __future__ import annotations

import argparse
import builtins
import contextlib
import copyreg
import io
import os
import pickle
import pickletools
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from flowcli.errors import WeightsError
from flowcli.weights.checkpoints import read_checkpoint
from flowcli.weights.unpickling import unpickle

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([0.5, -1.5])}
both_formats = pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])


def save(content: Any, path: Path, new: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=new)
    return path


def failure(path: Path) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


def check(path: Path, wanted: dict[str, Tensor] = STATE) -> None:
    state = read_checkpoint(path)
    assert list(state) == list(wanted)
    for name, tensor in state.items():
        assert tensor.dtype == wanted[name].dtype
        assert tensor.device.type == "cpu"
        assert tensor.shape == wanted[name].shape
        assert torch.equal(tensor, wanted[name])


class Settings(dict[str, Any]):
    """Such as Lightning keeps hyper-parameters in."""


@both_formats
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"arch": "flownets", "state_dict": state, "div_flow": 20.0},
        lambda state: {"epoch": 3, "state_dict": state, "best_EPE": np.float64(1.9)},
        lambda state: {"model": state, "step": torch.tensor(3)},
        lambda state: {"state_dict": None, "model": [1], **state},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {"state_dict": {f"model.module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {**state, "epoch": 3, "name": "x", "none": None, "list": [torch.zeros(2)]},
        lambda state: {name: nn.Parameter(tensor) for name, tensor in state.items()},
        lambda state: {
            "meta": {"mmcv": "1.4", "classes": {1, 2}, (1, 2): "pair"},
            "state_dict": state,
            "optimizer": {"state": {0: {"exp_avg": torch.ones(9)}}, "param_groups": [{"params": [0, 1]}]},
        },
        lambda state: {
            "pytorch-lightning_version": "1.4",
            "state_dict": state,
            "hyper_parameters": Settings(args=argparse.Namespace(path=Path("x"), loss=nn.L1Loss())),
            "callbacks": {argparse.Namespace: {"best": np.zeros(3), "monitor": len}},
        },
    ],
)
def test_states_are_found(tmp_path: Path, new: bool, wrap: Callable[[dict[str, Tensor]], Any]) -> None:
    check(save(wrap(OrderedDict(STATE)), tmp_path / "x.pth", new))


@both_formats
def test_every_kind_of_tensor(tmp_path: Path, new: bool) -> None:
    whole = torch.arange(24.0)
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8)
    state = {
        **{str(kind): torch.arange(5).to(kind) for kind in (*kinds, torch.uint8, torch.bool)},
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "part": whole[3:9],
        "turned": whole.reshape(4, 6).t(),
        "channels last": torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "repeated": torch.ones(1).expand(1, 1),
    }
    check(save(state, tmp_path / "x.pth", new), state)


@both_formats
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_newer_pickles(tmp_path: Path, new: bool, protocol: int) -> None:
    content = {"state_dict": STATE, "sets": [{1, 2}, frozenset("ab")], "data": bytearray(b"x"), "big": 1 << 99}
    file = tmp_path / "x.pth"
    torch.save(content, file, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    check(file)


def test_a_state_dict_as_torch_gives_it(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    check(save(net.state_dict(), tmp_path / "x.pth"), net.state_dict())
    check(save(nn.DataParallel(net).state_dict(), tmp_path / "x.pth"), net.state_dict())


def test_safetensors_by_content(tmp_path: Path) -> None:
    for name in ("x.safetensors", "x.bin"):
        save_file(STATE, tmp_path / name, {"network": "x"})
        state = read_checkpoint(tmp_path / name)
        assert all(torch.equal(state[key], tensor) for key, tensor in STATE.items())
    (tmp_path / "x.bin").write_bytes((tmp_path / "x.safetensors").read_bytes()[:-1])
    assert failure(tmp_path / "x.bin").message.startswith(f"damaged checkpoint: {tmp_path}/x.bin: ")


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    error = failure(file)
    assert (error.message, error.hint) == (
        f"cannot read checkpoint: {file}: No such file or directory",
        "check the name",
    )
    assert failure(tmp_path).message == f"cannot read checkpoint: {tmp_path}: Is a directory"
    file.touch()
    assert failure(file).message == f"checkpoint is empty: {file}"
    for text in (b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1\n", b"x", b"\x1f\x8b"):
        file.write_bytes(text)
        error = failure(file)
        assert error.message == f"not a checkpoint: {file}"
        assert error.hint == "fetch it again; of a repository with large files, fetch those as well"
    file.write_bytes(pickle.dumps({"a": 1}))
    assert failure(file).message == f"damaged checkpoint: {file}: a pickle, but not of torch"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "x")
    assert failure(file).message == f"damaged checkpoint: {file}: a zip archive, but not of torch"


@both_formats
def test_no_weights(tmp_path: Path, new: bool) -> None:
    for content in ({}, [torch.ones(1)], torch.ones(1), {"state_dict": {"a": 1}}, "x"):
        error = failure(save(content, tmp_path / "x.pth", new))
        assert error.message == f"no weights in the checkpoint: {tmp_path}/x.pth"
        assert error.hint == "choose a file with a state_dict"
    message = f"no weights in the checkpoint: {tmp_path}/x.pth: it would call torch.nn.modules.linear.Linear"
    assert failure(save(nn.Linear(2, 2), tmp_path / "x.pth", new)).message == message


# Hostile pickles, written operation by operation.


def text(words: object) -> bytes:
    encoded = str(words).encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def ends(data: bytes) -> list[int]:
    """Where the five pickles end that `data` begins with."""
    file = io.BytesIO(data)
    found: list[int] = []
    while len(found) < 5:
        deque(pickletools.genops(file), 0)
        found.append(file.tell())
    return found


def edit(path: Path, change: Callable[[bytes], bytes], new: bool, **options: Any) -> Path:
    """Changes the pickle that describes the content."""
    if new:
        with zipfile.ZipFile(path) as archive:
            parts = {part: archive.read(part) for part in archive.namelist()}
        with zipfile.ZipFile(path, "w", **options) as archive:
            for part, data in parts.items():
                archive.writestr(part, change(data) if part.endswith("data.pkl") else data)
    else:
        data = path.read_bytes()
        _, _, start, end, *_ = ends(data)
        path.write_bytes(data[:start] + change(data[start:end]) + data[end:])
    return path


def beside(extra: bytes) -> Callable[[bytes], bytes]:
    """Puts what the operations `extra` make into a dict with the state dict."""
    return lambda body: b"".join([b"\x80\x02}(", text("state_dict"), body[2:-1], text("extra"), extra, b"u."])


def hostile(touched: Path) -> dict[str, bytes]:
    """Operations each of which leaves one object on the stack, and touches the file where they are executed."""
    command, system = text(f"touch {touched}"), b"cos\nsystem\n"
    call = system + command + b"\x85R"
    ordered = b"ccollections\nOrderedDict\n)R"
    return {
        "reduce": call,
        "eval": b"cbuiltins\neval\n" + text(f"__import__('os').system('touch {touched}')") + b"\x85R",
        "in a list": b"](" + call + call + b"e",
        "in a dict": b"}(" + text("hyper_parameters") + b"}" + text("args") + call + b"su",
        "as a key": b"}" + call + b"K\x01s",
        "inst": b"(" + command + b"ios\nsystem\n",
        "obj": b"(" + system + command + b"o",
        "stack global": text("os") + text("system") + b"\x93" + command + b"\x85R",
        "dotted": b"\x80\x04" + text("torch.serialization") + text("os.system") + b"\x93" + command + b"\x85R",
        "dotted tensor": b"\x80\x04" + text("torch._utils") + text("torch.os.system") + b"\x93" + command + b"\x85R",
        "extension": b"\x82\xf0" + command + b"\x85R",
        "getattr": b"cbuiltins\ngetattr\ncos\n_exit\n" + text("__self__") + b"\x86R0" + call,
        "new object": b"csubprocess\nPopen\n" + command + b"\x85\x81",
        "new object, named": b"csubprocess\nPopen\n" + command + b"\x85}" + text("shell") + b"\x88s\x92",
        "built": ordered + b"}" + text("__setstate__") + system + b"sb" + command + b"b",
        "built, with slots": ordered + b"}}" + text("__class__") + system + b"s\x86b",
        "built function": b"ctorch._utils\n_rebuild_tensor_v2\n}" + text("__code__") + call + b"sb",
        "tensor": b"ctorch._utils\n_rebuild_tensor_v2\n(" + call + b"K\x00K\x01\x85K\x01\x85tR",
        "parameter": b"ctorch._utils\n_rebuild_parameter\n" + call + b"\x88" + ordered + b"\x87R",
        "module": b"(" + text("module") + b"csubprocess\nPopen\n" + text("f") + text("s") + b"tQ" + command + b"\x85R",
        "storage": b"(" + text("storage") + system + call + text("cpu") + b"K\x01tQ",
        "reference": b"Pos.system\n",
        "appended": ordered + call + b"a",
    }


EXECUTED = {"reduce", "eval", "in a list", "in a dict", "as a key", "inst", "obj", "stack global"}
EXECUTED |= {"dotted", "dotted tensor", "extension", "getattr"}
"""Those that Python itself executes without any help of torch: proof that they bite."""


@pytest.fixture
def extension() -> Iterator[None]:
    copyreg.add_extension("os", "system", 0xF0)
    yield
    copyreg.remove_extension("os", "system", 0xF0)


@both_formats
@pytest.mark.parametrize("name", hostile(Path()))
@pytest.mark.usefixtures("extension")
def test_hostile_pickles_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: bool, name: str) -> None:
    def told(*what: object, **more: object) -> None:
        raise AssertionError(f"{what} {more}")

    touched = tmp_path / "touched"
    operations = hostile(touched)[name]
    file = edit(save(STATE, tmp_path / "x.pth", new), beside(operations), new)
    alone = edit(save([], tmp_path / "alone.pth", new), lambda body: b"\x80\x02" + operations + b".", new)
    with monkeypatch.context() as guarded:
        for module, call in ((os, "system"), (builtins, "eval"), (subprocess, "Popen")):
            guarded.setattr(module, call, told)
        check(file)
        error = failure(alone)
    assert re.fullmatch(rf"no weights in the checkpoint: {alone}(: it would call [\w.]+)?", error.message)
    if name in ("reduce", "eval"):
        assert error.message.endswith(": it would call " + ("os.system" if name == "reduce" else "builtins.eval"))
    assert not touched.exists()
    if name in EXECUTED:
        pickle.loads(b"\x80\x02" + operations + b".")
        assert touched.exists()


@both_formats
def test_a_hostile_tensor_is_refused(tmp_path: Path, new: bool) -> None:
    touched = tmp_path / "touched"
    for name in ("tensor", "parameter", "module", "storage", "reference"):
        file = edit(
            save(STATE, tmp_path / "x.pth", new),
            lambda body, name=name: b"\x80\x02}" + text("a") + hostile(touched)[name] + b"s.",  # type: ignore[misc]
            new,
        )
        assert re.match(rf"(damaged|no weights in the) checkpoint: {file}", failure(file).message)
    assert not touched.exists()


# Files that are not as large as they say.


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def resize(path: Path, new: bool, size: int, stride: int, offset: int, elements: int) -> Path:
    """Claims these of the one tensor and its storage."""
    data = path.read_bytes()
    key = "0" if new else pickle.loads(data[ends(data)[3] :])[0]
    label = [text("storage"), b"ctorch\nFloatStorage\n", text(key), text("cpu"), number(elements), b"" if new else b"N"]
    shape = [number(offset), number(size), b"\x85", number(stride), b"\x85"]
    body = [b"\x80\x02}", text("a"), b"ctorch._utils\n_rebuild_tensor_v2\n((", *label, b"tQ", *shape, b"\x89}tRs."]
    return edit(path, lambda _: b"".join(body), new)


@both_formats
def test_sizes_that_lie(tmp_path: Path, new: bool) -> None:
    def sized(size: int, stride: int, offset: int, elements: int) -> Path:
        return resize(save({"a": torch.arange(4.0)}, tmp_path / "x.pth", new), new, size, stride, offset, elements)

    check(sized(4, 1, 0, 4), {"a": torch.arange(4.0)})
    check(sized(2, 2, 1, 4), {"a": torch.tensor([1.0, 3.0])})
    check(sized(0, 9, 0, 4), {"a": torch.zeros(0)})
    for wrong in (
        (5, 1, 0, 4),
        (4, 1, 1, 4),
        (2, 4, 0, 4),
        (1 << 40, 0, 0, 4),
        (5, 0, 0, 4),
        (-1, 1, 0, 4),
        (2, -1, 1, 4),
        (4, 1, -1, 4),
        (1, 1, 1 << 62, 4),
        (4, 1, 0, 1 << 40),
        (4, 1, 0, 5),
        (4, 1, 0, 3),
        (4, 1, 0, -1),
    ):
        assert failure(sized(*wrong)).message.startswith(f"damaged checkpoint: {tmp_path}/x.pth: ")


def test_a_storage_that_is_longer_than_the_file(tmp_path: Path) -> None:
    file = save({"a": torch.arange(4.0)}, tmp_path / "x.pth", new=False)
    data = file.read_bytes()
    place = ends(data)[4]
    for count in (5, 1 << 40, -1, -(1 << 62)):
        file.write_bytes(data[:place] + struct.pack("<q", count) + data[place + 8 :])
        message = f"damaged checkpoint: {file}: {count} numbers should follow where 16 bytes are left"
        assert failure(file).message == message


@pytest.mark.slow
def test_a_name_that_is_no_string(tmp_path: Path) -> None:
    file = save(STATE, tmp_path / "x.pth", new=False)
    data = file.read_bytes()
    *_, start, end = ends(data)
    file.write_bytes(data[:start] + b"\x80\x02](" + b")" + b"\x85" * 100_000 + b"e." + data[end:])
    assert failure(file).message == f"damaged checkpoint: {file}: a storage without a name"


def test_archives_that_grow(tmp_path: Path) -> None:
    file = save({"a": torch.zeros(100_000)}, tmp_path / "x.pth")
    edit(file, lambda body: body, new=True, compression=zipfile.ZIP_DEFLATED)
    assert failure(file).message == f"damaged checkpoint: {file}: it is compressed, or larger inside than outside"
    # Two entries for one part, both of which would be read.
    edit(save({"a": torch.zeros(1000)}, file), lambda body: body, new=True)
    data = file.read_bytes()
    directory, end = data.index(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    twice = data[directory:end].replace(b"x/data.pkl", b"x/atad.pkl").replace(b"x/data/0", b"x/data/1")
    count, size, start = struct.unpack("<HII", data[end + 10 : end + 20])
    tail = struct.pack("<HHII", 2 * count, 2 * count, 2 * size, start) + b"\0\0"
    file.write_bytes(data[:end] + twice + b"PK\x05\x06\0\0\0\0" + tail)
    with zipfile.ZipFile(file) as archive:
        assert len(archive.namelist()) == 2 * count
    assert failure(file).message == f"damaged checkpoint: {file}: it is compressed, or larger inside than outside"


def inserted(operations: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body[:2] + operations + body[2:]


@both_formats
@pytest.mark.parametrize(
    "operations",
    [
        b"r\xff\xff\xff\x7f",  # What is remembered under a large number may make a long list.
        b"\x96" + struct.pack("<Q", 1 << 40),
        b"\x8e" + struct.pack("<Q", 1 << 40),
        b"\x8d" + struct.pack("<Q", 1 << 40),
        b"\x8b" + struct.pack("<i", (1 << 31) - 1),
        text("a") + b"]" + b"2\x86" * 60 + b"\x930",  # A name of exabytes, if all is put into a name.
    ],
)
def test_pickles_that_grow(tmp_path: Path, new: bool, operations: bytes) -> None:
    file = edit(save(STATE, tmp_path / "x.pth", new), inserted(operations), new)
    tracemalloc.start()
    assert failure(file).message.startswith(f"damaged checkpoint: {file}: ")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


PAIRS = b"(" + b"".join(text(str(number)) + b"K\1\x86" for number in range(5000)) + b"t\x94"
"""Five thousand items for a dict, remembered."""


@pytest.mark.slow
@both_formats
@pytest.mark.parametrize(
    ("operations", "reason"),
    [
        (
            PAIRS + b"ccollections\nOrderedDict\n\x94" + b"h\1h\0\x85R0" * 1000 + b"00",
            "a pickle of more than 1000000 steps",
        ),
        (b"(" * 1_100_000, "a pickle of more than 1000000 steps"),
        (text("x" * 501) + b"\x94" + b"h\0h\0\x930" + b"0", "the name of a class is too long"),
    ],
    ids=["items", "marks", "names"],
)
def test_pickles_that_work_too_much(tmp_path: Path, new: bool, operations: bytes, reason: str) -> None:
    file = edit(save(STATE, tmp_path / "x.pth", new), inserted(operations), new)
    assert failure(file).message == f"damaged checkpoint: {file}: {reason}"


@pytest.mark.slow
def test_what_this_program_wrote_is_looked_at_before_torch_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save({"step": 3, "model": STATE}, tmp_path / "x.pt")
    assert unpickle(file, "checkpoint", "start anew")["step"] == 3
    monkeypatch.setattr(torch, "load", None)
    for growing in (
        edit(file, inserted(b"(" * 1_100_000), new=True),
        edit(save(STATE, tmp_path / "y.pt"), lambda body: body, new=True, compression=zipfile.ZIP_DEFLATED),
        save(STATE, tmp_path / "z.pt", new=False),
    ):
        with pytest.raises(WeightsError, match=r"^unsafe or damaged checkpoint: ") as caught:
            unpickle(growing, "checkpoint", "start anew")
        assert caught.value.hint == "start anew"


@pytest.mark.parametrize("depth", [4, 5])
def test_names_in_wrappers(tmp_path: Path, depth: int) -> None:
    """Four are taken off; a name of a million of them would take hours."""
    file = save({"module." * depth + name: tensor for name, tensor in STATE.items()}, tmp_path / "x.pth")
    check(file, {"module." * (depth - 4) + name: tensor for name, tensor in STATE.items()})


@pytest.mark.slow
@both_formats
@pytest.mark.parametrize(
    "operations",
    [
        b"}(" + b")" + b"\x85" * 100_000 + b"K\x01u0",
        b"ccollections\nOrderedDict\n](](" + b")" + b"\x85" * 100_000 + b"K\x01ee\x85R0",
        b"](" + b"](" * 100_000 + b"e" * 100_000 + b"e0",
        b"ctorch._utils\n_rebuild_tensor\n" * 30_000 + b")" + b"R\x85" * 30_000 + b"0",
        b"\x80\x04(" + b")" + b"\x85" * 100_000 + b"\x910",
    ],
    ids=["key", "item", "list", "tensor", "set"],
)
def test_deep_pickles(tmp_path: Path, new: bool, operations: bytes) -> None:
    check(edit(save(STATE, tmp_path / "x.pth", new), inserted(operations), new))


def test_big_endian_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(STATE, tmp_path / "x.pth")
    with zipfile.ZipFile(file) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for part, data in parts.items():
            archive.writestr(part, b"big" if part.endswith("byteorder") else data)
    assert failure(file).message == f"damaged checkpoint: {file}: its numbers are big-endian"
    monkeypatch.setattr(sys, "byteorder", "big")
    save(STATE, file, new=False)
    assert failure(file).message == f"damaged checkpoint: {file}: its numbers are big-endian"


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    """Strings are bytes there, and those of a number of numpy are no text."""
    file = save({"a": torch.arange(4.0)}, tmp_path / "x.pth.tar", new=False)

    def older(body: bytes) -> bytes:
        spelled = re.sub(rb"X(.)\0\0\0", rb"U\1", body[2:-1], flags=re.DOTALL)
        kind = b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R"
        error = b"cnumpy.core.multiarray\nscalar\n" + kind + b"U\x08\xcd\xcc\xff\xcc\xcc\xcc\xf0\x3f\x86R"
        ordered = b"ccollections\nOrderedDict\n](](U\x01aK\x01ee\x85R"
        return b"".join([b"\x80\x02}(U\x08best_EPE", error, b"U\x04more", ordered, b"U\x0astate_dict", spelled, b"u."])

    check(edit(file, older, new=False), {"a": torch.arange(4.0)})


@both_formats
@given(st.data())
def test_damage_is_told(tmp_path_factory: pytest.TempPathFactory, new: bool, data: st.DataObject) -> None:
    file = save({"state_dict": STATE, "extra": [1.5, (2, "x")]}, tmp_path_factory.mktemp("damaged") / "x.pth", new)
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    with contextlib.suppress(WeightsError):
        assert isinstance(read_checkpoint(file), dict)
