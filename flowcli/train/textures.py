"""The bank of textures that layers are cut from: photos, and coloured noise."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from flowcli import geometry
from flowcli.pictures import PICTURE_SUFFIXES, read_picture

TEXTURE_SIZE = 384
PROCEDURAL = 48


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
        # In double precision: how many threads add up must not change a single byte.
        value = ((value - value.double().mean()) / value.double().std()).float()
        if number % 3 == 2:
            steps = 1 + 2 * torch.rand((), generator=generator).item()
            value = torch.floor(value * steps) / steps
        tint = torch.rand(1, 3, 1, 1, generator=generator) * 0.5 + 0.25
        textures.append(((tint + 0.22 * value) * 255).clamp(0, 255).to(torch.uint8)[0])
    return textures
