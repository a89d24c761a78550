"""Deep feature flow as its paper trains it: the head and the scale of features learn from carried features.

A small segmenter is trained on single frames of generated clips. Trained on for as many steps, either on single frames
or on features that our flow has carried, it is measured on frames of other clips, 3 to 9 frames after their key frame.
What it learns from carried features is to doubt them: cross-entropy falls by a third and more. As many pixels are right
as before, and the mean IoU over classes falls by 2 points, since small things are given up first.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

import flowcli
from flowcli.cli.main import main
from flowcli.engine.schedule import Consecutive
from flowcli.nets.warp import carry_map
from flowcli.pictures import read_unscaled, write_picture
from flowcli.types import Frame
from flowcli.weights import entries, loading
from tests import moving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

HEIGHT, WIDTH, CHANNELS, CLASSES = 64, 96, 24, 4
DISTANCES = (3, 6, 9)


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames 0, 3, 6 and 9 of things with the textures of their classes, before a moving ground of class 0."""

    images: np.ndarray
    """(4, HEIGHT, WIDTH, 3) uint8."""
    labels: Tensor
    """(4, HEIGHT, WIDTH) int64."""
    flows: tuple[Tensor, ...]
    """From each frame but the first to the first, (2, HEIGHT, WIDTH)."""


@functools.cache
def engine() -> flowcli.Engine:
    return flowcli.Engine(loading.load(entries.resolve("rpwc")), "cpu")


def clip(seed: int) -> Clip:
    dice = np.random.default_rng(seed)
    origin, pan = dice.uniform(100, 150, 2), dice.uniform(-1, 1, 2)
    things = []
    for _ in range(dice.integers(2, 5)):
        radius, start = dice.uniform(8, 18), dice.uniform((8, 8), (WIDTH - 8, HEIGHT - 8))
        step, place = dice.uniform(-2, 2, 2), dice.uniform(0, 100, 2)
        things.append((int(dice.integers(1, CLASSES)), radius, start, step, place, dice.random() < 0.5))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    images, labels = [], []
    for time in (0, *DISTANCES):
        shift = np.array([[1, 0, origin[0] + pan[0] * time], [0, 1, origin[1] + pan[1] * time]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        image = cv2.warpAffine(moving.texture(), shift, (WIDTH, HEIGHT), flags=flags)
        label = np.zeros((HEIGHT, WIDTH), np.int64)
        for kind, radius, start, step, place, round_ in things:
            across, down = x - start[0] - step[0] * time, y - start[1] - step[1] * time
            inside = np.hypot(across, down) < radius if round_ else np.maximum(abs(across), abs(down)) < 0.8 * radius
            look = [
                (each + radius + offset).astype(np.float32) for each, offset in zip((across, down), place, strict=True)
            ]
            image[inside] = cv2.remap(
                moving.texture(kind), look[0], look[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
            )[inside]
            label[inside] = kind
        images.append(np.clip(image + dice.normal(0, 6, image.shape), 0, 255).astype(np.uint8))
        labels.append(label)
    flows = []
    for later in images[1:]:
        pair = (Frame(later, 0), Frame(images[0], 1))
        links = [link for each in engine().link(pair, Consecutive("forward")) for link in each.pairs]
        flows.append(links[0].forward.uv.float())
    return Clip(np.stack(images), torch.from_numpy(np.stack(labels)), tuple(each.clone() for each in flows))


class Backbone(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, CHANNELS, 3, 2, 1), nn.ReLU()),
            *(nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1), nn.ReLU(), nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 2, 2), nn.ReLU()),
        )


class Head(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1), nn.ReLU(), nn.Conv2d(CHANNELS, CLASSES, 1))


@dataclass(frozen=True, eq=False)
class Segmenter:
    backbone: Backbone
    head: Head
    scale: nn.Parameter
    """(CHANNELS, 1, 1): factors of carried features."""

    def scores(self, features: Tensor) -> Tensor:
        return F.interpolate(self.head(features), (HEIGHT, WIDTH), mode="bilinear", align_corners=False)


