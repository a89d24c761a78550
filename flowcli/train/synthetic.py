"""Scenes of moving layers whose flow is known exactly: what the default weights are trained on.

A scene is a background and up to `MOST_LAYERS` shapes over it, each with its own texture and motion. A layer is described at
time 0; `position` says where one of its points is at time t, `origin` is the inverse. So frames, flow between any two times
and occlusion follow from the same few numbers per layer, and a scene is a function of (seed, index) alone.

The idea of training on layers of random shapes follows AutoFlow, Sun et al. 2021, arXiv:2104.14544.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli import geometry
from flowcli.pictures import PICTURE_SUFFIXES, read_picture

MOST_LAYERS = 9
WAVES = 3
HARMONICS = 4
TEXTURE_SIZE = 384
PROCEDURAL = 48
BLUR_REACH = 4


@dataclass(frozen=True)
class Layer:
    """One layer of each scene in a batch; every field starts with the batch. Lengths in pixels, angles in radians."""

    texture: Tensor  # (B,) index into the bank
    mapping: Tensor  # (B, 2, 3) scene pixels at time 0 -> texels
    tint: Tensor  # (B, 3) gain of each colour
    center: Tensor  # (B, 2) x, y: what the motion turns and zooms about
    shift: Tensor  # (B, 2) per unit of time
    turn: Tensor  # (B,) per unit of time
    zoom: Tensor  # (B,) logarithm of the scale, per unit of time
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
    haze: Tensor  # (B, 4) strength, colour
    shadow: Tensor  # (B, 2, 5) strength, wave number (2), phase, sharpness


@dataclass(frozen=True)
class Scene:
    """A batch of scenes: layers from back to front."""

    layers: Sequence[Layer]
    look: Look
    seeds: Sequence[int]


@dataclass(frozen=True)
class Pairs:
    """A batch of training pairs: images (B, 3, H, W) uint8 RGB, flow (B, 2, H, W) float32, occluded (B, H, W) bool."""

    first: Tensor
    second: Tensor
    flow: Tensor
    occluded: Tensor


def load_bank(folder: Path | None, seed: int = 0) -> Tensor:
    """Textures (T, 3, S, S) uint8: the photos in `folder`, cut to squares, then procedural ones."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES) if folder else []
    photos = [_square(torch.from_numpy(read_picture(path))) for path in paths]
    return torch.stack(photos + procedural_textures(PROCEDURAL, seed))


def _square(image: Tensor) -> Tensor:
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side].permute(2, 0, 1)[None].float()
    return geometry.resize_image(square, TEXTURE_SIZE, TEXTURE_SIZE)[0].clamp(0, 255).to(torch.uint8)


def procedural_textures(count: int, seed: int) -> list[Tensor]:
    """Textures (3, S, S) uint8 of coloured noise over several octaves; every third one is cut into flat patches."""
    generator = torch.Generator().manual_seed(seed)
    textures = []
    for number in range(count):
        value = torch.zeros(1, 3, TEXTURE_SIZE, TEXTURE_SIZE)
        slope = 0.5 + torch.rand((), generator=generator).item()
        for octave in range(2, 8):
            cells = 2**octave
            noise = torch.randn(1, 3, cells, cells, generator=generator)
            noise = 0.6 * noise.mean(1, keepdim=True) + 0.4 * noise
            value += geometry.resize_image(noise, TEXTURE_SIZE, TEXTURE_SIZE) * cells**-slope
        value = (value - value.mean()) / value.std()
        if number % 3 == 2:
            steps = 1 + 2 * torch.rand((), generator=generator).item()
            value = torch.floor(value * steps) / steps
        tint = torch.rand(1, 3, 1, 1, generator=generator) * 0.5 + 0.25
        textures.append(((tint + 0.22 * value) * 255).clamp(0, 255).to(torch.uint8)[0])
    return textures


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


