"""What VideoINR shows at any time and place: three small networks for each pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from flowcli.geometry import constants, grid, sample_isolated
from flowcli.models.frame._siren import Siren, mixed

EDGE = 1e-6
"""How far from the border of the picture, from -1 to 1, what is carried along the flow is kept."""
BAND = 2**15
"""Pixels that are decoded at once."""
SLAB = 16
"""Bands whose content is kept together, for all that sample it."""
SLABS = 5
"""That are kept."""


@dataclass(frozen=True)
class Axis:
    """Rows or columns of a frame to be made, and of the input: `inputs` pixels of it, with padding `padded`."""

    inputs: int
    padded: int
    outputs: int

    @property
    def size(self) -> float:
        """Of the whole output: the frame, and what the padding would become."""
        return self.outputs * self.padded / self.inputs

    @property
    def count(self) -> int:
        """Pixels of the whole output."""
        return round(self.size)

    def nearest(self, begin: int, end: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest pixels of the input to pixels `begin` to `end`, and where those lie in them, from -1 to 1.

        In whole numbers: where an output lies just between two inputs, rounding would decide.
        """
        place = (2 * torch.arange(begin, end, device=like.device) + 1) * self.inputs
        index = place // (2 * self.outputs)
        return index, (place - (2 * index + 1) * self.outputs).to(like.dtype) / self.outputs


@dataclass(frozen=True, eq=False)
class Known:
    """What frames of one size have in common, in float32 at least.

    content, motion, colours: sums of the first layers for each pixel of the padded input, (N, hidden, h, w), of colours
    for either flow; rgb: both pictures (N, 6, k h, k w), k whole.
    """

    content: Tensor
    motion: Tensor
    colours: tuple[Tensor, Tensor]
    rgb: Tensor
    rows: Axis
    columns: Axis


