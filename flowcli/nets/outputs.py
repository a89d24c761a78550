"""What the outputs of a network mean, and what they say of each pixel of the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from flowcli.errors import InputError
from flowcli.geometry import resize_image
from flowcli.nets.convention import Convention, Layout
from flowcli.nets.net import Tensors

Meaning = Literal["classes", "probability", "picture", "tensors"]
MOST_CLASSES = 256
"""In maps of whole numbers."""
_CHANNELS = 8
"""Scores brought to full size at once."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a network says of a frame."""

    tensors: Tensors
    """One map (1, C, h, w) float32, or for tensors what there is."""
    meaning: Meaning
    pixels: Tensor | None = None
    """What `shown` gives, if that was carried instead of tensors."""

    def shown(self, convention: Convention, height: int, width: int) -> Tensor:
        """The same for each pixel of the frame.

        (H, W) int32 of classes, (1, H, W) float32 from 0 to 1 of a probability, (3, H, W) float32 RGB from 0 to 1 of a
        picture; of tensors all numbers, in a row.
        """
        if self.pixels is not None:
            return self.pixels
        first = self.tensors[0]
        if self.meaning == "classes":
            return _labels(first, height, width)
        if self.meaning == "tensors":
            return torch.cat([each.flatten().double() for each in self.tensors])
        if self.meaning == "probability":
            first = first.sigmoid() if convention.activation == "sigmoid" else first
        else:
            first = (first.flip(1) if convention.order == "BGR" else first) / convention.range
        return resize_image(first, height, width)[0].clamp(0, 1)


def read_outputs(tensors: Tensors, layout: Layout, meaning: Meaning, name: str) -> Outputs:
    """What a network gave, as what it means. Raises InputError for what is no map, but has to be one."""
    return Outputs(tensors if meaning == "tensors" else (as_map(tensors[0], layout, name),), meaning)


def find_meaning(tensors: Tensors, convention: Convention, layout: Layout, name: str) -> Meaning:
    """What the outputs mean: as the convention says, else by type and channels. Raises InputError if that cannot be."""
    first = tensors[0]
    whole = not first.is_floating_point()
    is_map = first.shape[:1] == (1,) and (first.dim() == 4 or (whole and first.dim() == 3))
    channels = first.shape[-1 if layout == "NHWC" else 1] if first.dim() == 4 else 1
    kind = convention.kind
    if kind == "auto":
        usual: dict[int, Meaning] = {1: "probability", 3: "picture"}
        kind = "tensors" if not is_map else "classes" if whole else usual.get(channels, "classes")
    needed = {"probability": 1, "picture": 3}.get(kind, channels)
    if kind != "tensors" and (not is_map or channels != needed):
        shape = f"(1, {needed if kind != 'classes' else 'C'}, h, w)"
        raise InputError(
            f"{name} gives {tuple(first.shape)}, a {kind} is {shape}",
            "correct `kind` or `output` in the file beside it",
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


def _labels(scores: Tensor, height: int, width: int) -> Tensor:
    """(H, W) int32: the class with the highest score, of scores brought to the size of the frame."""
    best = torch.full((height, width), -torch.inf, device=scores.device)
    found = torch.zeros((height, width), dtype=torch.int32, device=scores.device)
    for first in range(0, scores.shape[1], _CHANNELS):
        most, place = resize_image(scores[:, first : first + _CHANNELS], height, width)[0].max(0)
        better = most > best
        found[better] = (place[better] + first).int()
        best = torch.maximum(best, most)
    return found
