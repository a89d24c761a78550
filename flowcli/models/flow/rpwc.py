"""rpwc: a recurrent, PWC-style network, small enough for a CPU; the default of flowcli, trained by this project.

Pyramid, warping by the current flow and a local cost volume come from PWC-Net (Sun et al. 2018, arXiv:1709.02371); one
decoder with a hidden state used over and over, and convex upsampling, from RAFT (Teed and Deng 2020, arXiv:2003.12039);
one small network for all levels of an image pyramid from SpyNet (Ranjan and Black 2017, arXiv:1611.00850).

Fractions of a pixel, for which costs of learnt features are too coarse, are measured on the pictures themselves: each
iteration sees a step of Lucas and Kanade 1981 on pictures four times as fine as its flow, and says how far to trust it.

# Differs from PWC-Net: one encoder and one decoder serve 1/32, 1/16 and 1/8 of full size, the decoder several times
# each, and a narrow pair of them 1/4; no feature map is warped, the cost volume is looked up around x + flow(x);
# matching features are instance-normalised.
# Differs from RAFT: no all-pairs volume, a gated update without reset gate, and everything the context contributes to
# an iteration is computed once a level.
"""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcli.geometry import in_tiles, resize_flow, resize_image
from flowcli.models.base import Features, FlowModel
from flowcli.models.conv import Conv, start_for_relu
from flowcli.ops import (
    convex_upsample,
    gated_update,
    levelled_brightness,
    lookup_correlation,
    lucas_kanade,
    unshuffle_pixels,
)
from flowcli.ops.lucas_kanade import MEASURES

RADIUS = 4
FINE_RADIUS = 3
UP = 4
"""From the finest level to full size, by convex upsampling."""
SHARPEN = 8.0
"""What brings the differences between costs to about one."""
ENCODER_REACH = 5
"""How far from a cell the pixels lie that the encoder at 1/4 and the context see for it, cells."""
UPDATE_REACH = 7
"""The same of what `Update` sees."""
CELL = 4
"""Side of the part of a picture that one vector of a level's flow stands for, pixels."""
FINE_SHARES = 0.25, 0.6, 0.15
REFINE_SHARES = 0.15, 0.35, 0.2, 0.15, 0.0, 0.1, 0.0, 0.05
COARSE_SHARES = 0.15, 0.5, 0.2, 0.15
"""How often training does 1, 2, 3 ... iterations, by level."""
WINDOWS = (1, 3)
"""Cells around each one over which a step is measured."""
DAMPING = 0.01
"""Keeps steps small where there is no texture; brightness has a deviation of one."""
LEAST_CONTRAST = 0.02
"""Deviation of brightness, of 2 from black to white, that is noise rather than texture."""


def _normalised(features: Tensor) -> Tensor:
    """Each channel with zero mean and unit variance over the whole picture, in float32 inside."""
    # Differs from F.instance_norm: that leaves channels_last, in which the convolutions are fast.
    return torch.cat([F.batch_norm(one, None, None, training=True, eps=1e-5) for one in features.split(1)])


class Level(NamedTuple):
    """What is known of a frame at one level of the pyramid, (N, C, h, w) each."""

    matching: Tensor
    """What costs are made of; normalised."""
    state: Tensor
    """What the hidden state starts from."""
    context: Tensor
    """What the context contributes to each iteration."""
    brightness: Tensor
    """The levelled brightness of the picture, four times as fine as the others."""


class Encoder(nn.Sequential):
    """Features of a picture at a quarter of its size, of which four pixels have become the channels of one.

    The first convolution then fills whole vector registers.
    """

    def __init__(self, stem: int, channels: int) -> None:
        super().__init__(
            # 8 bits are too coarse for downscaled pictures: 3 % more error on FlyingChairs.
            Conv(12, stem, relu=True, precise=True),
            Conv(stem, channels, stride=2, relu=True),
            Conv(channels, channels, residual=True, relu=True),
            Conv(channels, channels, residual=True, relu=True),
            Conv(channels, channels, dilation=2, residual=True, relu=True),
        )


class Costs(Conv):
    """A convolution of costs, centred and scaled.

    What tells cells apart is small beside what they share: centred and scaled, it is learnt from at once. Both are
    linear, and done to the weights, of which there are fewer.
    """

    def kernel(self) -> Tensor:
        weight = self.weight.float()
        return (SHARPEN * (weight - weight.mean(1, keepdim=True))).to(self.weight.dtype)