class Slabs:
    """The content (N, C, count, columns) of the whole output, of which only the slabs used last are in memory.

    compute: gives the rows from one to another; band: rows that are computed, and asked for, at once.
    """

    def __init__(self, compute: Callable[[int, int], Tensor], count: int, band: int) -> None:
        side = SLAB * band

        # Without `self`, which would keep all slabs until the next collection of garbage.
        def slab(number: int) -> Tensor:
            end = min((number + 1) * side, count)
            return torch.cat([compute(row, min(row + band, end)) for row in range(number * side, end, band)], 2)

        self.side, self.number = side, -(-count // side)
        self._slab = lru_cache(SLABS)(slab)

    def rows(self, begin: int, end: int) -> Tensor:
        """Rows of one band."""
        number, first = divmod(begin, self.side)
        return self._slab(number)[:, :, first : first + end - begin]

    def sample(self, position: Tensor) -> Tensor:
        """Bilinear samples with zeros around, as of `sample_isolated`: those of slabs with zeros around add up."""
        low, high = 0, self.number - 1
        if self.number > 1:
            low, high = (int(bound // self.side) for bound in (position[:, 1].amin(), position[:, 1].amax() + 1))
        total: Tensor | None = None
        for number in range(max(low, 0), min(high, self.number - 1) + 1):
            shift = position.new_tensor((0, number * self.side))[:, None, None]
            part = sample_isolated(self._slab(number), position - shift)
            total = part if total is None else total.add_(part)
        assert total is not None
        return total


def sampled(image: Tensor, shares: Tensor) -> Tensor:
    """`image` at shares (N, 2, h, w) of its width and height, bilinear, with zeros around."""
    return sample_isolated(image, on_grid(shares, image.shape[-1], image.shape[-2]))


def pixels(begin: int, end: int, columns: Axis, like: Tensor) -> Tensor:
    """(N, 2, end - begin, columns): x and y of the pixels of rows `begin` to `end` of the frame."""
    places = grid(end - begin, columns.outputs, like.device).to(like.dtype)
    return (places + constants((0, begin), places)).expand(len(like), -1, -1, -1)


def carried(flow: Tensor, begin: int, rows: Axis, columns: Axis) -> Tensor:
    """Where flow (N, 2, h, w), of rows from `begin` on, leads to, as shares of the width and height of the output.

    As the weights want it: here the middles of the outermost pixels are at 0 and 1, where those of all other look-ups
    are half a pixel inside. At the very edge half of a sample lies outside, and counts as zero.
    """
    places = pixels(begin, begin + flow.shape[2], columns, flow) + flow
    last = constants((max(columns.size - 1, 1), max(rows.size - 1, 1)), flow)
    return (places / last).clamp(EDGE / 2, 1 - EDGE / 2)


def on_grid(shares: Tensor, width: float, height: float) -> Tensor:
    """Positions in pixels at shares (N, 2, h, w) of width and height."""
    return shares * constants((width, height), shares) - 0.5


class Decoder(nn.Module):
    """Content of each pixel at the time asked for, where it is in both frames, and its colour.

    maps: channels of the features of both frames and of what is between them.
    """

    def __init__(self, maps: int, channels: int) -> None:
        super().__init__()
        rgb, time = 6, 1
        # What each of them sees, and in which order.
        self.content = Siren((maps, rgb, 2, time), (64, 64, 256), channels)
        self.motion = Siren((channels, maps, rgb, time), (64, 64, 256), 4)
        self.colour = Siren((channels, channels, maps, maps, rgb, rgb, time), (64, 64, 256, 256), 3)

    def prepare(self, maps: Tensor, rgb: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`content`, `motion` and both `colours` of what is Known; maps: (N, maps, h, w), rgb: (N, 6, h, w)."""
        of_maps, of_rgb, _, _, bias = self.content.first()
        content = mixed(of_maps, maps) + mixed(of_rgb, rgb) + bias[:, None, None]
        _, _, by_first, by_second, _, _, _, _ = self.colour.first()
        return content, mixed(self.motion.first()[1], maps), mixed(by_first, maps), mixed(by_second, maps)

    def forward(self, known: Known, time: float) -> Tensor:
        """The frame (N, 3, H, W) at that time."""
        rows, width = known.rows, known.columns.count
        band = max(1, BAND // width)
        slabs = Slabs(lambda begin, end: self._content(known, time, begin, end), rows.count, band)
        begins = range(0, rows.outputs, band)
        return torch.cat(
            [self._band(known, slabs, time, begin, min(begin + band, rows.outputs)) for begin in begins], 2
        )

    def _content(self, known: Known, time: float, begin: int, end: int) -> Tensor:
        """(N, C, end - begin, columns of the whole output)."""
        row, y = known.rows.nearest(begin, end, known.content)
        column, x = known.columns.nearest(0, known.columns.count, known.content)
        _, _, of_place, of_time, _ = self.content.first()
        of_y, of_x, at_time = (each[:, None, None] for each in (*of_place.unbind(1), time * of_time[:, 0]))
        sums = known.content[:, :, row][..., column] + of_y * y[:, None] + (of_x * x + at_time)
        content: Tensor = self.content(sums)
        return content

    def _band(self, known: Known, slabs: Slabs, time: float, begin: int, end: int) -> Tensor:
        """Rows `begin` to `end` of the frame."""
        rows, columns = known.rows, known.columns
        whole = columns.size, rows.size
        own = slabs.rows(begin, end)[..., : columns.outputs]
        centres = (pixels(begin, end, columns, known.rgb) + 0.5) / constants(whole, known.rgb)
        of_own, _, of_rgb, of_time, bias = self.motion.first()
        sums = mixed(of_own, own) + mixed(of_rgb, sampled(known.rgb, centres)) + sampled(known.motion, centres)
        flows = self.motion(sums + (bias + time * of_time[:, 0])[:, None, None])

        one, two, _, _, rgb_one, rgb_two, of_time, bias = self.colour.first()
        sums = (bias + time * of_time[:, 0])[:, None, None]
        for flow, colours, of_content, of_rgb in zip(
            flows.split(2, 1), known.colours, (one, two), (rgb_one, rgb_two), strict=True
        ):
            shares = carried(flow, begin, rows, columns)
            content = slabs.sample(on_grid(shares, *whole))
            sums = sums + mixed(of_content, content) + mixed(of_rgb, sampled(known.rgb, shares))
            sums = sums + sampled(colours, shares)
        rgb: Tensor = self.colour(sums)
        return rgb
