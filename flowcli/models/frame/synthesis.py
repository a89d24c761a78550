"""A small network that makes frames between two frames, moved along the flow between them, at any time and of any size.

The flow of both frames is carried to the wanted time and corrected at a quarter of the size; both frames and their
features are moved along it. From these the network makes features of each pixel, from which a decoder makes any point:
how much each frame counts there, and what neither has.
Sources: carrying, Niklaus and Liu 2020, arXiv:2003.05534; correcting and mixing, Huang et al. 2022, arXiv:2011.06294;
the decoder of points and sizes, Chen et al. 2021, arXiv:2012.09161. The network is smaller than any of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcli.geometry import Interpolation, backward_warp, blurred, grid, lies_inside, resize_image, sample
from flowcli.models.base import Features, FrameModel
from flowcli.models.conv import Conv, start_for_relu
from flowcli.ops import cell_means, unshuffle_pixels, warp
from flowcli.retiming import LEAST, carried, trusted

STRIDE = 4
"""Height and width of the features are multiples of it."""
POINTS = 1 << 19
"""So many are decoded at a time, in whole rows: memory does not grow with the size of the frame."""
AROUND = 3
"""Side of the squares over which densities are averaged, in pixels of half the size."""
OUTSIDE = 6.0
"""How strongly, as a logit, it speaks against a frame that a point lies outside it."""
MEAN = 0.5
"""What is taken away from pictures: their numbers are then as often below zero as above."""
DOUBT = 0.1
"""Difference of two pictures, of 1 from black to white, from which on what they show may be changed freely."""
PACE = 8.0
"""Pixels of motion that the network sees as 1."""
STRONG = 4.0
"""A logit that it sees as 1."""
PLACES = 3
"""Places in a row, and rows, of pixels of half the size, at which the moved pictures are compared."""


@dataclass(frozen=True, eq=False)
class _Moment:
    """What the flow says of one time, at half the size."""

    time: float
    """0 to 1."""
    motion: Tensor
    """(N, 2, h, w): from the first frame to the second through each place, pixels."""
    apart: Tensor
    """(N, 2, h, w): by how much both flows differ there."""
    covers: Tensor
    """(N, 2, h, w): how densely pixels of either frame arrive, 0 to 1."""

    @property
    def prior(self) -> Tensor:
        """(N, 1, h, w): the logit of the first frame's share, if nothing else is known."""
        shares = (self.covers + LEAST).log()
        return shares[:, :1] - shares[:, 1:] + math.log(max(1 - self.time, 1e-3) / max(self.time, 1e-3))


