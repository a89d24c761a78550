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

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcli.geometry import in_tiles, resize_flow, resize_image
from flowcli.models._base import Features, FlowModel
from flowcli.ops import convex_upsample, gated_update, lookup_correlation, lucas_kanade
from flowcli.ops.lucas_kanade import MEASURES

RADIUS = 4
FINE_RADIUS = 3
LEVELS = 4
"""1/4 of full size, then 1/8, 1/16 and 1/32, which are a quarter of the picture at 1/2, 1/4 and 1/8."""
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
WINDOWS = (1, 3)
"""Cells around each one over which a step is measured."""
DAMPING = 0.01
"""Keeps steps small where there is no texture; brightness has a deviation of one."""
LEAST_CONTRAST = 0.02
"""Deviation of brightness, of 2 from black to white, that is noise rather than texture."""


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, dilation * (size // 2), dilation)


def _normalised(features: Tensor) -> Tensor:
    """Each channel with zero mean and unit variance over the whole picture, in float32 inside."""
    # Differs from F.instance_norm: that leaves channels_last, in which the convolutions are fast.
    return torch.cat([F.batch_norm(one, None, None, training=True, eps=1e-5) for one in features.split(1)])


def _box(image: Tensor, radius: int) -> Tensor:
    """The mean over (2 radius + 1)^2 pixels around each."""
    return F.avg_pool2d(image, 2 * radius + 1, 1, radius, count_include_pad=False)


def levelled_brightness(image: Tensor) -> Tensor:
    """(N, 1, H, W) float32: brightness, shifted and scaled to mean 0 and deviation 1 around each pixel.

    image: (N, 3, H, W), height and width multiples of CELL. Whatever light and camera change slowly over the picture
    falls out of the difference between two frames.
    """
    grey = image.float().mean(1, keepdim=True)
    mean, square = _box(F.avg_pool2d(torch.cat([grey, grey.square()], 1), CELL), 1).split(1, 1)
    deviation = (square - mean.square()).clamp_min_(0).add_(LEAST_CONTRAST**2).sqrt_()
    mean, deviation = resize_image(torch.cat([mean, deviation], 1), *grey.shape[-2:]).split(1, 1)
    levelled: Tensor = (grey - mean).div_(deviation)
    return levelled


class Residual(nn.Module):
    """A convolution whose result is added to what goes in."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv = _conv(channels, channels, dilation=dilation)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.conv(features)
        return out.add_(features).relu_()


class Encoder(nn.Sequential):
    """Features of a picture at a quarter of its size."""

    def __init__(self, stem: int, channels: int) -> None:
        # Four pixels become the channels of one: the first convolution then fills whole vector registers.
        super().__init__(
            nn.PixelUnshuffle(2),
            _conv(12, stem),
            nn.ReLU(inplace=True),
            _conv(stem, channels, stride=2),
            nn.ReLU(inplace=True),
            Residual(channels),
            Residual(channels),
            Residual(channels, dilation=2),
        )


class Update(nn.Module):
    """One iteration: costs around the current flow, that flow and the hidden state give better ones."""

    def __init__(self, hidden: int, width: int, radius: int) -> None:
        super().__init__()
        self.radius = radius
        self.costs = _conv((2 * radius + 1) ** 2, hidden, 1)
        self.flow = _conv(2 + MEASURES * len(WINDOWS), hidden // 2)
        self.motion = _conv(hidden + hidden // 2, hidden)
        self.context = _conv(hidden, width)
        self.mix = _conv(2 * hidden, width)
        self.spread = _conv(width, width, dilation=2)
        self.gate = _conv(width, 2 * hidden, 1)
        self.head = _conv(hidden, hidden)
        self.step = _conv(hidden, 2 + len(WINDOWS))

    def forward(
        self, costs: Tensor, steps: Tensor, flow: Tensor, hidden: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The residual flow (float32) and the new hidden state.

        steps: as `lucas_kanade` gives them for WINDOWS; context: what `self.context` made of it.
        """
        # What tells cells apart is small beside what they share: centred and scaled, it is learnt from at once. Both
        # are linear, and done to the weights, of which there are fewer.
        weight = self.costs.weight.float()
        weight = SHARPEN * (weight - weight.mean(1, keepdim=True))
        costs = F.conv2d(costs, weight.to(costs.dtype), self.costs.bias)
        known = torch.cat([flow / self.radius, steps], 1).to(hidden.dtype, memory_format=torch.channels_last)
        motion = torch.cat([costs, self.flow(known)], 1).relu_()
        motion = self.motion(motion).relu_()
        mixed = self.mix(torch.cat([hidden, motion], 1)).add_(context).relu_()
        mixed = self.spread(mixed).add_(mixed).relu_()
        hidden = gated_update(hidden, self.gate(mixed))
        residual, trust = self.step(self.head(hidden).relu_()).float().split((2, len(WINDOWS)), 1)
        for number, share in enumerate(torch.sigmoid(trust).split(1, 1)):
            residual = residual + share / CELL * steps[:, MEASURES * number : MEASURES * number + 2]
        return residual, hidden


class ConvexUp(nn.Module):
    """The flow at full size: each fine pixel is a convex blend of the nine coarse ones around it."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.detail = _conv(3 * UP * UP, hidden, 1)
        self.mask = nn.Sequential(_conv(hidden, 2 * hidden), nn.ReLU(inplace=True), _conv(2 * hidden, 9 * UP * UP, 1))

    def forward(self, hidden: Tensor, detail: Tensor, flow: Tensor) -> Tensor:
        """`detail`: what `self.detail` made of the picture's own pixels, which know where edges are."""
        return convex_upsample(flow, self.mask(hidden + detail))


class Rpwc(FlowModel):
    """The default network; see the module's docstring.

    refine: iterations at 1/8 of full size, the user's choice between speed and quality. fine: iterations at 1/4.
    coarse: at 1/32 and 1/16 each. hidden, width: channels of the decoder; stem, channels: of the encoder; fine_hidden,
    fine_width: of the decoder and encoder at 1/4.
    """

    stride = 32
    least = 64
    tiles = True

    def __init__(
        self,
        refine: int = 2,
        fine: int = 1,
        coarse: int = 2,
        hidden: int = 64,
        width: int = 96,
        stem: int = 48,
        channels: int = 96,
        fine_hidden: int = 32,
        fine_width: int = 48,
    ) -> None:
        super().__init__()
        self.iterations = (fine, refine, coarse, coarse)
        self.encoder = Encoder(stem, channels)
        self.matching = _conv(channels, hidden, 1)
        self.start = _conv(channels, 2 * hidden, 1)
        self.carry = _conv(hidden, hidden, 1)
        self.update = Update(hidden, width, RADIUS)
        self.fine_encoder = nn.Sequential(
            _conv(3 * UP * UP, fine_hidden),
            nn.ReLU(inplace=True),
            Residual(fine_hidden),
            Residual(fine_hidden, dilation=2),
        )
        self.fine_matching = _conv(fine_hidden, fine_hidden, 1)
        self.fine_start = _conv(fine_hidden, 2 * fine_hidden, 1)
        self.fine_carry = _conv(hidden, fine_hidden, 1)
        self.fine_update = Update(fine_hidden, fine_width, FINE_RADIUS)
        self.up = ConvexUp(fine_hidden)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        # Training starts from the measured steps alone, each trusted by half.
        nn.init.zeros_(self.update.step.weight)
        nn.init.zeros_(self.fine_update.step.weight)

    def encode(self, image: Tensor) -> Features:
        """Matching features, state, context and brightness of each level, finest first, then detail; (N, C, h, w)."""
        dtype = self.carry.weight.dtype
        image = (image * 2 - 1).contiguous()
        pixels = F.pixel_unshuffle(image.to(dtype, memory_format=torch.channels_last), UP)
        tile = -(-self.tile // UP)
        out = _prepared(pixels, self.fine_encoder, self.fine_matching, self.fine_start, self.fine_update, tile)
        out.append(levelled_brightness(image))
        for _ in range(LEVELS - 1):
            # The same encoder sees the picture smaller and smaller, so that what one level learns serves all.
            image = resize_image(image, image.shape[-2] // 2, image.shape[-1] // 2, smooth=False)
            out += _prepared(
                image.to(dtype, memory_format=torch.channels_last), self.encoder, self.matching, self.start, self.update
            )
            out.append(levelled_brightness(image))
        return *out, self.up.detail(pixels)

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        """Flows (N, 2, h, w) of each iteration; those at 1/4 at full size: each of them in training, else the last."""
        flows: list[Tensor] = []
        tile = -(-self.tile // UP)
        count, _, height, width = first[-3].shape
        flow = torch.zeros(count, 2, height, width, device=first[0].device)
        hidden: Tensor | None = None
        for level in reversed(range(LEVELS)):
            matching, state, context, brightness = first[4 * level : 4 * level + 4]
            height, width = matching.shape[-2:]
            carry, update = (self.carry, self.update) if level else (self.fine_carry, self.fine_update)
            if hidden is not None:
                flow = resize_flow(flow, height, width)
                state = state + resize_image(carry(hidden), height, width)
            hidden = torch.tanh(state)
            for iteration in range(1, self.iterations[level] + 1):
                # Each iteration learns to correct the flow it is given, so no gradient goes through that flow.
                flow = flow.detach()
                costs = lookup_correlation(matching, second[4 * level], flow, update.radius)
                steps = lucas_kanade(brightness, second[4 * level + 3], flow, WINDOWS, DAMPING)
                known = costs, steps, flow, hidden, context
                residual, hidden = in_tiles(update, known, tile, UPDATE_REACH)
                flow = flow + residual
                if level:
                    flows.append(flow)
                elif self.training or iteration == self.iterations[level]:
                    flows += in_tiles(lambda *known: (self.up(*known),), (hidden, first[-1], flow), tile, 1)
        return flows


def _prepared(
    picture: Tensor, encoder: nn.Module, matching: nn.Module, start: nn.Module, update: Update, tile: int = 0
) -> list[Tensor]:
    """Normalised matching features, initial state, and what the context contributes to each iteration."""

    def parts(picture: Tensor) -> tuple[Tensor, ...]:
        features = encoder(picture)
        state, context = start(features).chunk(2, 1)
        return matching(features), state, update.context(F.relu(context))

    matched, state, context = in_tiles(parts, (picture,), tile, ENCODER_REACH)
    return [_normalised(matched), state, context]


MODEL = Rpwc