class Update(nn.Module):
    """One iteration: costs around the current flow, that flow and the hidden state give better ones."""

    def __init__(self, hidden: int, width: int, radius: int) -> None:
        super().__init__()
        self.radius = radius
        self.costs = Costs((2 * radius + 1) ** 2, hidden, 1, relu=True)
        self.flow = Conv(2 + MEASURES * len(WINDOWS), hidden // 2, relu=True)
        self.motion = Conv(hidden + hidden // 2, hidden, relu=True)
        self.context = Conv(hidden, width)
        self.mix = Conv(2 * hidden, width, relu=True)
        self.spread = Conv(width, width, dilation=2, residual=True, relu=True)
        self.gate = Conv(width, 2 * hidden, 1)
        self.head = Conv(hidden, hidden, relu=True)
        self.step = Conv(hidden, 2 + len(WINDOWS))

    def forward(
        self, costs: Tensor, steps: Tensor, flow: Tensor, hidden: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The residual flow (float32) and the new hidden state.

        steps: as `lucas_kanade` gives them for WINDOWS; context: what `self.context` made of it.
        """
        known = torch.cat([flow / self.radius, steps], 1).to(hidden.dtype, memory_format=torch.channels_last)
        motion = self.motion(self.costs(costs), self.flow(known))
        mixed = self.spread(self.mix(hidden, motion, plus=context))
        hidden = gated_update(hidden, self.gate(mixed))
        residual, trust = self.step(self.head(hidden)).float().split((2, len(WINDOWS)), 1)
        for number, share in enumerate(torch.sigmoid(trust).split(1, 1)):
            residual = residual + share / CELL * steps[:, MEASURES * number : MEASURES * number + 2]
        return residual, hidden


class ConvexUp(nn.Module):
    """The flow at full size: each fine pixel is a convex blend of the nine coarse ones around it."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.detail = Conv(3 * UP * UP, hidden, 1)
        self.mask = nn.Sequential(Conv(hidden, 2 * hidden, relu=True), Conv(2 * hidden, 9 * UP * UP, 1))

    def forward(self, hidden: Tensor, detail: Tensor, flow: Tensor) -> Tensor:
        """`detail`: what `self.detail` made of the picture's own pixels, which know where edges are."""
        return convex_upsample(flow, self.mask(hidden + detail))


class Rpwc(FlowModel):
    """The default network; see the module's docstring.

    refine: iterations at 1/8 of full size, the user's choice between speed and quality. fine, coarse: iterations at
    1/4, and at each level from 1/16 on, if `refine` is less than 4; one more each time it doubles. levels: 4, at 1/4,
    1/8, 1/16 and 1/32, or 5 with one at 1/64 too. hidden, width: channels of the decoder; stem, channels: of the
    encoder; fine_hidden, fine_width: of the decoder and encoder at 1/4.
    """

    stride = 32
    least = 64
    tiles = True
    together = 2**21

    def __init__(
        self,
        refine: int = 2,
        fine: int = 1,
        coarse: int = 2,
        levels: int = 4,
        hidden: int = 64,
        width: int = 96,
        stem: int = 48,
        channels: int = 96,
        fine_hidden: int = 32,
        fine_width: int = 48,
    ) -> None:
        super().__init__()
        # More iterations at 1/8 alone find nothing more.
        more = max(0, refine.bit_length() - 2)
        fine, coarse = fine + more, coarse + more
        self.iterations: tuple[int, ...] = (fine, refine, *[coarse] * (levels - 2))
        self.encoder = Encoder(stem, channels)
        self.matching = Conv(channels, hidden, 1)
        self.start = Conv(channels, 2 * hidden, 1)
        self.carry = Conv(hidden, hidden, 1)
        self.update = Update(hidden, width, RADIUS)
        self.fine_encoder = nn.Sequential(
            Conv(3 * UP * UP, fine_hidden, relu=True),
            Conv(fine_hidden, fine_hidden, residual=True, relu=True),
            Conv(fine_hidden, fine_hidden, dilation=2, residual=True, relu=True),
        )
        self.fine_matching = Conv(fine_hidden, fine_hidden, 1)
        self.fine_start = Conv(fine_hidden, 2 * fine_hidden, 1)
        self.fine_carry = Conv(hidden, fine_hidden, 1)
        self.fine_update = Update(fine_hidden, fine_width, FINE_RADIUS)
        self.up = ConvexUp(fine_hidden)
        start_for_relu(self)
        # Training starts from the measured steps alone, each trusted by half.
        nn.init.zeros_(self.update.step.weight)
        nn.init.zeros_(self.fine_update.step.weight)

    def vary(self, generator: torch.Generator) -> None:
        """Draw how many iterations each level does from now on: mostly one to three, at 1/8 up to eight."""
        shares = FINE_SHARES, REFINE_SHARES, *[COARSE_SHARES] * (len(self.iterations) - 2)
        self.iterations = tuple(
            1 + int(torch.multinomial(torch.tensor(each), 1, generator=generator)) for each in shares
        )

    def encode(self, image: Tensor) -> Features:
        """The parts of each Level, the finest first, then what upsampling knows of detail."""
        dtype = self.dtype
        # 2 image - 1 in one pass; constants as tensors could not be part of a CUDA graph.
        image = torch.rsub(image, -1, alpha=-2)
        pixels = unshuffle_pixels(image, UP, dtype)
        tile = -(-self.tile // UP)
        fine = self.fine_encoder, self.fine_matching, self.fine_start, self.fine_update
        levels = [Level(*_prepared(pixels, *fine, tile), levelled_brightness(image, CELL, LEAST_CONTRAST))]
        coarse = self.encoder, self.matching, self.start, self.update
        for _ in self.iterations[1:]:
            # The same encoder sees the picture smaller and smaller, so that what one level learns serves all.
            image = resize_image(image, *(_half(side) for side in image.shape[-2:]), smooth=False)
            pairs = unshuffle_pixels(image, 2, dtype)
            levels.append(Level(*_prepared(pairs, *coarse), levelled_brightness(image, CELL, LEAST_CONTRAST)))
        return *chain(*levels), self.up.detail(pixels)

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        """Flows (N, 2, h, w) of each iteration; those at 1/4 at full size: each of them in training, else the last."""
        flows: list[Tensor] = []
        tile = -(-self.tile // UP)
        levels, targets, detail = _levels(first), _levels(second), first[-1]
        count, _, height, width = levels[-1].matching.shape
        flow = torch.zeros(count, 2, height, width, device=detail.device)
        hidden: Tensor | None = None
        for level in reversed(range(len(self.iterations))):
            matching, state, context, brightness = levels[level]
            target = targets[level]
            height, width = matching.shape[-2:]
            carry, update = (self.carry, self.update) if level else (self.fine_carry, self.fine_update)
            if hidden is not None:
                flow = resize_flow(flow, height, width)
                state = state + resize_image(carry(hidden), height, width)
            hidden = torch.tanh(state)
            for iteration in range(1, self.iterations[level] + 1):
                # Each iteration learns to correct the flow it is given, so no gradient goes through that flow.
                flow = flow.detach()
                costs = lookup_correlation(matching, target.matching, flow, update.radius)
                steps = lucas_kanade(brightness, target.brightness, flow, WINDOWS, DAMPING)
                known = costs, steps, flow, hidden, context
                residual, hidden = in_tiles(update, known, tile, UPDATE_REACH)
                flow = flow + residual
                if level:
                    flows.append(flow)
                elif self.training or iteration == self.iterations[level]:
                    flows += in_tiles(lambda *known: (self.up(*known),), (hidden, detail, flow), tile, 1)
        return flows


def _levels(features: Features) -> list[Level]:
    """Those that `encode` has laid side by side."""
    size = len(Level._fields)
    return [Level(*features[start : start + size]) for start in range(0, len(features) - 1, size)]


def _half(side: int) -> int:
    """Half of a side of a picture, in whole cells, and never in one alone, which has no variance."""
    return max(-(-side // (2 * CELL)) * CELL, 2 * CELL)


def _prepared(
    picture: Tensor, encoder: nn.Module, matching: nn.Module, start: nn.Module, update: Update, tile: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised matching features, initial state, and what the context contributes to each iteration."""

    def parts(picture: Tensor) -> tuple[Tensor, ...]:
        features = encoder(picture)
        state, context = start(features).chunk(2, 1)
        return matching(features), state, update.context(F.relu(context))

    matched, state, context = in_tiles(parts, (picture,), tile, ENCODER_REACH)
    return _normalised(matched), state, context


MODEL = Rpwc
