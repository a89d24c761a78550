"""Flow has the size of its frames, whatever size the network works on."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.models.base import Features, FlowModel
from tests.fakes import Calls, Tiny, frame, run, same


class Brightness(FlowModel):
    """Flow at full size that is the first image's own red and green: shows where each pixel of the flow comes from."""

    stride = 16

    def __init__(self) -> None:
        super().__init__()
        self.sizes = Calls()

    def encode(self, image: Tensor) -> Features:
        self.sizes.append(tuple(image.shape[-2:]))
        return (image,)

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        return [first[0][:, :2]]


class Constant(Brightness):
    """Flow (1, 2) in pixels of a grid of 1/8."""

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        count, _, height, width = first[0].shape
        return [torch.tensor((1.0, 2.0)).view(1, 2, 1, 1).expand(count, 2, height // 8, width // 8)]


class ConstantResized(Constant):
    fit: Literal["pad", "resize"] = "resize"
    least = 64


@pytest.mark.parametrize(("height", "width"), [(65, 97), (1, 1), (64, 96), (16, 300), (33, 2)])
def test_padding_is_undone_exactly(height: int, width: int) -> None:
    model = Brightness()
    (pair,) = run(model, [frame(0, height, width), frame(1, height, width)])
    expected = torch.from_numpy(pair.first.image[..., :2].astype(np.float32) / 255).permute(2, 0, 1)
    assert torch.equal(pair.forward.uv, expected)
    assert model.sizes[-1] == (-(-height // 16) * 16, -(-width // 16) * 16)


def test_the_least_size_of_the_model_is_kept() -> None:
    class Large(Brightness):
        least = 100

    model = Large()
    (pair,) = run(model, [frame(0, 7, 130), frame(1, 7, 130)])
    assert model.sizes[-1] == (112, 144)
    assert pair.forward.uv.shape == (2, 7, 130)


@pytest.mark.parametrize(("height", "width"), [(65, 97), (1, 1), (64, 128)])
@pytest.mark.parametrize("batch", [1, 3])
def test_flow_of_a_smaller_grid_is_scaled(height: int, width: int, batch: int) -> None:
    frames = [frame(index, height, width) for index in range(3)]
    for pair in run(Constant(), frames, batch=batch):
        assert pair.forward.uv.shape == (2, height, width)
        assert same(pair.forward.uv[0], torch.full((height, width), 8.0))
        assert same(pair.forward.uv[1], torch.full((height, width), 16.0))


@pytest.mark.parametrize(
    ("height", "width", "inner_height", "inner_width"), [(65, 97, 80, 112), (1, 1, 64, 64), (64, 64, 64, 64)]
)
def test_resizing_is_undone(height: int, width: int, inner_height: int, inner_width: int) -> None:
    model = ConstantResized()
    (pair,) = run(model, [frame(0, height, width), frame(1, height, width)])
    assert model.sizes[-1] == (inner_height, inner_width)
    assert pair.forward.uv.shape == (2, height, width)
    assert same(pair.forward.uv[0], torch.full((height, width), 8 * width / inner_width))
    assert same(pair.forward.uv[1], torch.full((height, width), 16 * height / inner_height))


@pytest.mark.parametrize("model", [Constant(), ConstantResized()])
def test_max_side_estimates_smaller_and_returns_full_size(model: Constant) -> None:
    (pair,) = run(model, [frame(0), frame(1)], max_side=49)
    # 97 -> 49 and 65 -> 33 (32.8); then padded to 48x64, which scales nothing, or resized to 64x64, which does.
    height, width = (33, 49) if model.fit == "pad" else (64, 64)
    assert model.sizes[-1] == ((48, 64) if model.fit == "pad" else (64, 64))
    assert pair.forward.uv.shape == (2, 65, 97)
    assert same(pair.forward.uv[0], torch.full((65, 97), 8 * 97 / width))
    assert same(pair.forward.uv[1], torch.full((65, 97), 16 * 65 / height))


def test_max_side_leaves_small_frames_alone() -> None:
    frames = [frame(0), frame(1)]
    (plain,) = run(Tiny(), frames)
    (limited,) = run(Tiny(), frames, max_side=97)
    assert torch.equal(plain.forward.uv, limited.forward.uv)


def test_max_side_of_a_thin_frame_keeps_one_pixel() -> None:
    (pair,) = run(Constant(), [frame(0, 1, 500), frame(1, 1, 500)], max_side=20)
    assert pair.forward.uv.shape == (2, 1, 500)
