"""rpwc: a recurrent, PWC-style network, small enough for a CPU; the default of flowcli, trained by this project.

Pyramid, warping by the current flow and a local cost volume come from PWC-Net (Sun et al. 2018, arXiv:1709.02371); one
decoder with a hidden state used over and over, and convex upsampling, from RAFT (Teed and Deng 2020, arXiv:2003.12039);
one small network for all levels of an image pyramid from SpyNet (Ranjan and Black 2017, arXiv:1611.00850).

# Differs from PWC-Net: one encoder and one decoder serve all levels, the decoder several times each; no feature map is
# warped, the cost volume is looked up around x + flow(x); matching features are instance-normalised.
# Differs from RAFT: no all-pairs volume, a gated update without reset gate, and everything the context contributes to
# an iteration is computed once a level.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowcli.geometry import resize_flow, resize_image
from flowcli.models._base import Features, FlowModel
from flowcli.ops import lookup_correlation

RADIUS = 4
CELLS = (2 * RADIUS + 1) ** 2
LEVELS = 3
"""1/8, 1/16 and 1/32 of full size: a quarter of the picture at 1/2, 1/4 and 1/8."""
UP = 8
"""From the finest level to full size, by convex upsampling."""
SHARPEN = 8.0
"""What brings the differences between costs to about one."""


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, dilation * (size // 2), dilation)


def _normalised(features: Tensor) -> Tensor:
    """Each channel with zero mean and unit variance over the whole picture, in float32 inside."""
    wide = features.float()
    variance, mean = torch.var_mean(wide, dim=(2, 3), keepdim=True, correction=0)
    return ((wide - mean) * torch.rsqrt(variance + 1e-5)).to(features.dtype)


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

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.costs = _conv(CELLS, hidden, 1)
        self.flow = _conv(2, 32)
        self.motion = _conv(hidden + 32, hidden)
        self.context = _conv(hidden, width)
        self.mix = _conv(2 * hidden, width)
        self.spread = _conv(width, width, dilation=2)
        self.gate = _conv(width, 2 * hidden, 1)
        self.head = _conv(hidden, hidden)
        self.step = _conv(hidden, 2)

    def forward(self, costs: Tensor, flow: Tensor, hidden: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The residual flow (float32) and the new hidden state. `context`: what `self.context` made of it."""
        # What tells cells apart is small beside what they share: centred and scaled, it is learnt from at once.
        costs = SHARPEN * (costs - costs.mean(1, keepdim=True))
        motion = torch.cat([F.relu(self.costs(costs)), F.relu(self.flow(flow.to(hidden.dtype) / RADIUS))], 1)
        motion = F.relu(self.motion(motion))
        mixed = F.relu(self.mix(torch.cat([hidden, motion], 1)) + context)
        mixed = F.relu(mixed + self.spread(mixed))
        gate, fresh = self.gate(mixed).chunk(2, 1)
        hidden = torch.lerp(hidden, torch.tanh(fresh).to(hidden.dtype), torch.sigmoid(gate).to(hidden.dtype))
        return self.step(F.relu(self.head(hidden))).float(), hidden


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
        # Not as (2 x 9) (9 x 64) for each coarse pixel: so small a product takes 62 ms at 1280x720, this takes 7.
        blends = [(weights * part[..., None]).sum(3) for part in near.permute(1, 0, 3, 4, 2)]
        return F.pixel_shuffle(torch.cat(blends, 3).permute(0, 3, 1, 2), UP)


class Rpwc(FlowModel):
    """The default network; see the module's docstring.

    refine: iterations at 1/8 of full size, the user's choice between speed and quality.
    coarse: iterations at 1/32 and 1/16 each. hidden, width: channels of the decoder; stem, channels: of the encoder.
    """

    stride = 32
    least = 64

    def __init__(
        self, refine: int = 3, coarse: int = 2, hidden: int = 64, width: int = 96, stem: int = 48, channels: int = 96
    ) -> None:
        super().__init__()
        self.refine = refine
        self.coarse = coarse
        self.encoder = Encoder(stem, channels)
        self.matching = _conv(channels, hidden, 1)
        self.start = _conv(channels, 2 * hidden, 1)
        self.carry = _conv(hidden, hidden, 1)
        self.update = Update(hidden, width)
        self.up = ConvexUp(hidden)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        # Training starts from zero flow at every level.
        nn.init.zeros_(self.update.step.weight)

    def encode(self, image: Tensor) -> Features:
        """Matching features, initial state and context of each level, finest first, then detail; all (N, C, h, w)."""
        dtype = self.carry.weight.dtype
        image = (image * 2 - 1).contiguous(memory_format=torch.channels_last)
        detail = self.up.detail(F.pixel_unshuffle(image, UP).to(dtype))
        out: list[Tensor] = []
        for _ in range(LEVELS):
            # The same encoder sees the picture smaller and smaller, so that what one level learns serves all.
            image = F.avg_pool2d(image, 2)
            features = self.encoder(image.to(dtype))
            state, context = self.start(features).chunk(2, 1)
            out += [_normalised(self.matching(features)), state, self.update.context(F.relu(context))]
        return *out, detail

    def decode(self, first: Features, second: Features) -> list[Tensor]:
        """Flows (N, 2, h, w) of each iteration at 1/32 and 1/16, then at full size: each in training, else the last."""
        flows: list[Tensor] = []
        count, _, height, width = first[3 * LEVELS - 1].shape
        flow = torch.zeros(count, 2, height, width, device=first[0].device)
        hidden: Tensor | None = None
        for level in reversed(range(LEVELS)):
            matching, state, context = first[3 * level : 3 * level + 3]
            height, width = matching.shape[-2:]
            if hidden is not None:
                flow = resize_flow(flow, height, width)
                state = state + self.carry(resize_image(hidden, height, width))
            hidden = torch.tanh(state)
            iterations = self.coarse if level else self.refine
            for iteration in range(iterations):
                # Each iteration learns to correct the flow it is given, so no gradient goes through that flow.
                flow = flow.detach()
                costs = lookup_correlation(matching, second[3 * level], flow, RADIUS)
                residual, hidden = self.update(costs, flow, hidden, context)
                flow = flow + residual
                if level:
                    flows.append(flow)
                elif self.training or iteration == iterations - 1:
                    flows.append(self.up(hidden, first[-1], flow))
        return flows


MODEL = Rpwc
