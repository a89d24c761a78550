"""VideoINR: a pair of frames as a function of time and place; Chen et al. 2022, arXiv:2206.04647.

The encoder is Zooming Slow-Mo's (Xiang et al. 2020, arXiv:2002.11616): features of both frames and of one between them.
Three small networks decode any pixel at any time from it: what is there, where it is in either frame, and its colour.
Quirks of the authors' code that the weights depend on are marked.

# Differs from the authors' code, but gives the same frames: the padding is cropped; the nearest pixel is found in whole
# numbers, so that ties do not depend on rounding; what the first layers make of features is computed for each pixel of
# the input, and once for all times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcli.geometry import resize_image
from flowcli.models.base import Features, FrameModel
from flowcli.models.frame._alignment import LEVELS, Meeting, conv, leaky
from flowcli.models.frame._conv_lstm import AlignedLSTM
from flowcli.models.frame._decoder import Axis, Decoder, Known
from flowcli.models.frame._siren import full, without_autocast

STRIDE = 2 ** (LEVELS - 1)
"""Height and width of what the encoder works on are multiples of it."""
ENLARGED = 4
"""So many times as high and wide is the picture that colours are taken from, except in training."""


class Block(nn.Module):
    """A residual block, the only place where ReLU is not leaky."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(channels, channels), conv(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = features + self.conv2(self.conv1(features).relu())
        return out


class Encoder(nn.Module):
    """Features of the first frame, of what is between both, and of the second, beside each other."""

    def __init__(self, channels: int, groups: int, front: int, trunk: int) -> None:
        super().__init__()
        self.first = conv(3, channels)
        self.front = nn.Sequential(*(Block(channels) for _ in range(front)))
        self.between = Meeting(channels, groups)
        self.lstm = AlignedLSTM(channels, groups)
        self.trunk = nn.Sequential(*(Block(channels) for _ in range(trunk)))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(N, 3 C, h, w); first, second: (N, 3, h, w), h and w multiples of STRIDE."""
        return torch.cat([self.trunk(each) for each in self.lstm(self._sequence(first, second))], 1)

    def _sequence(self, first: Tensor, second: Tensor) -> list[Tensor]:
        one, two = (self.front(leaky(self.first(image))) for image in (first, second))
        return [one, self.between(one, two), two]


class VideoINR(FrameModel):
    """channels: of each map; groups: of offsets; front, trunk: residual blocks before and after the alignment."""

    def __init__(self, channels: int = 64, groups: int = 8, front: int = 5, trunk: int = 40) -> None:
        super().__init__()
        self.encoder = Encoder(channels, groups, front, trunk)
        self.decoder = Decoder(3 * channels, channels)

    def encode(self, first: Tensor, second: Tensor, *flows: Tensor) -> Features:
        """Sums of the decoder's first layers, (N, C, h, w) with padding, then both pictures (N, 6, h, w) without."""
        pair = torch.cat([first, second], 1)
        padded = _padded(pair)
        maps = self.encoder(*padded.contiguous(memory_format=torch.channels_last).chunk(2, 1))
        with without_autocast(pair):
            return *self.decoder.prepare(full(maps).contiguous(), full(padded)), pair

    def decode(
        self, features: Features, times: Sequence[Fraction | float], height: int, width: int
    ) -> Iterator[Tensor]:
        content, motion, by_first, by_second, pair = features
        rows, columns = (
            Axis(pair.shape[side], content.shape[side], outputs) for side, outputs in ((2, height), (3, width))
        )
        rgb = _padded(full(pair))
        if not self.training:
            # Whatever the size that is asked for: as the authors' code does, and the weights do not mind.
            rgb = resize_image(rgb, ENLARGED * rgb.shape[2], ENLARGED * rgb.shape[3])
        known = Known(content, motion, (by_first, by_second), rgb, rows, columns)
        for time in times:
            # Not around the loop: who asks for the frames computes something else in between.
            with without_autocast(rgb):
                frame = self.decoder(known, float(time))
            yield frame


def _padded(image: Tensor) -> Tensor:
    """The image with zeros below and to the right, so that its size is a multiple of STRIDE."""
    return F.pad(image, (0, -image.shape[3] % STRIDE, 0, -image.shape[2] % STRIDE))


MODEL = VideoINR
