"""Scenes as numbers: layers with shape, texture and motion, and how a camera sees them.

A scene is a background and shapes over it, each with its own texture and motion, described at time 0. `kinds` draws
them at random, `rendering` makes frames and flow of them.

The idea of training on layers of random shapes follows AutoFlow, Sun et al. 2021, arXiv:2104.14544.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

MOST_LAYERS = 17
WAVES = 3
HARMONICS = 4


@dataclass(frozen=True)
class Motion:
    """How a plane moves, per unit of time; every field starts with the batch."""

    center: Tensor  # (B, 2) x, y: what it turns and zooms about
    shift: Tensor  # (B, 2)
    turn: Tensor  # (B,)
    zoom: Tensor  # (B,) logarithm of the scale
    stretch: Tensor  # (B, 2) longer along x than y; sheared
    tilt: Tensor  # (B, 2) perspective, 1 / pixel

    @staticmethod
    def none() -> Motion:
        """What a thing that stands still does, without a batch."""
        return Motion(torch.zeros(2), torch.zeros(2), torch.zeros(()), torch.zeros(()), torch.zeros(2), torch.zeros(2))


@dataclass(frozen=True)
class Layer:
    """One layer of each scene in a batch; every field starts with the batch. Lengths in pixels, angles in radians."""

    texture: Tensor  # (B,) index into the bank
    mapping: Tensor  # (B, 2, 3) scene pixels at time 0 -> texels
    tint: Tensor  # (B, 3) gain of each colour
    contrast: Tensor  # (B,) of the texture: 1 as it is, 0 one flat grey
    opacity: Tensor  # (B,) 1 hides what is behind it; below a half it is a reflection or a shadow, and has no flow
    mask: Tensor  # (B,) index into the bank: where that texture is bright the layer is, elsewhere it has holes
    cutout: Tensor  # (B, 2) brightness at the edge of such a hole, and how much of it an edge takes; 0 for no holes
    motion: Motion  # of its own
    carrier: Motion  # of what carries it, which comes after its own: a camera, or a body with limbs
    wave: Tensor  # (B, WAVES, 5) non-rigid motion: direction in which it moves (2), wave number (2), phase
    place: Tensor  # (B, 2) x, y: the middle of the shape
    radius: Tensor  # (B, 2) half axes of the shape; infinite for a background
    angle: Tensor  # (B,) of the shape
    sides: Tensor  # (B,) of the polygon that the outline starts from
    spin: Tensor  # (B,) of that polygon against the axes
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


Part = TypeVar("Part", Layer, Look, Motion)


def changed(value: Part, change: Callable[[Tensor], Tensor]) -> Part:
    """The same with each of its tensors changed."""
    parts: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        parts[field.name] = changed(part, change) if isinstance(part, Motion) else change(part)
    return type(value)(**parts)


def stacked(values: Sequence[Part]) -> Part:
    """A batch of what has none yet."""
    parts: dict[str, Any] = {}
    for field in dataclasses.fields(values[0]):
        same = [getattr(value, field.name) for value in values]
        parts[field.name] = stacked(same) if isinstance(same[0], Motion) else torch.stack(same)
    return type(values[0])(**parts)