def _draw_layer(dice: _Dice, height: int, width: int, textures: int, background: bool, camera: dict[str, Tensor]) -> Layer:
    size = math.hypot(height, width)
    here = torch.stack([dice.uniform(-0.05, 1.05) * width, dice.uniform(-0.05, 1.05) * height])
    center = torch.tensor([width / 2, height / 2]) if background else here
    thin = dice.chance(0.15)
    longer = size * math.exp(float(dice.uniform(math.log(0.05), math.log(0.35))))
    ratio = float(dice.uniform(0.02, 0.1)) if thin else math.exp(float(dice.uniform(math.log(0.35), 0)))
    radius = torch.tensor([math.inf, math.inf] if background else [longer, max(longer * ratio, 1.5)])
    texels = float(dice.uniform(0.5, 1.3))
    heading = float(dice.uniform(0, 2 * math.pi))
    linear = texels * torch.tensor(
        [[math.cos(heading), -math.sin(heading)], [math.sin(heading), math.cos(heading)]]
    )
    anchor = dice.uniform(0.2, 0.8, 2) * TEXTURE_SIZE
    mapping = torch.cat([linear, (anchor - linear @ center)[:, None]], 1)
    motion = dict(camera)
    if not background and dice.chance(0.9):
        motion["shift"] = camera["shift"] + dice.vector(5.0, 1.2, 150.0)
        motion["turn"] = camera["turn"] + dice.normal(0.06) * float(dice.chance(0.6))
        motion["zoom"] = camera["zoom"] + dice.normal(0.04) * float(dice.chance(0.5))
        motion["tilt"] = dice.normal(2e-4, 2) * float(dice.chance(0.3))
    wave = torch.zeros(WAVES, 5)
    if dice.chance(0.35):
        numbers = torch.stack([dice.vector(2 * math.pi / 120, 0.4, 2 * math.pi / 50) for _ in range(WAVES)])
        # The gradient of the motion stays below 0.15 per wave, so that `origin` converges and nothing folds.
        strength = dice.uniform(0, 0.15, WAVES) / numbers.norm(dim=1)
        toward = dice.uniform(0, 2 * math.pi, WAVES)
        moves = torch.stack([strength * torch.cos(toward), strength * torch.sin(toward)], 1)
        wave = torch.cat([moves, numbers, dice.uniform(0, 2 * math.pi, WAVES, 1)], 1)
    return Layer(
        texture=torch.tensor(dice.integer(0, textures)),
        mapping=mapping,
        tint=dice.uniform(0.75, 1.25, 3),
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
    blur = dice.uniform(0.3, 1.5) * float(dice.chance(0.25))
    shadow = torch.stack([
        dice.uniform(0.1, 0.5) * float(dice.chance(0.25)), *dice.vector(0.02, 0.5, 0.06), dice.uniform(0, 6.28),
        dice.uniform(1, 6),
    ])
    moved = shadow.clone()
    moved[3] += dice.normal(0.3)
    return Look(
        gain=1 + dice.uniform(-0.25, 0.25, 1, 3) * common + dice.normal(0.04, 2, 3) * drift,
        offset=dice.uniform(-0.1, 0.1, 1, 1) * common + dice.normal(0.02, 2, 3) * drift,
        gamma=torch.exp(dice.normal(0.15) * common + dice.normal(0.05, 2) * drift),
        noise=noise.expand(2),
        blur=blur.expand(2),
        haze=torch.cat([(dice.uniform(0, 0.5) * float(dice.chance(0.1)))[None], dice.uniform(0.4, 1, 3)]),
        shadow=torch.stack([shadow, moved]),
    )


def draw_scene(seed: int, indices: Iterable[int], height: int, width: int, textures: int) -> Scene:
    """The scenes number `indices` of the endless set `seed`, each a function of the two alone.

    height, width: of the frames, pixels. textures: number of textures in the bank.
    """
    layered, looks, seeds = [], [], []
    for index in indices:
        own = (seed * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03) % 2**63
        dice = _Dice(own)
        still = dice.chance(0.12)
        camera = {
            "shift": dice.vector(3.0, 1.2, 80.0) * (0.02 if still else 1.0),
            "turn": dice.normal(0.02) * float(not still and dice.chance(0.6)),
            "zoom": dice.normal(0.03) * float(not still and dice.chance(0.6)),
            "tilt": dice.normal(1e-4, 2) * float(not still and dice.chance(0.3)),
        }
        count = dice.integer(2, MOST_LAYERS)
        layers = [_draw_layer(dice, height, width, textures, number == 0, camera) for number in range(MOST_LAYERS)]
        # Scenes have unlike numbers of layers; the unused ones become shapes without area.
        for layer in layers[count:]:
            layer.radius.zero_()
        layered.append(layers)
        looks.append(_draw_look(dice))
        seeds.append(own)
    return Scene([_stack(same) for same in zip(*layered, strict=True)], _stack(looks), seeds)


Part = TypeVar("Part", Layer, Look)


def _stack(values: Sequence[Part]) -> Part:
    kind = type(values[0])
    return kind(**{field.name: torch.stack([getattr(v, field.name) for v in values]) for field in fields(kind)})


def _moved(value: Part, device: torch.device) -> Part:
    return type(value)(**{field.name: getattr(value, field.name).to(device) for field in fields(value)})


def _used(scene: Scene, device: torch.device) -> list[Layer]:
    return [_moved(layer, device) for layer in scene.layers if bool(layer.radius.any())]


def _waves(layer: Layer, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    dx, dy = torch.zeros_like(x), torch.zeros_like(y)
    for number in range(WAVES):
        mx, my, kx, ky, phase = (layer.wave[:, number, i, None, None] for i in range(5))
        swing = torch.sin(kx * x + ky * y + phase)
        dx, dy = dx + mx * swing, dy + my * swing
    return dx, dy


def _rigid(layer: Layer, time: float) -> Tensor:
    """Homographies (B, 3, 3): where the layer's points are at `time`, without the waves."""
    one = torch.ones_like(layer.turn)
    zero = torch.zeros_like(one)
    cos, sin = torch.cos(layer.turn * time), torch.sin(layer.turn * time)
    scale = torch.exp(layer.zoom * time)
    cx, cy = layer.center.unbind(1)
    tx, ty = (layer.shift * time + layer.center).unbind(1)
    px, py = (layer.tilt * time).unbind(1)
    back = torch.stack([one, zero, -cx, zero, one, -cy, zero, zero, one], 1).view(-1, 3, 3)
    turn = torch.stack([scale * cos, -scale * sin, zero, scale * sin, scale * cos, zero, px, py, one], 1).view(-1, 3, 3)
    forth = torch.stack([one, zero, tx, zero, one, ty, zero, zero, one], 1).view(-1, 3, 3)
    return forth @ turn @ back


def _project(matrix: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    (a, b, c), (d, e, f), (g, h, i) = ([matrix[:, row, col, None, None] for col in range(3)] for row in range(3))
    depth = (g * x + h * y + i).clamp_min(0.1)
    return (a * x + b * y + c) / depth, (d * x + e * y + f) / depth


def position(layer: Layer, x: Tensor, y: Tensor, time: float) -> tuple[Tensor, Tensor]:
    """Where the layer's points (x, y) of time 0 are at `time`; all (B, H, W), pixels."""
    if time == 0:
        return x, y
    dx, dy = _waves(layer, x, y)
    x, y = _project(_rigid(layer, time), x, y)
    return x + time * dx, y + time * dy


def origin(layer: Layer, x: Tensor, y: Tensor, time: float) -> tuple[Tensor, Tensor]:
    """Inverse of `position`, by fixed-point iteration (the waves' gradient is below one)."""
    if time == 0:
        return x, y
    inverse = torch.linalg.inv(_rigid(layer, time))
    x0, y0 = _project(inverse, x, y)
    if bool(layer.wave.any()):
        for _ in range(6):
            dx, dy = _waves(layer, x0, y0)
            x0, y0 = _project(inverse, x - time * dx, y - time * dy)
    return x0, y0


def _coverage(layer: Layer, x: Tensor, y: Tensor) -> Tensor:
    """Opacity (B, H, W) in [0, 1] of the layer at points of time 0, with an edge about one pixel wide."""
    if bool(torch.isinf(layer.radius).all()):
        return torch.ones_like(x)
    # Unused layers have no area; a tiny radius would divide by zero.
    rx, ry = (layer.radius[:, i, None, None].clamp_min(1e-3) for i in range(2))
    cos, sin = torch.cos(layer.angle)[:, None, None], torch.sin(layer.angle)[:, None, None]
    dx, dy = x - layer.center[:, 0, None, None], y - layer.center[:, 1, None, None]
    px, py = (cos * dx + sin * dy) / rx, (cos * dy - sin * dx) / ry
    theta, distance = torch.atan2(py, px), torch.hypot(px, py)
    sector = 2 * math.pi / layer.sides[:, None, None]
    polygon = torch.cos(sector / 2) / torch.cos(torch.remainder(theta, sector) - sector / 2)
    smooth = layer.smooth[:, None, None]
    edge = smooth + (1 - smooth) * polygon
    wobble = torch.ones_like(theta)
    for number in range(HARMONICS):
        amplitude, phase = (layer.outline[:, number, i, None, None] for i in range(2))
        wobble = wobble + amplitude / (number + 1) * torch.cos((number + 2) * theta + phase)
    edge = edge * wobble
    pixels = torch.minimum(rx, ry)
    inside = (0.5 + (edge - distance) * pixels).clamp(0, 1)
    hole = layer.hole[:, None, None]
    inside = inside * (0.5 + (distance - hole * edge) * pixels).clamp(0, 1).where(hole > 0, 1.0)
    return inside * (layer.radius.amin(1) > 0)[:, None, None]


def _textured(layer: Layer, bank: Tensor, x: Tensor, y: Tensor) -> Tensor:
    m = layer.mapping[:, :, :, None, None]
    points = torch.stack([m[:, i, 0] * x + m[:, i, 1] * y + m[:, i, 2] for i in range(2)], 1)
    last = TEXTURE_SIZE - 1
    mirrored = last - (torch.remainder(points, 2 * last) - last).abs()
    textures = bank[layer.texture].float() / 255
    texels, _ = geometry.backward_warp(textures, mirrored - geometry.grid(*x.shape[1:], x.device))
    return texels * layer.tint[:, :, None, None]


def _pixels(batch: int, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    x, y = geometry.grid(height, width, device)
    return x.expand(batch, -1, -1), y.expand(batch, -1, -1)


def render(scene: Scene, bank: Tensor, height: int, width: int, times: Sequence[float]) -> list[Tensor]:
    """Clean frames (B, 3, H, W) float32 RGB, about [0, 1], one for each time. `bank`: textures, also sets the device."""
    layers = _used(scene, bank.device)
    x, y = _pixels(len(scene.seeds), height, width, bank.device)
    frames = []
    for time in times:
        image = torch.zeros(x.shape[0], 3, height, width, device=bank.device)
        for layer in layers:
            x0, y0 = origin(layer, x, y, time)
            image = torch.lerp(image, _textured(layer, bank, x0, y0), _coverage(layer, x0, y0)[:, None])
        frames.append(image)
    return frames


def true_flow(
    scene: Scene, device: torch.device, height: int, width: int, start: float, stop: float
) -> tuple[Tensor, Tensor]:
    """Flow (B, 2, H, W), pixels, from time `start` to `stop`, and where its target is hidden or outside (B, H, W) bool."""
    layers = _used(scene, device)
    x, y = _pixels(len(scene.seeds), height, width, device)
    to_x, to_y = x.clone(), y.clone()
    top = torch.zeros_like(x, dtype=torch.long)
    for number, layer in enumerate(layers):
        x0, y0 = origin(layer, x, y, start)
        visible = _coverage(layer, x0, y0) > 0.5
        moved_x, moved_y = position(layer, x0, y0, stop)
        to_x, to_y = torch.where(visible, moved_x, to_x), torch.where(visible, moved_y, to_y)
        top = torch.where(visible, number, top)
    occluded = (to_x < 0) | (to_x > width - 1) | (to_y < 0) | (to_y > height - 1)
    for number, layer in enumerate(layers[1:], 1):
        hidden = _coverage(layer, *origin(layer, to_x, to_y, stop)) > 0.5
        occluded |= hidden & (top < number)
    return torch.stack([to_x - x, to_y - y], 1), occluded


def _blurred(image: Tensor, deviation: Tensor) -> Tensor:
    offsets = torch.arange(-BLUR_REACH, BLUR_REACH + 1, device=image.device)
    out = []
    for picture, sigma in zip(image, deviation.tolist(), strict=True):
        if sigma > 0:
            kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
            kernel = (kernel / kernel.sum())[None, None, None]
            padded = F.pad(picture[:, None], (BLUR_REACH,) * 4, mode="replicate")
            picture = F.conv2d(F.conv2d(padded, kernel), kernel.mT)[:, 0]
        out.append(picture)
    return torch.stack(out)


def _recorded(scene: Scene, frames: Sequence[Tensor]) -> list[Tensor]:
    """Frames (B, 3, H, W) uint8 as a camera would record them: haze, shadows, blur, exposure, colour, noise."""
    device = frames[0].device
    look = _moved(scene.look, device)
    x, y = _pixels(*frames[0].shape[:1], *frames[0].shape[2:], device)
    out = []
    for number, image in enumerate(frames):
        strength, kx, ky, phase, sharpness = (look.shadow[:, number, i, None, None] for i in range(5))
        shade = 1 - strength * torch.sigmoid(sharpness * torch.sin(kx * x + ky * y + phase))
        image = image * shade[:, None]
        haze = look.haze[:, :1, None, None]
        image = image * (1 - haze) + haze * look.haze[:, 1:, None, None]
        image = _blurred(image, look.blur[:, number])
        image = image * look.gain[:, number, :, None, None] + look.offset[:, number, :, None, None]
        image = image.clamp(0, 1) ** look.gamma[:, number, None, None, None]
        grain = torch.stack([
            torch.randn(image.shape[1:], generator=torch.Generator(device).manual_seed(seed % 2**62 + number), device=device)
            for seed in scene.seeds
        ])
        image = image + grain * look.noise[:, number, None, None, None]
        out.append((image.clamp(0, 1) * 255).round().to(torch.uint8))
    return out


def make_pairs(bank: Tensor, seed: int, indices: Iterable[int], height: int, width: int) -> Pairs:
    """Training pairs number `indices` of the endless set `seed`, rendered on the bank's device."""
    scene = draw_scene(seed, indices, height, width, bank.shape[0])
    first, second = _recorded(scene, render(scene, bank, height, width, (0.0, 1.0)))
    flow, occluded = true_flow(scene, bank.device, height, width, 0.0, 1.0)
    return Pairs(first, second, flow, occluded)