def pictures(images: Iterable[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack([*images])).permute(0, 3, 1, 2).float() / 255


Draw = Callable[[Segmenter, list[Clip]], tuple[Tensor, Tensor]]
"""Features of eight frames, and their labels."""


def single(dice: np.random.Generator, net: Segmenter, clips: list[Clip]) -> tuple[Tensor, Tensor]:
    some = [(clips[dice.integers(len(clips))], dice.integers(1 + len(DISTANCES))) for _ in range(8)]
    features: Tensor = net.backbone(pictures(each.images[place] for each, place in some))
    return features, torch.stack([each.labels[place] for each, place in some])


def carried(dice: np.random.Generator, net: Segmenter, clips: list[Clip]) -> tuple[Tensor, Tensor]:
    some = [(clips[dice.integers(len(clips))], dice.integers(len(DISTANCES))) for _ in range(8)]
    with torch.no_grad():
        keys = net.backbone(pictures(each.images[0] for each, _ in some))
    moved = [carry_map(key[None], each.flows[place], net.scale) for key, (each, place) in zip(keys, some, strict=True)]
    return torch.cat(moved), torch.stack([each.labels[place + 1] for each, place in some])


def train(
    net: Segmenter,
    clips: list[Clip],
    draw: Callable[..., tuple[Tensor, Tensor]],
    what: Iterable[nn.Parameter],
    steps: int,
    rate: float,
) -> None:
    optimizer, dice = torch.optim.Adam(what, rate), np.random.default_rng(1)
    for _ in range(steps):
        features, labels = draw(dice, net, clips)
        loss = F.cross_entropy(net.scores(features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def both(net: Segmenter) -> list[nn.Parameter]:
    return [*net.backbone.parameters(), *net.head.parameters()]


@torch.no_grad()
def measured(net: Segmenter, clips: list[Clip]) -> float:
    """The cross-entropy of frames that are not key frames."""
    entropy = []
    for each in clips:
        key = net.backbone(pictures(each.images[:1]))
        for place, flow in enumerate(each.flows):
            scores = net.scores(carry_map(key, flow, net.scale))
            entropy.append(float(F.cross_entropy(scores, each.labels[place + 1][None])))
    return float(np.mean(entropy))


def exported(net: Segmenter, folder: Path) -> str:
    """The network as two programs with its scale, in the words of `--net`."""
    image = torch.zeros(1, 3, HEIGHT, WIDTH)
    torch.export.save(torch.export.export(net.backbone.eval(), (image,)), folder / "back.pt2")
    torch.export.save(torch.export.export(net.head.eval(), (net.backbone(image).detach(),)), folder / "head.pt2")
    save_file({"0": net.scale.detach().contiguous()}, folder / "scale.safetensors")
    (folder / "back.toml").write_text('range = 1\nscale = "scale.safetensors"\nkind = "classes"\n', encoding="utf-8")
    return f"{folder}/back.pt2,{folder}/head.pt2"


def test_training_on_carried_features_gives_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips, others = [clip(seed) for seed in range(150)], [clip(10_000 + seed) for seed in range(30)]
    torch.manual_seed(0)
    net = Segmenter(Backbone(), Head(), nn.Parameter(torch.ones(CHANNELS, 1, 1)))
    train(net, clips, single, both(net), 700, 2e-3)
    train(net, clips, single, both(net), 300, 5e-4)
    longer, jointly = copy.deepcopy(net), copy.deepcopy(net)
    train(longer, clips, single, both(longer), 300, 5e-4)
    train(jointly, clips, carried, [*jointly.head.parameters(), jointly.scale], 300, 5e-4)
    before, more, carried_too = (measured(each, others) for each in (net, longer, jointly))
    assert carried_too < 0.8 * min(before, more)

    # The command makes of the files what has been measured.
    given, frames = others[0], tmp_path / "in"
    frames.mkdir()
    for number, image in enumerate(given.images):
        write_picture(frames / f"{number}.png", image)
    words = ["--every", "4", "--keys", "before", "--out", str(tmp_path / "labels") + "/", "--device", "cpu"]
    assert main(["propagate", str(frames), "--net", exported(jointly, tmp_path), *words]) == 0, capsys.readouterr().err
    key = jointly.backbone(pictures(given.images[:1]))
    for place, flow in enumerate(given.flows):
        labels = jointly.scores(carry_map(key, flow, jointly.scale)).argmax(1)[0].numpy()
        assert (read_unscaled(tmp_path / "labels" / f"{place + 1}.png") == labels).mean() > 0.99
