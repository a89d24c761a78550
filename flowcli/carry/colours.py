"""What a colour says of the pixels that have it: many colours of a key frame belong to one label, or nearly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flowcli.carry.evidence import Look, thinned
from flowcli.ops import cell_means

LEVELS = 64
"""Of each channel that are told apart. 32 to 128 give the same masks on generated clips, within 0.003 of IoU over ten
frames."""
CLEAR = 0.8
"""By how much more of a colour has one label than the next, as a share of all, above which the colour counts."""
MOST_LABELS = 64
"""The largest labels, which colours speak for; against them speaks the colour of all the others."""
_RARE = 1e-6
"""Share of a label's pixels below which a colour is not known."""


@dataclass(frozen=True, eq=False)
class Colours:
    """Of each colour, LEVELS^3 of them: what has it in a key frame, and how clearly that is so, 0 to 1."""

    values: Tensor
    """(K,) int32 labels, or (C, K) float32 means of planes, 0 to 1."""
    weights: Tensor
    """float32, of the same shape. As many neighbours that are alike count for this."""

    def of(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Values and weights, (..., N), of the colours with these numbers, (N,), as from `number_colours`."""
        return self.values[..., index], self.weights[..., index]


def number_colours(picture: Tensor) -> Tensor:
    """(...) int64: the number of each colour of a picture (3, ...) in grey levels."""
    red, green, blue = (picture * (LEVELS / 256)).long().clamp(0, LEVELS - 1)
    number: Tensor = (red * LEVELS + green) * LEVELS + blue
    return number


def heard(colours: Sequence[Colours], look: Look, cells: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """What each key frame's colours say of cells (N,), row * width + column, of a frame: values and weights, (..., N).

    Together, key frames weigh as much as one.
    """
    index = number_colours(look.small.flatten(1)[:, cells])
    for each in colours:
        values, weights = each.of(index)
        yield values, weights / len(colours)


def learn_colours(value: Tensor, look: Look) -> Colours:
    """The colours of a key frame. value: its labels (H, W) int32, or planes (C, H, W) float32, 0 to 1.

    It counts which share of each label has a colour, so that small labels speak as loud as large ones. A frame with
    one label tells nothing.
    """
    index = number_colours(look.small).flatten()
    if not value.is_floating_point():
        return _of_labels(thinned(value, look.cell).flatten(), index)
    found = [_of_plane(plane, index) for plane in cell_means(value, look.cell).flatten(1)]
    values, weights = (torch.stack(each) for each in zip(*found, strict=True))
    return Colours(values, weights)


def _of_labels(labels: Tensor, index: Tensor) -> Colours:
    numbers, sizes = labels.unique(return_counts=True)
    largest = numbers[sizes.argsort(descending=True, stable=True)[:MOST_LABELS]]
    values = torch.full((LEVELS**3,), int(numbers[0]), dtype=torch.int32, device=labels.device)
    most = torch.zeros(LEVELS**3, device=labels.device)
    second = total = _shares(_counts(index, ~torch.isin(labels, largest)))
    for number in largest.sort().values:
        share = _shares(_counts(index, labels == number))
        values = torch.where(share > most, number, values)
        second = torch.maximum(second, torch.minimum(share, most))
        most = torch.maximum(share, most)
        total = total + share
    clear = (most - second) / (total + _RARE)
    return Colours(values, _weights(clear) * (len(numbers) > 1))


def _of_plane(plane: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    amount = (plane * 255).round()
    parts = _counts(index, amount), _counts(index, 255 - amount)
    one, other = (_shares(part) for part in parts)
    clear = (one - other).abs() / (one + other + _RARE)
    mean = parts[0] / (parts[0] + parts[1]).clamp(min=1)
    return mean, _weights(clear) * bool(one.any() and other.any())


def _weights(clear: Tensor) -> Tensor:
    return ((clear - CLEAR) / (1 - CLEAR)).clamp(min=0)


def _counts(index: Tensor, amount: Tensor) -> Tensor:
    """(K,): how much of the amounts (N,), whole numbers, has each colour or one next to it; index: (N,)."""
    # Whole numbers have the same sum in any order, and so on any device.
    counts = torch.zeros(LEVELS**3, dtype=torch.int64, device=index.device).scatter_add_(0, index, amount.long())
    smooth = counts.float().view(LEVELS, LEVELS, LEVELS)
    for dimension in range(3):
        moved = smooth.movedim(dimension, 0)
        wide = moved / 2
        wide[1:] += moved[:-1] / 4
        wide[:-1] += moved[1:] / 4
        smooth = wide.movedim(0, dimension)
    return smooth.flatten()


def _shares(counts: Tensor) -> Tensor:
    return counts / counts.sum().clamp(min=1)
