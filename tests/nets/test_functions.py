"""Networks that a function of Python gives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from flowcli.errors import InputError, UsageError
from flowcli.nets.net import open_net
from flowcli.types import Frame

CODE = """
def whole():
    return lambda image: image.mean(1, keepdim=True)

def halves():
    return (lambda image: (image[..., ::2, ::2], image[..., ::4, ::4])), (lambda one, two: one.sum(1, keepdim=True))

def wrong():
    return 3

def strange():
    return lambda image: "labels"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "own_networks.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "own_networks"
    sys.modules.pop("own_networks", None)


@pytest.fixture
def frame() -> Frame:
    return Frame(np.random.default_rng(1).integers(0, 256, (8, 12, 3), np.uint8), 0, Fraction(0))


def test_a_function_gives_a_network(module: str, frame: Frame) -> None:
    net = open_net(f"{module}:whole")
    assert not net.cut
    (found,) = net.encode(frame)
    np.testing.assert_allclose(found[0, 0].numpy(), frame.image.mean(2) / 255, rtol=0, atol=1e-6)


def test_a_function_gives_both_parts(module: str, frame: Frame) -> None:
    net = open_net(f"{module}:halves", preset="bytes")
    assert net.cut
    carried = net.encode(frame)
    assert [tuple(each.shape) for each in carried] == [(1, 3, 4, 6), (1, 3, 2, 3)]
    np.testing.assert_array_equal(net.finish(carried)[0][0, 0].numpy(), frame.image[::2, ::2].sum(2))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("{}:other", "no function other in {}", "it has whole, halves, wrong, strange"),
        ("{}:wrong", "{}:wrong returns no network", "return one function, or two: (backbone, head)"),
    ],
)
def test_what_is_no_network_is_named(module: str, text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        open_net(text.format(module))
    assert (caught.value.message, caught.value.hint) == (message.format(module), hint)


def test_a_missing_module_is_named() -> None:
    with pytest.raises(InputError, match=r"^cannot import no_such_module_anywhere: "):
        open_net("no_such_module_anywhere:net")


def test_what_gives_no_tensors_is_named(module: str, frame: Frame) -> None:
    with pytest.raises(InputError) as caught:
        open_net(f"{module}:strange").encode(frame)
    assert caught.value.message == f"{module}:strange gives str"


@pytest.mark.parametrize("text", ["net", "net.pth", "a.onnx,b.pt2", "a.onnx,b.onnx,c.onnx", "module:", ":f"])
def test_other_texts_are_no_networks(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_net(text)
    assert caught.value.message == f"not a network: {text}"


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError) as caught:
        open_net("nowhere.onnx")
    assert caught.value.message == "no such network: nowhere.onnx"
