"""How frames become the input of a network."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from flowcli.errors import InputError, UsageError
from flowcli.nets.convention import PRESETS, Convention, find_convention
from flowcli.nets.net import Net, Parts, Port
from flowcli.types import Frame


def prepared(convention: Convention, image: np.ndarray, port: Port | None = None) -> np.ndarray:
    net = Net("net", convention, Parts(port or Port(), lambda tensor: (tensor,)))
    return net.prepare(Frame(image, 0, Fraction(0))).numpy()


RED = np.array([[[200, 100, 50]]], np.uint8)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("unit", (200 / 255, 100 / 255, 50 / 255)),
        ("signed", (200 / 127.5 - 1, 100 / 127.5 - 1, 50 / 127.5 - 1)),
        ("bytes", (200, 100, 50)),
        (
            "imagenet",
            ((200 / 255 - 0.485) / 0.229, (100 / 255 - 0.456) / 0.224, (50 / 255 - 0.406) / 0.225),
        ),
        ("caffe", (50 - 103.939, 100 - 116.779, 200 - 123.68)),
    ],
)
def test_presets(preset: str, expected: tuple[float, ...]) -> None:
    np.testing.assert_allclose(prepared(PRESETS[preset], RED)[0, :, 0, 0], expected, rtol=1e-5, atol=1e-5)


def test_channels_last_and_bytes() -> None:
    port = Port(torch.uint8, layout="NHWC")
    found = prepared(PRESETS["bytes"], RED, port)
    assert found.dtype == np.uint8
    assert found.tolist() == [[[[200, 100, 50]]]]


@pytest.mark.parametrize(
    ("convention", "port", "size"),
    [
        (Convention(), Port(), (65, 97)),
        (Convention(multiple=8), Port(), (64, 96)),
        (Convention(multiple=128), Port(), (128, 128)),
        (Convention(size=(32, 40)), Port(), (32, 40)),
        (Convention(), Port(height=16, width=24), (16, 24)),
    ],
)
def test_sizes(convention: Convention, port: Port, size: tuple[int, int]) -> None:
    image = np.zeros((65, 97, 3), np.uint8)
    assert prepared(convention, image, port).shape == (1, 3, *size)


def test_a_size_that_the_network_does_not_take_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        prepared(Convention(size=(32, 32)), RED, Port(height=64, width=32))
    assert caught.value.message == "net takes a height of 64, not 32"


def test_a_file_beside_the_model_replaces_entries(tmp_path: Path) -> None:
    text = (
        'order = "BGR"\nmean = [0.1, 0.2, 0.3]\nstd = 2\nrange = 4\nsize = [64, 96]\nkind = "classes"\noutput = "a"\n'
    )
    (tmp_path / "net.toml").write_text(text, encoding="utf-8")
    found = find_convention("imagenet", tmp_path / "net.onnx")
    assert found == replace(
        PRESETS["imagenet"],
        order="BGR",
        mean=(0.1, 0.2, 0.3),
        std=(2,),
        range=4,
        size=(64, 96),
        kind="classes",
        output=("a",),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('colour = "RGB"', "unknown entry in {}: colour"),
        ('order = "GBR"', "order in {} is 'GBR'"),
        ("std = 0", "std in {} is 0"),
        ("mean = [1, 2]", "mean in {} is [1, 2]"),
        ("size = [0, 4]", "size in {} is [0, 4]"),
        ("size = [100000, 4]", "size in {} is [100000, 4]"),
        ("multiple = true", "multiple in {} is True"),
        ("range = -1", "range in {} is -1"),
        ("output = 3", "output in {} is 3"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "net.toml"
    file.write_text(line, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        find_convention(None, tmp_path / "net.onnx")
    assert caught.value.message == message.format(file)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text("order =", encoding="utf-8")
    with pytest.raises(InputError, match=r"^cannot read .*net\.toml: "):
        find_convention(None, tmp_path / "net.onnx")


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        find_convention("image", None)
    assert caught.value.hint == "known: unit signed bytes imagenet caffe"
