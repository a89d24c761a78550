"""What a picture shows around points, and where that is found in another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.carry.evidence import Look
from flowcli.geometry import sample

MIDDLE = 4
SIDE = 2 * MIDDLE + 1
"""Samples across a patch."""
_FINE = 480
"""Pixels of the shorter side of a picture; in larger ones samples are farther apart."""
_STEPS = 3
_MOST = 1024
"""Points that are looked for at once."""


@dataclass(frozen=True, eq=False)
class View:
    """A frame from which patches are taken."""

    image: Tensor
    """(3, H, W) float32, grey levels."""
    apart: float
    """Pixels between the samples of a patch."""

    @classmethod
    def of(cls, look: Look) -> Self:
        """That of the frame of `look`."""
        image = torch.tensor(np.ascontiguousarray(look.frame.image), device=look.small.device)
        return cls(image.permute(2, 0, 1).float(), max(1.0, min(image.shape[:2]) / _FINE))


def take_patches(view: View, place: Tensor, middle: int = MIDDLE) -> Tensor:
    """(N, 3, side, side) float32, grey levels: the frame around the places (N, 2), `middle` samples on each side."""
    side = torch.arange(-middle, middle + 1, device=place.device) * view.apart
    y, x = torch.meshgrid(side, side, indexing="ij")
    position = place.T[:, :, None] + torch.stack((x, y)).flatten(1)[:, None]
    sampled, _ = sample(view.image[None], position[None])
    return sampled[0].transpose(0, 1).reshape(len(place), -1, *x.shape)


def differ(one: Tensor, other: Tensor) -> Tensor:
    """(N,): mean difference of patches, grey levels."""
    return (one - other).abs().flatten(1).mean(1)


def find_patches(view: View, place: Tensor, patches: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Where the frame looks most like the patches, (N, 2), and by how many grey levels it differs there, (N,).

    place: (N, 2), around which is searched; reach: (N,), how far, in samples.
    """
    parts = [each.split(_MOST) for each in (place, patches, reach)]
    found, errors = zip(*(_find(view, *each) for each in zip(*parts, strict=True)), strict=True)
    return torch.cat(found), torch.cat(errors)


def _find(view: View, place: Tensor, patches: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    most = int(reach.max())
    around = take_patches(view, place, MIDDLE + most)
    offsets = [(x, y) for y in range(-most, most + 1) for x in range(-most, most + 1)]
    errors = []
    for x, y in offsets:
        top, left = most + y, most + x
        error = differ(around[..., top : top + SIDE, left : left + SIDE], patches)
        errors.append(error.where(reach >= (x * x + y * y) ** 0.5, torch.inf))
    error, best = torch.stack(errors).min(0)
    moved = place + view.apart * torch.tensor(offsets, dtype=place.dtype, device=place.device)[best]
    finer = toward(view, moved, patches)
    fine = differ(take_patches(view, finer), patches)
    return torch.where((fine < error)[:, None], finer, moved), torch.minimum(fine, error)


def toward(view: View, place: Tensor, patches: Tensor) -> Tensor:
    """(N, 2): the places, moved by up to a sample each way to where the frame should look like the patches.

    Source: Lucas and Kanade 1981, with the gradients of the patches.
    """
    across = F.pad((patches[..., 2:] - patches[..., :-2]) / 2, (1, 1)).flatten(1)
    down = F.pad((patches[..., 2:, :] - patches[..., :-2, :]) / 2, (0, 0, 1, 1)).flatten(1)
    # One grey level squared more, so that flat patches stay where they are.
    xx, yy, xy = across.square().sum(1) + 1, down.square().sum(1) + 1, (across * down).sum(1)
    moved = place
    for _ in range(_STEPS):
        error = (take_patches(view, moved) - patches).flatten(1)
        x, y = (across * error).sum(1), (down * error).sum(1)
        change = torch.stack((yy * x - xy * y, xx * y - xy * x), dim=1) / (xx * yy - xy * xy)[:, None]
        moved = place + (moved - view.apart * change - place).clamp(-view.apart, view.apart)
    return moved
