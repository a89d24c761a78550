"""The bank of textures that layers are cut from: photos, coloured noise, patterns that repeat, and soft gradients."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli import geometry
from flowcli.pictures import PICTURE_SUFFIXES, draw_text, read_picture

TEXTURE_SIZE = 384
PROCEDURAL = 48
PATTERNS = 32
SMOOTH = 16


def load_bank(folder: Path | None, seed: int = 0) -> Tensor:
    """Textures (T, 3, S, S) uint8: the photos in `folder`, cut to squares, noise, patterns, and smooth ones."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES) if folder else []
    photos = [_square(torch.from_numpy(read_picture(path))) for path in paths]
    noise = procedural_textures(PROCEDURAL, seed)
    return torch.stack([*photos, *noise, *patterns(PATTERNS, seed), *smooth_textures(SMOOTH, seed)])


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
        # In double precision: how many threads add up must not change a single byte.
        value = ((value - value.double().mean()) / value.double().std()).float()
        if number % 3 == 2:
            steps = 1 + 2 * torch.rand((), generator=generator).item()
            value = torch.floor(value * steps) / steps
        tint = torch.rand(1, 3, 1, 1, generator=generator) * 0.5 + 0.25
        textures.append(((tint + 0.22 * value) * 255).clamp(0, 255).to(torch.uint8)[0])
    return textures


def smooth_textures(count: int, seed: int) -> list[Tensor]:
    """Textures (3, S, S) uint8 without detail: what light makes of a wall, and what the sky looks like."""
    generator = torch.Generator().manual_seed(seed)
    textures = []
    for number in range(count):
        cells = 2 + number % 4
        noise = torch.randn(1, 3, cells, cells, generator=generator)
        value = torch.lerp(noise.mean(1, keepdim=True), noise, 0.3)
        value = F.interpolate(value, (TEXTURE_SIZE, TEXTURE_SIZE), mode="bicubic", align_corners=True)
        textures.append(((0.5 + 0.25 * value) * 255).clamp(0, 255).to(torch.uint8)[0])
    return textures


def patterns(count: int, seed: int) -> list[Tensor]:
    """Grey textures (3, S, S) uint8: stripes, blinds, bricks, nets, dots, particles, checks and letters, in turn."""
    generator = torch.Generator().manual_seed(seed)
    y, x = geometry.grid(TEXTURE_SIZE, TEXTURE_SIZE).flip(0)
    textures = []
    for number in range(count):
        kind = number % 8
        period = 2 ** (3 + 3 * torch.rand((), generator=generator).item())
        share = 0.1 + 0.5 * torch.rand((), generator=generator).item()
        across, down = torch.remainder(x, period) / period, torch.remainder(y, period) / period
        if kind == 0:
            value = (across < share).float()
        elif kind == 1:
            value = 0.5 - 0.5 * torch.cos(2 * math.pi * down)
        elif kind == 2:
            row = torch.floor(2 * y / period)
            joint = torch.remainder(x + 0.5 * period * torch.remainder(row, 2), period) < 0.1 * period
            value = 1 - (joint | (torch.remainder(2 * down, 1) < 0.15)).float()
        elif kind == 3:
            value = ((across < 0.4 * share) | (down < 0.4 * share)).float()
        elif kind == 4:
            value = (torch.hypot(across - 0.5, down - 0.5) < 0.25 + 0.3 * share).float()
        elif kind == 5:
            value = _particles(round(1500 / period), period, generator)
        elif kind == 6:
            value = torch.logical_xor(across < 0.5, down < 0.5).float()
        else:
            value = _letters(round(10 + period / 2), generator)
        # Edges as a lens leaves them.
        value = F.avg_pool2d(F.pad(value[None, None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
        textures.append((20 + 215 * value).to(torch.uint8).expand(3, -1, -1).contiguous())
    return textures


def _particles(count: int, most: float, generator: torch.Generator) -> Tensor:
    y, x = geometry.grid(TEXTURE_SIZE, TEXTURE_SIZE).flip(0)
    value = torch.zeros(TEXTURE_SIZE, TEXTURE_SIZE)
    for _ in range(count):
        at_x, at_y, size = torch.rand(3, generator=generator).tolist()
        near = torch.hypot(x - at_x * TEXTURE_SIZE, y - at_y * TEXTURE_SIZE) < 1 + 0.3 * size * most
        value = torch.maximum(value, near.float())
    return value


def _letters(height: int, generator: torch.Generator) -> Tensor:
    image = np.zeros((TEXTURE_SIZE, TEXTURE_SIZE, 3), np.uint8)
    for bottom in range(2 * height, TEXTURE_SIZE, 2 * height):
        codes = torch.randint(ord("A"), ord("z"), (TEXTURE_SIZE // height,), generator=generator)
        image = draw_text(image, "".join(map(chr, codes.tolist())), 4, bottom, height)
    return torch.from_numpy(image[..., 0]).float() / 255
