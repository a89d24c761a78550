"""Networks that count what they are given, or run out of memory, and frames for them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcli.engine.engine import Engine
from flowcli.engine.schedule import Consecutive, Keyed, Keys, Schedule, Union
from flowcli.models.base import Features, FlowModel
from flowcli.types import Direction, FlowPair, Frame, Last

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
SCHEDULES: tuple[Schedule, ...] = (
    *map(Consecutive, DIRECTIONS),
    *(Keyed(3, sides, check) for sides in get_args(Keys) for check in (False, True)),
    Keyed(1),
    Keyed(4, ahead=2),
    Keyed(lambda frame: frame.index % 4 == 2),
    Keyed(lambda frame: frame.index in (1, 2, 6), check=True, ahead=2),
    Union((Keyed(4), Consecutive("backward"))),
    Union((Consecutive(), Keyed(3, "before"), Keyed(5))),
)


class Calls(list[Any]):
    """What a network was given; those that an engine makes of it add to the same list."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Calls:
        return self


class Tiny(FlowModel):
    """A convolution at 1/8 and a flow at 1/8 that depends on the order of the pair; counts what it is given."""

    stride = 16

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layer = nn.Conv2d(3, 4, 8, stride=8)
        self.encoded = Calls()
        """Shapes of the images."""
        self.decoded = Calls()
        """Numbers of pairs."""

    def encode(self, image: Tensor) -> Features:
        assert image.dtype == torch.float32
        self.encoded.append(tuple(image.shape))
        features = self.layer(image.to(self.layer.weight.dtype))
        return features, features.mean((2, 3))

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        self.decoded.append(len(first[0]))
        difference = 2 * second[0] - first[0] + (first[1] * second[1])[..., None, None]
        fine = difference[:, :2]
        return [F.avg_pool2d(fine, 2), fine]


class Hungry(Tiny):
    """Has memory for `most` pictures in `encode` and `most` pairs in `decode`, like a small GPU."""

    def __init__(self, most_images: int, most_pairs: int) -> None:
        super().__init__()
        self.most_images = most_images
        self.most_pairs = most_pairs

    def encode(self, image: Tensor) -> Features:
        if len(image) > self.most_images:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().encode(image)

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        if len(first[0]) > self.most_pairs:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().decode(first, second)


class Tiled(Tiny):
    """Has memory for tiles up to `most`."""

    tiles = True

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def encode(self, image: Tensor) -> Features:
        if not 0 < self.tile <= self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().encode(image)


def frame(index: int, height: int = 65, width: int = 97, name: str | None = None) -> Frame:
    image = np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image.flags.writeable = False
    return Frame(image, index, Fraction(index, 25), name)


def run(
    model: FlowModel, frames: Sequence[Frame], direction: Direction = "forward", last: Last = "drop", **settings: Any
) -> list[FlowPair]:
    settings = {"device": "cpu", "precision": "fp32", **settings}
    return list(Engine(model, **settings).pairs(frames, direction, last))


def same(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, rtol=1e-5, atol=1e-5)