class Synthesis(FrameModel):
    """half, quarter: channels of the features at that share of the size; fine: at full size; hidden: of the decoder."""

    needs_flow = True
    precisions = ("fp32", "bf16")

    def __init__(self, half: int = 16, quarter: int = 48, fine: int = 8, hidden: int = 24) -> None:
        super().__init__()
        self.at_half = nn.Sequential(Conv(12, half, relu=True), Conv(half, half, relu=True))
        self.at_quarter = nn.Sequential(Conv(half, quarter, stride=2, relu=True), Conv(quarter, quarter, relu=True))
        self.meet = Conv(2 * quarter + 7 + PLACES**2, quarter, relu=True)
        self.met = nn.Sequential(*_blocks(quarter))
        self.correct = Conv(quarter, 4, precise=True)
        self.hand_on = Conv(quarter, 4 * half, 1)
        self.join, self.joined = Conv(3 * half + 33, half, relu=True), nn.Sequential(*_blocks(half))
        self.spread = Conv(half, 4 * fine)
        self.decoder = nn.Sequential(Conv(fine + 4, hidden, 1, relu=True), Conv(hidden, 4, 1))
        start_for_relu(self)
        # At first the frames are mixed as the flow says.
        for last in (self.correct, self.decoder[-1]):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def encode(self, first: Tensor, second: Tensor, *flows: Tensor) -> Features:
        """Of each frame: the picture, its features at a half and a quarter; picture, flow and trust at a half."""
        pictures = torch.cat((first, second)) - MEAN
        wide, flow = _padded(pictures), _padded(torch.cat(flows).nan_to_num())
        half = self.at_half(unshuffle_pixels(wide, 2, self.dtype))
        small, motion = _halved(wide), _halved(flow) / 2
        trust = trusted(small, torch.cat(small.chunk(2)[::-1]), motion)
        of_both = pictures, half, self.at_quarter(half), small, motion, trust
        return tuple(part for each in of_both for part in each.chunk(2))

    def decode(
        self, features: Features, times: Sequence[Fraction | float], height: int, width: int
    ) -> Iterator[Tensor]:
        for time in times:
            yield self._frame(features, float(time), height, width)

    def _frame(self, features: Features, time: float, height: int, width: int) -> Tensor:
        pictures, halves, quarters, smalls, flows, trusts = (features[place : place + 2] for place in range(0, 12, 2))
        moment = _moment(flows, trusts, time)
        ways, passed = self._corrected(moment, quarters, smalls)
        wide = [2 * _doubled(way) for way in ways]
        moved = [_moved(picture, way, "bicubic") for picture, way in zip(pictures, wide, strict=True)]
        near = [_moved(half, way) for half, way in zip(halves, ways, strict=True)]
        pixels = [unshuffle_pixels(picture, 2, self.dtype) for picture in moved]
        doubts = _doubts(*pixels)
        told = moment.covers, moment.prior / STRONG, moment.apart / PACE, _flat(time, moment.covers)
        maps = (*near, *pixels, doubts, *told, F.pixel_shuffle(passed, 2))
        joined = self.joined(self.join(*(each.to(self.dtype) for each in maps)))
        fine = F.pixel_shuffle(self.spread(joined), 2)
        known = _doubled(torch.cat((moment.prior, doubts[:, 1:2].clamp(max=1)), 1))
        if (height, width) == pictures[0].shape[-2:]:
            fine, known, *moved = (each[..., :height, :width] for each in (fine, known, *moved))
            here = grid(height, width, fine.device)
            inside = [lies_inside(here + way[..., :height, :width], height, width, 0.5) for way in wide]
            return self._coloured(fine, known, inside, moved, fine.new_tensor((0, 0, 1, 1)).view(1, 4, 1, 1))
        return self._resized(fine, known, pictures, wide, height, width)

    def _corrected(
        self, moment: _Moment, quarters: Sequence[Tensor], smalls: Sequence[Tensor]
    ) -> tuple[list[Tensor], Tensor]:
        """The ways from each place to either frame, (N, 2, h, w) at a half; and what is handed on, four in one."""
        shares = -moment.time, 1 - moment.time
        moved = [_moved(small, share * moment.motion) for small, share in zip(smalls, shares, strict=True)]
        motion, apart, covers = (F.avg_pool2d(each, 2) for each in (moment.motion, moment.apart, moment.covers))
        near = [_moved(quarter, share * motion / 2) for quarter, share in zip(quarters, shares, strict=True)]
        maps = (*near, motion / PACE, apart / PACE, covers, _flat(moment.time, covers), _mismatches(*moved))
        met = self.met(self.meet(*(each.to(self.dtype) for each in maps)))
        changes = _doubled(self.correct(met).float()).chunk(2, 1)
        ways = [share * moment.motion + change for share, change in zip(shares, changes, strict=True)]
        return ways, self.hand_on(met)

    def _coloured(
        self, fine: Tensor, known: Tensor, inside: Sequence[Tensor], colours: Sequence[Tensor], place: Tensor
    ) -> Tensor:
        """(N, 3, h, w): what points with these features show.

        known: (N, 2, h, w): the prior and the doubt there; inside, colours: whether either picture has something there,
        and what. place: (1, 4, h or 1, w or 1): how far each point is from the centre of its features' pixel, and its
        own size, in such pixels, x and y.
        """
        points = self.decoder(torch.cat((fine, place.to(fine.dtype).expand(len(fine), -1, *fine.shape[-2:])), 1))
        share, change = points.float().split((1, 3), 1)
        prior, doubt = known.split(1, 1)
        # What both pictures show alike is so, unless more detail is wanted than they have.
        free = (doubt + 1 - place[:, 2:].amin(1, keepdim=True)).clamp(0, 1)
        odds = prior + OUTSIDE * (inside[0].float() - inside[1].float()) + share
        mixed: Tensor = torch.lerp(colours[1], colours[0], odds.sigmoid()) + (free * change + MEAN)
        return mixed

    def _resized(
        self, fine: Tensor, known: Tensor, pictures: Sequence[Tensor], ways: Sequence[Tensor], height: int, width: int
    ) -> Tensor:
        """The frame in another size: each point is made from each of the four nearest pixels, the nearer the more."""
        old = pictures[0].shape[-2:]
        cell = fine.new_tensor((old[1] / width, old[0] / height)).view(1, 2, 1, 1)
        across = (torch.arange(width, device=fine.device) + 0.5) * (old[1] / width) - 0.5
        rows, parts = max(1, POINTS // width), []
        for top in range(0, height, rows):
            down = (torch.arange(top, min(top + rows, height), device=fine.device) + 0.5) * (old[0] / height) - 0.5
            position = torch.stack(torch.meshgrid(down, across, indexing="ij")[::-1])[None]
            whole = position.expand(len(fine), -1, -1, -1)
            samples = [
                sample(picture, whole + sample(way, whole)[0], 0.5, "bicubic")
                for picture, way in zip(pictures, ways, strict=True)
            ]
            colours, inside = zip(*samples, strict=True)
            here = sample(known, whole)[0]
            part = torch.zeros_like(colours[0])
            for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
                corner = position.floor() + position.new_tensor((right, below)).view(1, 2, 1, 1)
                away = position - corner
                weight = (1 - away.abs()).prod(1, keepdim=True)
                x, y = corner[0, 0, 0].clamp(0, old[1] - 1).long(), corner[0, 1, :, 0].clamp(0, old[0] - 1).long()
                place = torch.cat((away, cell.expand_as(away)), 1)
                part = part + weight * self._coloured(fine[..., y, :][..., x], here, inside, colours, place)
            parts.append(part)
        return torch.cat(parts, 2)


def _doubts(first: Tensor, second: Tensor) -> Tensor:
    """(N, 3, h, w): by how much two pictures (N, C, h, w) differ at each place, near it, and farther around."""
    difference = (first - second).abs().mean(1, keepdim=True, dtype=torch.float32) / DOUBT
    near = blurred(difference, 3)
    return torch.cat((difference, near, blurred(near, 7)), 1)


def _mismatches(first: Tensor, second: Tensor) -> Tensor:
    """(N, PLACES^2, h / 2, w / 2): by how much two pictures differ, with the second moved a little each way.

    first, second: (N, C, h, w). Where the flow is wrong, it shows which way is better.
    """
    reach, (height, width) = PLACES // 2, first.shape[-2:]
    wide = F.pad(second, (reach,) * 4, mode="replicate")
    found = []
    for down in range(PLACES):
        for across in range(PLACES):
            there = wide[..., down : down + height, across : across + width]
            found.append((first - there).abs().mean(1, keepdim=True))
    return F.avg_pool2d(torch.cat(found, 1) / DOUBT, 4, 2, 1, count_include_pad=False)


def _blocks(channels: int) -> list[nn.Module]:
    """Two residual blocks."""
    return [_Block(channels) for _ in range(2)]


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = Conv(channels, channels, relu=True), Conv(channels, channels, relu=True)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(features), plus=features)
        return out


