"""What the outputs of a network mean, and what they say of each pixel of the frame."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from flowcli.errors import InputError
from flowcli.geometry import resize_image
from flowcli.nets.convention import Convention, Layout
from flowcli.nets.net import Tensors

Meaning = Literal["classes", "probability", "picture", "tensors"]
MOST_CLASSES = 1 << 16
_CHANNELS = 8
"""Scores brought to full size at once."""


def find_meaning(tensors: Tensors, convention: Convention, name: str) -> Meaning:
    """What the outputs mean: as the convention says, else by type and channels. Raises InputError if that cannot be."""
    first = tensors[0]
    shape = tuple(first.shape)
    is_map = first.dim() == 4 and shape[0] == 1
    kind = convention.kind
    if kind == "auto":
        if not is_map:
            kind = "tensors"
        elif first.is_floating_point() and shape[1] in (1, 3):
            kind = "probability" if shape[1] == 1 else "picture"
        else:
            kind = "classes"
    channels = {"probability": (1,), "picture": (3,)}.get(kind)
    if kind != "tensors" and (not is_map or (channels and shape[1] not in channels)):
        wanted = {"probability": "(1, 1, h, w)", "picture": "(1, 3, h, w)"}.get(kind, "(1, C, h, w)")
        raise InputError(
            f"{name} gives {shape}, a {kind} is {wanted}", 'set `kind` in a TOML file beside it: "tensors"'
        )
    return kind


def as_map(tensor: Tensor, layout: Layout, name: str) -> Tensor:
    """(1, C, h, w) float32, to be carried: whole numbers become scores of as many classes as there are.

    Raises InputError for what is no map.
    """
    whole = not tensor.is_floating_point()
    if whole and tensor.dim() == 3:
        tensor = tensor[:, None]
    elif layout == "NHWC" and tensor.dim() == 4:
        tensor = tensor.permute(0, 3, 1, 2)
    if tensor.dim() != 4 or tensor.shape[0] != 1:
        shape = tuple(tensor.shape)
        raise InputError(f"{name} gives {shape}, which is no map (1, C, h, w)", "cut it elsewhere: --show-splits")
    if not whole:
        return tensor.float()
    if tensor.shape[1] != 1 or not 0 <= int(tensor.min()) <= int(tensor.max()) < MOST_CLASSES:
        raise InputError(f"{name} gives whole numbers that are no classes", "carry another output: `output` beside it")
    count = int(tensor.max()) + 1
    return (tensor == torch.arange(count, device=tensor.device).view(1, -1, 1, 1)).float()


def label(scores: Tensor, height: int, width: int) -> Tensor:
    """(H, W) int32: the class with the highest of scores (1, C, h, w), brought to the size of the frame."""
    best = torch.full((height, width), -torch.inf, device=scores.device)
    found = torch.zeros((height, width), dtype=torch.int32, device=scores.device)
    for first in range(0, scores.shape[1], _CHANNELS):
        full = resize_image(scores[:, first : first + _CHANNELS].float(), height, width)[0]
        most, place = full.max(0)
        better = most > best
        found[better] = (place[better] + first).int()
        best = torch.maximum(best, most)
    return found


def probability(values: Tensor, convention: Convention, height: int, width: int) -> Tensor:
    """(1, H, W) float32, 0 to 1."""
    values = values.float().sigmoid() if convention.activation == "sigmoid" else values.float()
    return resize_image(values, height, width)[0].clamp(0, 1)


def picture(values: Tensor, convention: Convention, height: int, width: int) -> Tensor:
    """(3, H, W) float32, RGB from 0 to 1, of values in the order and range of the input."""
    values = values.float().flip(1) if convention.order == "BGR" else values.float()
    return resize_image(values / convention.range, height, width)[0].clamp(0, 1)
