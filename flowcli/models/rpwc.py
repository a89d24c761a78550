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

from flowcli.geometry import backward_warp, resize_flow, resize_image
from flowcli.models._base import Features, FlowModel
from flowcli.ops import lookup_correlation

RADIUS = 4
FINE_RADIUS = 3
LEVELS = 4
"""1/4 of full size, then 1/8, 1/16 and 1/32, which are a quarter of the picture at 1/2, 1/4 and 1/8."""
UP = 4
"""From the finest level to full size, by convex upsampling."""
SHARPEN = 8.0
"""What brings the differences between costs to about one."""
CELL = 4
"""Side of the part of a picture that one vector of a level's flow stands for, pixels."""
WINDOWS = (1, 3)
"""Cells around each one over which a step is measured."""
DAMPING = 0.01
"""Keeps steps small where there is no texture; brightness has a deviation of one."""
MEASURES = 4 * len(WINDOWS)
LEAST_CONTRAST = 0.02
"""Deviation of brightness, of 2 from black to white, that is noise rather than texture."""


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, dilation * (size // 2), dilation)


def _normalised(features: Tensor) -> Tensor:
    """Each channel with zero mean and unit variance over the whole picture, in float32 inside."""
    wide = features.float()
    variance, mean = torch.var_mean(wide, dim=(2, 3), keepdim=True, correction=0)
    return ((wide - mean) * torch.rsqrt(variance + 1e-5)).to(features.dtype)


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
    deviation = (square - mean.square()).clamp_min(0).add(LEAST_CONTRAST**2).sqrt()
    height, width = grey.shape[-2:]
    return (grey - resize_image(mean, height, width)) / resize_image(deviation, height, width)


def _slopes(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences to the right and down, (N, 1, H, W) each."""
    wide = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2, (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2


@torch.no_grad()
def measured_steps(first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
    """(N, MEASURES, h, w): for each of WINDOWS a step (u, v) towards the true flow, how sure it is, what does not fit.

    first, second: levelled brightness (N, 1, H, W); flow: (N, 2, h, w), H / h = W / w = CELL. Steps are in pixels of
    the pictures, one at most in each direction; sureness is in [0, 1), the misfit a deviation, 2 at most.
    Source: Lucas and Kanade 1981, "An iterative image registration technique"; a single damped step.
    """
    warped, inside = backward_warp(second, resize_flow(flow, *first.shape[-2:]))
    x, y = (slope * inside for slope in _slopes((first + warped) / 2))
    change = (warped - first) * inside
    products = torch.cat([x * x, y * y, x * y, x * change, y * change, change * change], 1)
    cells = F.avg_pool2d(products, CELL)
    out: list[Tensor] = []
    for radius in WINDOWS:
        xx, yy, xy, xc, yc, cc = _box(cells, radius).split(1, 1)
        xx, yy = xx + DAMPING, yy + DAMPING
        area = xx * yy - xy * xy
        step = torch.cat([xy * yc - yy * xc, xy * xc - xx * yc], 1) / area
        sure = area / (area + xx + yy)
        out += [step.clamp(-1, 1), sure, cc.sqrt().clamp(max=2)]
    return torch.cat(out, 1)


class Residual(nn.Module):
    """A convolution whose result is added to what goes in."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv = _conv(channels, channels, dilation=dilation)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.conv(features))


class Encoder(nn.Sequential):
    """Features of a picture at a quarter of its size."""

    def __init__(self, stem: int, channels: int) -> None:
        # Four pixels become the channels of one: the first convolution then fills whole vector registers.
        super().__init__(
            nn.PixelUnshuffle(2),
            _conv(12, stem),
            nn.ReLU(),
            _conv(stem, channels, stride=2),
            nn.ReLU(),
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
        self.flow = _conv(2 + MEASURES, hidden // 2)
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

        steps: as `measured_steps` gives them; context: what `self.context` made of it.
        """
        # What tells cells apart is small beside what they share: centred and scaled, it is learnt from at once.
        costs = SHARPEN * (costs - costs.mean(1, keepdim=True))
        known = torch.cat([flow / self.radius, steps], 1).to(hidden.dtype)
        motion = torch.cat([F.relu(self.costs(costs)), F.relu(self.flow(known))], 1)
        motion = F.relu(self.motion(motion))
        mixed = F.relu(self.mix(torch.cat([hidden, motion], 1)) + context)
        mixed = F.relu(mixed + self.spread(mixed))
        gate, fresh = self.gate(mixed).chunk(2, 1)
        hidden = torch.lerp(hidden, torch.tanh(fresh).to(hidden.dtype), torch.sigmoid(gate).to(hidden.dtype))
        residual, trust = self.step(F.relu(self.head(hidden))).float().split((2, len(WINDOWS)), 1)
        for number, share in enumerate(torch.sigmoid(trust).split(1, 1)):
            residual = residual + share / CELL * steps[:, 4 * number : 4 * number + 2]
        return residual, hidden


class ConvexUp(nn.Module):
    """The flow at full size: each fine pixel is a convex blend of the nine coarse ones around it."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.detail = _conv(3 * UP * UP, hidden, 1)
        self.mask = nn.Sequential(_conv(hidden, 2 * hidden), nn.ReLU(), _conv(2 * hidden, 9 * UP * UP, 1))

    def forward(self, hidden: Tensor, detail: Tensor, flow: Tensor) -> Tensor:
        """`detail`: what `self.detail` made of the picture's own pixels, which know where edges are."""
        count, _, height, width = flow.shape
        mask = self.mask(hidden + detail).permute(0, 2, 3, 1).float()
        weights = mask.view(count, height, width, 9, UP * UP).softmax(3)
        near = F.unfold(F.pad(UP * flow, (1, 1, 1, 1), mode="replicate"), 3).view(count, 2, 9, height, width)
        blends = [(weights * part[..., None]).sum(3) for part in near.permute(1, 0, 3, 4, 2)]
        return F.pixel_shuffle(torch.cat(blends, 3).permute(0, 3, 1, 2), UP)


class Rpwc(FlowModel):
    """The default network; see the module's docstring.

    refine: iterations at 1/8 of full size, the user's choice between speed and quality. fine: iterations at 1/4.
    coarse: at 1/32 and 1/16 each. hidden, width: channels of the decoder; stem, channels: of the encoder; fine_hidden,
    fine_width: of the decoder and encoder at 1/4.
    """

    stride = 32
    least = 64

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
            _conv(3 * UP * UP, fine_hidden), nn.ReLU(), Residual(fine_hidden), Residual(fine_hidden, dilation=2)
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
        image = (image * 2 - 1).contiguous(memory_format=torch.channels_last)
        pixels = F.pixel_unshuffle(image, UP).to(dtype)
        out = _prepared(self.fine_encoder(pixels), self.fine_matching, self.fine_start, self.fine_update)
        out.append(levelled_brightness(image))
        for _ in range(LEVELS - 1):
            # The same encoder sees the picture smaller and smaller, so that what one level learns serves all.
            image = F.avg_pool2d(image, 2)
            out += _prepared(self.encoder(image.to(dtype)), self.matching, self.start, self.update)
            out.append(levelled_brightness(image))
        return *out, self.up.detail(pixels)

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        """Flows (N, 2, h, w) of each iteration; those at 1/4 at full size: each of them in training, else the last."""
        flows: list[Tensor] = []
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
                steps = measured_steps(brightness, second[4 * level + 3], flow)
                residual, hidden = update(costs, steps, flow, hidden, context)
                flow = flow + residual
                if level:
                    flows.append(flow)
                elif self.training or iteration == self.iterations[level]:
                    flows.append(self.up(hidden, first[-1], flow))
        return flows


def _prepared(features: Tensor, matching: nn.Module, start: nn.Module, update: Update) -> list[Tensor]:
    """Normalised matching features, initial state, and what the context contributes to each iteration."""
    state, context = start(features).chunk(2, 1)
    return [_normalised(matching(features)), state, update.context(F.relu(context))]


MODEL = Rpwc
