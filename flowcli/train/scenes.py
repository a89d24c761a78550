"""Scenes as numbers: layers with shape, texture and motion, and how a camera sees them, drawn at random.

A scene is a background and 1 to `MOST_LAYERS` - 1 shapes over it, each with its own texture and motion, described at
time 0. It is a function of (seed, index) alone; `synthetic` makes frames and flow of it.

The idea of training on layers of random shapes follows AutoFlow, Sun et al. 2021, arXiv:2104.14544.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

from flowcli.train.textures import TEXTURE_SIZE

MOST_LAYERS = 13
WAVES = 3
HARMONICS = 4


@dataclass(frozen=True)
class Layer:
    """One layer of each scene in a batch; every field starts with the batch. Lengths in pixels, angles in radians."""

    texture: Tensor  # (B,) index into the bank
    mapping: Tensor  # (B, 2, 3) scene pixels at time 0 -> texels
    tint: Tensor  # (B, 3) gain of each colour
    contrast: Tensor  # (B,) of the texture: 1 as it is, 0 one flat grey
    center: Tensor  # (B, 2) x, y: what the motion turns and zooms about
    shift: Tensor  # (B, 2) per unit of time
    turn: Tensor  # (B,) per unit of time
    zoom: Tensor  # (B,) logarithm of the scale, per unit of time
    stretch: Tensor  # (B, 2) longer along x than y; sheared; per unit of time
    tilt: Tensor  # (B, 2) perspective, 1 / pixel, per unit of time
    wave: Tensor  # (B, WAVES, 5) non-rigid motion: direction in which it moves (2), wave number (2), phase
    radius: Tensor  # (B, 2) half axes of the shape; infinite for a background
    angle: Tensor  # (B,) of the shape
    sides: Tensor  # (B,) of the polygon that the outline starts from
    smooth: Tensor  # (B,) 1: a circle, 0: that polygon
    outline: Tensor  # (B, HARMONICS, 2) amplitude and phase of the outline's harmonics 2, 3, ...
    hole: Tensor  # (B,) size of the hole as a share of the shape, 0 for none


@dataclass(frozen=True)
class Look:
    """How the camera records each frame of a pair; leading dimensions (B, 2) for first and second frame."""

    gain: Tensor  # (B, 2, 3)
    offset: Tensor  # (B, 2, 3)
    gamma: Tensor  # (B, 2)
    noise: Tensor  # (B, 2)
    blur: Tensor  # (B, 2) standard deviation, pixels
    shutter: Tensor  # (B,) share of the time between frames during which it is open: motion blur
    haze: Tensor  # (B, 4) strength, colour
    shadow: Tensor  # (B, 2, 5) strength, wave number (2), phase, sharpness
    quantizer: Tensor  # (B,) step of a codec's lowest frequencies, of 1 from black to white; 0 for no codec


@dataclass(frozen=True)
class Scene:
    """A batch of scenes: layers from back to front."""

    layers: Sequence[Layer]
    look: Look
    seeds: Sequence[int]


Part = TypeVar("Part", Layer, Look)


def _stack(values: Sequence[Part]) -> Part:
    kind = type(values[0])
    return kind(**{field.name: torch.stack([getattr(v, field.name) for v in values]) for field in fields(kind)})


class _Dice:
    """Random numbers of one scene."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator) * (high - low) + low

    def normal(self, deviation: float, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator) * deviation

    def chance(self, probability: float) -> bool:
        return bool(torch.rand((), generator=self.generator) < probability)

    def integer(self, low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=self.generator))

    def vector(self, median: float, spread: float, most: float) -> Tensor:
        """A vector of random direction whose length is log-normal: heavy tail, many small ones."""
        length = min(median * math.exp(spread * float(self.normal(1.0))), most)
        angle = float(self.uniform(0, 2 * math.pi))
        return torch.tensor([length * math.cos(angle), length * math.sin(angle)])