def _moment(flows: Sequence[Tensor], trusts: Sequence[Tensor], time: float) -> _Moment:
    """flows: (N, 2, h, w) from either frame to the other; trusts: (N, 1, h, w), as of `trusted`."""
    there, first_cover = carried(flows[0], trusts[0], time, AROUND)
    back, second_cover = carried(flows[1], trusts[1], 1 - time, AROUND)
    covers = torch.cat((first_cover, second_cover), 1)
    one, other = ((covers + LEAST) * covers.new_tensor((1 - time, time)).view(1, 2, 1, 1)).split(1, 1)
    motion = (one * there - other * back) / (one + other)
    return _Moment(time, motion, there + back, covers)


def _padded(image: Tensor) -> Tensor:
    """(N, C, H, W), at the right and below, to multiples of STRIDE; the border is repeated."""
    return F.pad(image, (0, -image.shape[-1] % STRIDE, 0, -image.shape[-2] % STRIDE), mode="replicate")


def _halved(maps: Tensor) -> Tensor:
    """(N, C, H / 2, W / 2): means of four pixels each, without gradients."""
    means: Tensor = cell_means(maps.flatten(0, 1), 2).unflatten(0, maps.shape[:2])
    return means


def _doubled(maps: Tensor) -> Tensor:
    """Twice as high and wide; vectors in it stay as long as they are."""
    return resize_image(maps.float(), 2 * maps.shape[-2], 2 * maps.shape[-1])


def _moved(maps: Tensor, way: Tensor, mode: Interpolation = "bilinear") -> Tensor:
    """(N, C, h, w): the maps, where the way leads to from each place."""
    if torch.is_grad_enabled():
        return backward_warp(maps, way, mode=mode)[0]
    moved = [warp(image, flow, mode) for image, flow in zip(maps, way, strict=True)]
    return moved[0][None] if len(moved) == 1 else torch.stack(moved)


def _flat(number: float, like: Tensor) -> Tensor:
    """(N, 1, h, w): the number everywhere."""
    return torch.full_like(like[:, :1], number)


MODEL = Synthesis
