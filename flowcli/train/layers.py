"""Layers, motions and looks drawn at random: what the kinds of scenes are made of."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from flowcli.train.dice import Dice
from flowcli.train.scenes import HARMONICS, WAVES, Layer, Look, Motion
from flowcli.train.textures import PATTERNS, SMOOTH, TEXTURE_SIZE

LOOSE = 4.0
"""Pixels by which turning and zooming may move the rim of a wall: on a smooth border, more could be seen by nobody."""


@dataclass(frozen=True)
class Canvas:
    """What scenes are drawn for: height and width of the frames in pixels, and the number of textures in the bank."""

    height: int
    width: int
    textures: int

    @property
    def size(self) -> float:
        """The diagonal, pixels."""
        return math.hypot(self.height, self.width)

    @property
    def middle(self) -> Tensor:
        """(2,) x, y."""
        return torch.tensor([self.width / 2, self.height / 2])

    def smooth(self, dice: Dice) -> Tensor:
        """Index of a texture without detail, of which the bank has some at its end."""
        return torch.tensor(dice.integer(max(self.textures - SMOOTH, 0), self.textures))

    def pattern(self, dice: Dice) -> Tensor:
        """Index of a pattern that repeats, of which the bank has some before those."""
        last = max(self.textures - SMOOTH, 1)
        return torch.tensor(dice.integer(max(last - PATTERNS, 0), last))


def heading(dice: Dice, length: float, level: float = 0.0) -> Tensor:
    """A vector of that length in any direction, with probability `level` nearly along x."""
    angle = dice.number(0, 2 * math.pi)
    if dice.chance(level):
        angle = math.pi * dice.integer(0, 2) + float(dice.normal(0.15))
    return torch.tensor([length * math.cos(angle), length * math.sin(angle)])


def draw_layer(dice: Dice, canvas: Canvas, background: bool, pace: float, camera: Motion) -> Layer:
    """A shape, or a background, of any kind; the motion is its own and the camera's, about its own centre."""
    height, width, size = canvas.height, canvas.width, canvas.size
    here = torch.stack([dice.uniform(-0.05, 1.05) * width, dice.uniform(-0.05, 1.05) * height])
    center = torch.tensor([width / 2, height / 2]) if background else here
    thin = dice.chance(0.15)
    longer = size * dice.scale(0.05, 0.35)
    ratio = dice.number(0.02, 0.1) if thin else dice.scale(0.35, 1)
    radius = torch.tensor([math.inf, math.inf] if background else [longer, max(longer * ratio, 1.5)])
    texels = dice.number(0.5, 1.3)
    mapping = draw_mapping(dice, center, texels)
    motion = dataclasses.replace(camera, center=center)
    if not background and dice.chance(0.9):
        motion = Motion(
            center=center,
            shift=camera.shift + pace * dice.vector(5.0, 1.2, 150.0),
            turn=camera.turn + pace * dice.normal(0.06) * float(dice.chance(0.6)),
            zoom=camera.zoom + pace * dice.normal(0.04) * float(dice.chance(0.5)),
            stretch=camera.stretch + pace * dice.normal(0.03, 2) * float(dice.chance(0.4)),
            tilt=camera.tilt + pace * dice.normal(2e-4, 2) * float(dice.chance(0.3)),
        )
    wave = torch.zeros(WAVES, 5)
    if dice.chance(0.4):
        # Long waves are relief that the camera passes, short ones cloth and water.
        wave = draw_waves(dice, min(pace, 1.0) * 0.15)
    return Layer(
        texture=torch.tensor(dice.integer(0, canvas.textures)),
        mapping=mapping,
        tint=dice.uniform(0.75, 1.25, 3),
        contrast=dice.uniform(0.1, 0.8) if dice.chance(0.35) else torch.tensor(1.0),
        opacity=torch.tensor(1.0),
        mask=torch.tensor(0),
        cutout=torch.zeros(2),
        motion=motion,
        carrier=Motion.none(),
        wave=wave,
        place=center,
        radius=radius,
        angle=dice.uniform(0, 2 * math.pi),
        sides=torch.tensor(float(dice.integer(3, 8))),
        spin=torch.tensor(0.0),
        smooth=torch.tensor(1.0) if dice.chance(0.5) else dice.uniform(0, 1),
        outline=torch.stack([dice.uniform(0, 0.16, HARMONICS), dice.uniform(0, 2 * math.pi, HARMONICS)], 1),
        hole=dice.uniform(0.35, 0.75) if dice.chance(0.12) else torch.tensor(0.0),
    )


def draw_mapping(dice: Dice, center: Tensor, texels: float) -> Tensor:
    """(2, 3): so many texels a pixel, turned at random, somewhere in the texture."""
    angle = float(dice.uniform(0, 2 * math.pi))
    linear = texels * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    anchor = dice.uniform(0.2, 0.8, 2) * TEXTURE_SIZE
    return torch.cat([linear, (anchor - linear @ center)[:, None]], 1)