def _draw_layer(
    dice: _Dice, height: int, width: int, textures: int, background: bool, pace: float, camera: dict[str, Tensor]
) -> Layer:
    size = math.hypot(height, width)
    here = torch.stack([dice.uniform(-0.05, 1.05) * width, dice.uniform(-0.05, 1.05) * height])
    center = torch.tensor([width / 2, height / 2]) if background else here
    thin = dice.chance(0.15)
    longer = size * math.exp(float(dice.uniform(math.log(0.05), math.log(0.35))))
    ratio = float(dice.uniform(0.02, 0.1)) if thin else math.exp(float(dice.uniform(math.log(0.35), 0)))
    radius = torch.tensor([math.inf, math.inf] if background else [longer, max(longer * ratio, 1.5)])
    texels = float(dice.uniform(0.5, 1.3))
    heading = float(dice.uniform(0, 2 * math.pi))
    linear = texels * torch.tensor([[math.cos(heading), -math.sin(heading)], [math.sin(heading), math.cos(heading)]])
    anchor = dice.uniform(0.2, 0.8, 2) * TEXTURE_SIZE
    mapping = torch.cat([linear, (anchor - linear @ center)[:, None]], 1)
    motion = dict(camera)
    if not background and dice.chance(0.9):
        motion["shift"] = camera["shift"] + pace * dice.vector(5.0, 1.2, 150.0)
        motion["turn"] = camera["turn"] + pace * dice.normal(0.06) * float(dice.chance(0.6))
        motion["zoom"] = camera["zoom"] + pace * dice.normal(0.04) * float(dice.chance(0.5))
        motion["stretch"] = camera["stretch"] + pace * dice.normal(0.03, 2) * float(dice.chance(0.4))
        motion["tilt"] = camera["tilt"] + pace * dice.normal(2e-4, 2) * float(dice.chance(0.3))
    wave = torch.zeros(WAVES, 5)
    if dice.chance(0.4):
        # Long waves are relief that the camera passes, short ones cloth and water.
        longest = math.exp(float(dice.uniform(math.log(80), math.log(400))))
        numbers = torch.stack([dice.vector(2 * math.pi / longest, 0.4, 2 * math.pi / 50) for _ in range(WAVES)])
        # The gradient of the motion stays below 0.15 per wave, so that `origin` converges and nothing folds.
        strength = min(pace, 1.0) * dice.uniform(0, 0.15, WAVES) / numbers.norm(dim=1)
        toward = dice.uniform(0, 2 * math.pi, WAVES)
        moves = torch.stack([strength * torch.cos(toward), strength * torch.sin(toward)], 1)
        wave = torch.cat([moves, numbers, dice.uniform(0, 2 * math.pi, WAVES, 1)], 1)
    return Layer(
        texture=torch.tensor(dice.integer(0, textures)),
        mapping=mapping,
        tint=dice.uniform(0.75, 1.25, 3),
        contrast=dice.uniform(0.1, 0.8) if dice.chance(0.35) else torch.tensor(1.0),
        center=center,
        wave=wave,
        radius=radius,
        angle=dice.uniform(0, 2 * math.pi),
        sides=torch.tensor(float(dice.integer(3, 8))),
        smooth=torch.tensor(1.0) if dice.chance(0.5) else dice.uniform(0, 1),
        outline=torch.stack([dice.uniform(0, 0.16, HARMONICS), dice.uniform(0, 2 * math.pi, HARMONICS)], 1),
        hole=dice.uniform(0.35, 0.75) if dice.chance(0.12) else torch.tensor(0.0),
        **motion,
    )


def _draw_look(dice: _Dice) -> Look:
    common = float(dice.chance(0.7))
    drift = float(dice.chance(0.5))
    noise = dice.uniform(0, 0.03) * float(dice.chance(0.5))
    blur = dice.uniform(0.3, 1.5) * float(dice.chance(0.25)) + dice.uniform(0, 0.7, 2) * float(dice.chance(0.1))
    shadow = torch.stack(
        [
            dice.uniform(0.1, 0.5) * float(dice.chance(0.25)),
            *dice.vector(0.02, 0.5, 0.06),
            dice.uniform(0, 6.28),
            dice.uniform(1, 6),
        ]
    )
    moved = shadow.clone()
    moved[3] += dice.normal(0.3)
    return Look(
        gain=1 + dice.uniform(-0.25, 0.25, 1, 3) * common + dice.normal(0.04, 2, 3) * drift,
        offset=dice.uniform(-0.1, 0.1, 1, 1) * common + dice.normal(0.02, 2, 3) * drift,
        gamma=torch.exp(dice.normal(0.15) * common + dice.normal(0.05, 2) * drift),
        noise=noise.expand(2),
        blur=blur,
        shutter=dice.uniform(0.1, 0.7) * float(dice.chance(0.15)),
        haze=torch.cat([(dice.uniform(0, 0.5) * float(dice.chance(0.1)))[None], dice.uniform(0.4, 1, 3)]),
        shadow=torch.stack([shadow, moved]),
        quantizer=torch.exp(dice.uniform(math.log(0.02), math.log(0.2))) * float(dice.chance(0.3)),
    )


def _draw_pace(dice: _Dice) -> float:
    """How fast everything in a scene moves: a third are slow, down to hundredths of a pixel, some are fast."""
    if dice.chance(0.35):
        return math.exp(float(dice.uniform(math.log(0.03), math.log(0.6))))
    return float(dice.uniform(1.3, 2.2)) if dice.chance(0.12) else 1.0


def _unused(layer: Layer) -> Layer:
    """A shape without area: scenes of one batch have unlike numbers of layers."""
    return replace(layer, radius=torch.zeros(2))


def draw_scene(seed: int, indices: Iterable[int], height: int, width: int, textures: int) -> Scene:
    """The scenes number `indices` of the endless set `seed`, each a function of the two alone.

    height, width: of the frames, pixels. textures: number of textures in the bank.
    """
    layered, looks, seeds = [], [], []
    for index in indices:
        own = (seed * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03) % 2**63
        dice = _Dice(own)
        pace = _draw_pace(dice)
        still = dice.chance(0.15)
        moving = pace * float(not still)
        fast = dice.chance(0.15)
        camera = {
            "shift": dice.vector(3.0, 1.2, 80.0) * pace * (0.02 if still else 1.0),
            "turn": dice.normal(0.02) * moving * float(dice.chance(0.6)),
            "zoom": dice.normal(0.1 if fast else 0.03) * moving * float(dice.chance(0.6)),
            "stretch": dice.normal(0.015, 2) * moving * float(dice.chance(0.4)),
            "tilt": dice.normal(4e-4 if fast else 1e-4, 2) * moving * float(dice.chance(0.4)),
        }
        count = dice.integer(2, MOST_LAYERS + 1)
        layers = [_draw_layer(dice, height, width, textures, number == 0, pace, camera) for number in range(count)]
        layers += [_unused(layers[0])] * (MOST_LAYERS - count)
        layered.append(layers)
        looks.append(_draw_look(dice))
        seeds.append(own)
    return Scene([_stack(same) for same in zip(*layered, strict=True)], _stack(looks), seeds)
