"""Networks in ONNX files: run whole, cut in two, and what is said of those that cannot be."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flowcli.errors import InputError, UsageError
from flowcli.nets.net import Net, open_net
from flowcli.types import Frame

onnx = pytest.importorskip("onnx", reason="needs onnx")
runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from tests.nets import small  # noqa: E402


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "flowcli" / "nets"


@pytest.fixture
def frame() -> Frame:
    return Frame(np.random.default_rng(1).integers(0, 256, (65, 97, 3), np.uint8), 0, Fraction(0))


def as_input(frame: Frame) -> np.ndarray:
    return (frame.image.transpose(2, 0, 1)[None] / 255).astype(np.float32)


def scores(net: Net, frame: Frame) -> np.ndarray:
    (found,) = net.finish(net.encode(frame))
    return found.numpy()


def test_a_whole_network_gives_what_onnx_says(tmp_path: Path, frame: Frame) -> None:
    model = small.segmenter()
    net = open_net(str(small.save(model, tmp_path / "net.onnx")))
    assert not net.cut
    np.testing.assert_allclose(scores(net, frame), small.run(model, as_input(frame)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("split", "shapes"), [("deep", [(1, 16, 17, 25)]), ("stem", [(1, 8, 33, 49)])])
def test_both_parts_give_the_whole(tmp_path: Path, frame: Frame, split: str, shapes: list[tuple[int, ...]]) -> None:
    model = small.segmenter()
    net = open_net(str(small.save(model, tmp_path / "net.onnx")), split)
    assert net.cut
    assert [tuple(each.shape) for each in net.encode(frame)] == shapes
    (whole,) = net.whole(frame)
    np.testing.assert_allclose(scores(net, frame), whole.numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(whole.numpy(), small.run(model, as_input(frame)), rtol=0, atol=1e-5)


def test_a_network_is_cut_through_several_tensors(tmp_path: Path, frame: Frame) -> None:
    model = small.segmenter(skip=True)
    net = open_net(str(small.save(model, tmp_path / "net.onnx")), "deep, side")
    assert [each.shape[1] for each in net.encode(frame)] == [16, 5]
    np.testing.assert_allclose(scores(net, frame), small.run(model, as_input(frame)), rtol=0, atol=1e-5)


def test_parts_are_kept(tmp_path: Path, cache: Path) -> None:
    path = small.save(small.segmenter(), tmp_path / "net.onnx")
    open_net(str(path), "deep")
    kept = {file: file.stat().st_mtime_ns for file in cache.iterdir()}
    assert len(kept) == 2
    open_net(str(path), "deep")
    assert {file: file.stat().st_mtime_ns for file in cache.iterdir()} == kept
    small.save(small.segmenter(classes=6), path)
    assert open_net(str(path), "deep").parts.outputs == ("scores",)
    assert len(list(cache.iterdir())) == 4


def test_half_precision_out_of_order_runs_in_float32(tmp_path: Path, frame: Frame) -> None:
    model = small.segmenter()
    path = small.save(small.halved(model), tmp_path / "half.onnx")
    for split in (None, "deep"):
        found = scores(open_net(str(path), split), frame)
        assert found.dtype == np.float32
        # Weights are rounded to 11 bits: sums of up to 150 products differ in the third place.
        np.testing.assert_allclose(found, small.run(model, as_input(frame)), rtol=0, atol=0.01)


def test_two_files_are_one_network(tmp_path: Path, frame: Frame) -> None:
    model = small.segmenter()
    path = small.save(model, tmp_path / "net.onnx")
    onnx.utils.extract_model(path, tmp_path / "a.onnx", ["image"], ["deep"])
    onnx.utils.extract_model(path, tmp_path / "b.onnx", ["deep"], ["scores"])
    net = open_net(f"{tmp_path / 'a.onnx'},{tmp_path / 'b.onnx'}")
    assert net.cut
    np.testing.assert_allclose(scores(net, frame), small.run(model, as_input(frame)), rtol=0, atol=1e-5)


def test_a_fixed_size_is_met(tmp_path: Path, frame: Frame) -> None:
    net = open_net(str(small.save(small.segmenter(size=(32, 48)), tmp_path / "net.onnx")))
    assert net.prepare(frame).shape == (1, 3, 32, 48)
    assert scores(net, frame).shape == (1, 5, 8, 12)


def test_threads_are_those_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small.save(small.segmenter(), tmp_path / "net.onnx")
    asked: list[int] = []
    opened = runtime.InferenceSession

    def listening(file: str, options: Any, providers: list[str]) -> Any:
        asked.append(options.intra_op_num_threads)
        return opened(file, options, providers=providers)

    monkeypatch.setattr(runtime, "InferenceSession", listening)
    open_net(str(path))
    assert asked == [torch.get_num_threads()]


def test_an_unknown_tensor_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    path = small.save(small.segmenter(), tmp_path / "net.onnx")
    with pytest.raises(InputError) as caught:
        open_net(str(path), "deeep")
    assert (caught.value.message, caught.value.hint) == (
        f"no tensor deeep in {path}",
        "it can be cut at stem or deep",
    )


def test_a_cut_that_something_goes_past_is_named(tmp_path: Path) -> None:
    path = small.save(small.segmenter(skip=True), tmp_path / "net.onnx")
    with pytest.raises(InputError) as caught:
        open_net(str(path), "deep")
    assert (caught.value.message, caught.value.hint) == (
        f"--split deep does not cut {path}: side goes past it",
        "try deep,side",
    )
    open_net(str(path), "deep,side")


@pytest.mark.parametrize("data", [b"", b"\x08\x07", b"hello", bytes(range(256))])
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        open_net(str(path))
    assert caught.value.message == f"not an ONNX file, or a damaged one: {path}"


def test_a_wrong_output_is_named(tmp_path: Path) -> None:
    path = small.save(small.segmenter(), tmp_path / "net.onnx")
    (tmp_path / "net.toml").write_text('output = "labels"\n', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        open_net(str(path))
    assert (caught.value.message, caught.value.hint) == (f"no output labels in {path}", "it has scores")


def test_a_graph_for_other_inputs_is_refused(tmp_path: Path) -> None:
    model = small.segmenter()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    path = small.save(model, tmp_path / "net.onnx")
    with pytest.raises(InputError) as caught:
        open_net(str(path))
    assert caught.value.message.startswith(f"{path} does not take one picture, but image [1, 4, 'h', 'w']") or (
        caught.value.message.startswith(f"cannot load {path}: ")
    )


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small.save(small.segmenter(), tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError) as caught:
        open_net(str(path))
    assert (caught.value.message, caught.value.hint) == (
        "ONNX networks need the package onnxruntime",
        'install it: pip install "flowcli[nets]"',
    )


def test_a_split_of_two_files_is_refused(tmp_path: Path) -> None:
    path = small.save(small.segmenter(), tmp_path / "net.onnx")
    with pytest.raises(UsageError) as caught:
        open_net(f"{path},{path}", "deep")
    assert caught.value.message == f"--split cuts one ONNX file, not {path},{path}"


def test_names_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ONNX Runtime cannot say what is wrong with such a file, and prints that to standard output."""
    path = small.save(small.segmenter(size=(32, 48)), tmp_path / "x.onnx")
    stored = path.read_bytes()
    path.write_bytes(stored.replace(b"stem_raw", b"\xff\xfftm_raw", 1))
    with pytest.raises(InputError, match=r"^cannot load .*x\.onnx"):
        open_net(str(path))
    assert capsys.readouterr().out == ""
