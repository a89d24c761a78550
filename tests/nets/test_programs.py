"""Programs of torch.export: run, and refused where loading them would run code."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flowcli.errors import InputError, UsageError
from flowcli.nets.net import open_net
from flowcli.types import Frame

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


class Front(nn.Module):
    gain: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
        self.register_buffer("gain", torch.tensor(2.0))

    def forward(self, image: Tensor) -> Tensor:
        return torch.relu(self.conv(image)) * self.gain + torch.tensor([0.5])


class Behind(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 2, 1)

    def forward(self, features: Tensor) -> Tensor:
        scores: Tensor = self.conv(features)
        return scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    torch.manual_seed(5)
    front, behind = Front().eval(), Behind().eval()
    torch.save((front.state_dict(), behind.state_dict()), folder / "weights.pt")
    height, width = (torch.export.Dim(name, min=2, max=512) for name in ("height", "width"))
    sizes = ({2: 2 * height, 3: 2 * width},)
    torch.export.save(torch.export.export(front, (torch.zeros(1, 3, 64, 96),), dynamic_shapes=sizes), folder / "a.pt2")
    torch.export.save(
        torch.export.export(behind, (torch.zeros(1, 4, 32, 48),), dynamic_shapes=({2: height, 3: width},)),
        folder / "b.pt2",
    )
    torch.export.save(torch.export.export(front, (torch.zeros(1, 3, 32, 48),)), folder / "fixed.pt2")
    return folder


@pytest.fixture
def frame() -> Frame:
    return Frame(np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8), 0, Fraction(0))


def altered(source: Path, target: Path, change: Callable[[str, bytes], bytes | None], **more: bytes) -> Path:
    """The archive with files changed, or left out for None, and more files."""
    with zipfile.ZipFile(source) as given, zipfile.ZipFile(target, "w") as made:
        for info in given.infolist():
            data = change(info.filename.partition("/")[2], given.read(info))
            if data is not None:
                made.writestr(info.filename, data)
        for name, data in more.items():
            made.writestr(name, data)
    return target


def test_two_programs_are_one_network(folder: Path, frame: Frame) -> None:
    front, behind = Front(), Behind()
    for module, weights in zip((front, behind), torch.load(folder / "weights.pt", weights_only=True), strict=True):
        module.load_state_dict(weights)
    net = open_net(f"{folder / 'a.pt2'},{folder / 'b.pt2'}")
    assert net.cut
    image = torch.from_numpy(frame.image).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        features = front(image)
        expected = behind(features)
    (carried,) = net.encode(frame)
    assert torch.allclose(carried, features, rtol=0, atol=1e-6)
    assert torch.allclose(net.finish((carried,))[0], expected, rtol=0, atol=1e-6)


def test_a_fixed_size_is_met(folder: Path, frame: Frame) -> None:
    net = open_net(str(folder / "fixed.pt2"))
    assert net.prepare(frame).shape == (1, 3, 32, 48)
    assert net.encode(frame)[0].shape == (1, 4, 16, 24)


def test_a_size_that_is_no_multiple_is_one_line(folder: Path) -> None:
    odd = Frame(np.zeros((65, 97, 3), np.uint8), 0, Fraction(0))
    with pytest.raises(InputError) as caught:
        open_net(str(folder / "a.pt2")).encode(odd)
    assert caught.value.message.startswith(f"{folder / 'a.pt2'} fails on (1, 3, 65, 97): ")
    assert "\n" not in caught.value.message
    assert caught.value.hint == "set `size` or `multiple` beside it"


def test_sample_inputs_are_not_read(folder: Path, tmp_path: Path, frame: Frame) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "touched"))
    path = altered(
        folder / "fixed.pt2", tmp_path / "net.pt2", lambda name, data: bomb if "sample_inputs" in name else data
    )
    open_net(str(path)).encode(frame)
    assert not (tmp_path / "touched").exists()


def test_guards_are_not_run(folder: Path, tmp_path: Path, frame: Frame) -> None:
    touched = tmp_path / "touched"

    def change(model: dict[str, Any]) -> None:
        model["guards_code"] = [f"open({str(touched)!r}, 'w') is not None"]

    open_net(str(remodelled(folder, tmp_path, change))).encode(frame)
    assert not touched.exists()


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def remodelled(folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The program with its description changed."""

    def edit(name: str, data: bytes) -> bytes:
        if not name.startswith("models/"):
            return data
        model = json.loads(data)
        change(model)
        return json.dumps(model).encode()

    return altered(folder / "fixed.pt2", tmp_path / "net.pt2", edit)


def first_node(model: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = model["graph_module"]["graph"]["nodes"][0]
    return node


@pytest.mark.parametrize(
    "target",
    ["torch.load", "torch.hub.load", "torch.serialization.load", "_operator.attrgetter", "torch.ops.load_library"],
)
def test_operators_that_could_do_harm_are_refused(folder: Path, tmp_path: Path, target: str) -> None:
    path = remodelled(folder, tmp_path, lambda model: first_node(model).update(target=target))
    with pytest.raises(InputError) as caught:
        open_net(str(path))
    assert caught.value.message == f"{path} is not safe to load: it calls {target}"


@pytest.mark.parametrize(
    "text", ["open('x', 'w')", "().__class__", "s0.func", "Symbol('a b')", "[x for x in (1,)]", "__import__('os')"]
)
def test_sizes_that_are_code_are_refused(folder: Path, tmp_path: Path, text: str) -> None:
    def change(model: dict[str, Any]) -> None:
        values = model["graph_module"]["graph"]["tensor_values"]
        values["image"]["sizes"][2] = {"as_expr": {"expr_str": text, "hint": None}}

    path = remodelled(folder, tmp_path, change)
    with pytest.raises(InputError) as caught:
        open_net(str(path))
    assert caught.value.message == f"{path} is not safe to load: a size is {text}"


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    def change(name: str, data: bytes) -> bytes:
        return data.replace(b'"use_pickle": false', b'"use_pickle": true', 1) if "weights_config" in name else data

    path = altered(folder / "fixed.pt2", tmp_path / "net.pt2", change)
    with pytest.raises(InputError, match=r"net\.pt2 is not safe to load: conv\.weight is pickled$"):
        open_net(str(path))


def test_the_old_form_is_not_read(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("version", "8.0")
        made.writestr("serialized_exported_program.json", "{}")
        made.writestr("serialized_state_dict.pt", pickle.dumps(Bomb(tmp_path / "touched")))
    with pytest.raises(InputError) as caught:
        open_net(str(path))
    assert caught.value.message == f"not a program of torch.export, or a damaged one: {path}"
    assert not (tmp_path / "touched").exists()


def test_a_compressed_archive_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(folder / "a.pt2") as given, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name in given.namelist():
            made.writestr(name, given.read(name))
    with pytest.raises(InputError, match=r"net\.pt2 is not safe to load: \S+ is compressed$"):
        open_net(str(path))


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        open_net(str(path))
    assert caught.value.message == f"not a program of torch.export, or a damaged one: {path}"


def test_weights_that_are_cut_short_are_one_line(folder: Path, tmp_path: Path) -> None:
    path = altered(
        folder / "fixed.pt2", tmp_path / "net.pt2", lambda name, data: data[:8] if "weights/weight_0" in name else data
    )
    with pytest.raises(InputError, match=r"^cannot load .*net\.pt2: ") as caught:
        open_net(str(path))
    assert "\n" not in caught.value.message


def test_a_program_has_no_split(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"^--split cuts one ONNX file, not .*a\.pt2$"):
        open_net(str(folder / "a.pt2"), "x")