def draw_waves(dice: Dice, steepest: float, toward: float | None = None) -> Tensor:
    """(WAVES, 5): motion that is no plane's, with a gradient below `steepest` per wave; toward: all in that direction.

    Up to 0.15 the waves can be undone by iteration and nothing folds.
    """
    longest = dice.scale(80, 400)
    numbers = torch.stack([dice.vector(2 * math.pi / longest, 0.4, 2 * math.pi / 50) for _ in range(WAVES)])
    strength = dice.uniform(0, 0.15, WAVES) * (steepest / 0.15) / numbers.norm(dim=1)
    angles = dice.uniform(0, 2 * math.pi, WAVES) if toward is None else torch.full((WAVES,), toward)
    moves = torch.stack([strength * torch.cos(angles), strength * torch.sin(angles)], 1)
    return torch.cat([moves, numbers, dice.uniform(0, 2 * math.pi, WAVES, 1)], 1)


def background(dice: Dice, canvas: Canvas, carrier: Motion) -> Layer:
    """A background that moves as the camera does, and not otherwise."""
    layer = draw_layer(dice, canvas, True, 0.0, Motion.none())
    return carried(dataclasses.replace(layer, hole=torch.tensor(0.0)), carrier)


def shape(dice: Dice, canvas: Canvas, carrier: Motion, radius: float, pace: float = 0.0) -> Layer:
    """A shape with half axes of about so many pixels, moving at its own pace under the camera."""
    layer = draw_layer(dice, canvas, False, pace, Motion.none())
    axes = torch.tensor([radius, radius * dice.scale(0.4, 1)])
    return carried(dataclasses.replace(layer, radius=axes, spin=dice.uniform(0, 2 * math.pi)), carrier)


def carried(layer: Layer, carrier: Motion) -> Layer:
    """The same layer on something that moves."""
    return dataclasses.replace(layer, carrier=carrier)


def flattened(dice: Dice, canvas: Canvas, layer: Layer) -> Layer:
    """The same layer as a wall: one colour, or a soft gradient. It moves as one, up to LOOSE."""
    most = LOOSE / min(float(layer.radius.amax()), canvas.size / 2)
    motion = dataclasses.replace(
        layer.motion,
        turn=layer.motion.turn.clamp(-most, most),
        zoom=layer.motion.zoom.clamp(-most, most),
        stretch=torch.zeros(2),
        tilt=torch.zeros(2),
    )
    return dataclasses.replace(
        layer,
        motion=motion,
        texture=canvas.smooth(dice),
        contrast=torch.tensor(0.0 if dice.chance(0.3) else dice.scale(0.02, 0.5)),
        tint=dice.number(0.1, 1.9) * dice.uniform(0.8, 1.2, 3),
        # Nothing would tell them.
        wave=torch.zeros_like(layer.wave),
    )


def straightened(layer: Layer) -> Layer:
    """The same layer with straight sides and corners, as vans, doors and screens have."""
    return dataclasses.replace(layer, smooth=torch.tensor(0.0), outline=0.2 * layer.outline)


def patterned(dice: Dice, canvas: Canvas, layer: Layer) -> Layer:
    """The same layer with a pattern that repeats: bricks, blinds, a fence."""
    return dataclasses.replace(
        layer,
        texture=canvas.pattern(dice),
        mapping=draw_mapping(dice, layer.place, dice.scale(0.4, 1.5)),
        contrast=torch.tensor(dice.scale(0.05, 1.0)),
        tint=dice.uniform(0.5, 1.5, 3),
    )


def pierced(dice: Dice, canvas: Canvas, layer: Layer) -> Layer:
    """The same layer with holes in a pattern: a fence, twigs, particles, letters."""
    mask = torch.tensor(dice.integer(0, canvas.textures)) if dice.chance(0.1) else canvas.pattern(dice)
    cutout = torch.tensor([dice.number(0.35, 0.7), 0.15])
    mapping = draw_mapping(dice, layer.place, dice.scale(0.4, 1.2))
    return dataclasses.replace(layer, mask=mask, cutout=cutout, mapping=mapping)


def mark(dice: Dice, canvas: Canvas, on: Layer) -> Layer:
    """A small thing that is fixed to that layer: a door handle, a number plate, a line."""
    layer = draw_layer(dice, canvas, False, 0.0, Motion.none())
    if bool(torch.isinf(on.radius).any()):
        place = layer.place
    else:
        cos, sin = torch.cos(on.angle), torch.sin(on.angle)
        turn = torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])
        place = on.place + turn @ (dice.uniform(-0.7, 0.7, 2) * on.radius)
    longer = canvas.size * dice.scale(0.003, 0.05)
    axes = torch.tensor([longer, max(longer * dice.scale(0.05, 1), 0.8)])
    return dataclasses.replace(
        layer,
        motion=on.motion,
        carrier=on.carrier,
        wave=on.wave,
        place=place,
        radius=axes,
        mapping=draw_mapping(dice, place, dice.scale(0.5, 2)),
    )


def veil(dice: Dice, canvas: Canvas, carrier: Motion, pace: float) -> Layer:
    """A shadow or a reflection: seen through, and moving otherwise than what it lies on."""
    layer = shape(dice, canvas, carrier, canvas.size * dice.scale(0.08, 0.5), pace)
    if dice.chance(0.5):
        layer = dataclasses.replace(layer, contrast=torch.tensor(0.0), tint=dice.uniform(0.0, 0.3, 3))
    return dataclasses.replace(layer, opacity=dice.uniform(0.08, 0.4))


def draw_look(dice: Dice) -> Look:
    """How the camera records a pair."""
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
