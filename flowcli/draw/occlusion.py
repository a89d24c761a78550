"""What the first frame of a pair shows and the second does not.

The numbers below were chosen on scenes of flowcli's own generator, along the flow of rpwc. `python -m tests.occluding`
measures the rule there, beside the round trip alone, which was the rule before.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flowcli.geometry import backward_warp, consistency
from flowcli.opencv import cv2
from flowcli.ops import forward_splat
from flowcli.pictures import in_bytes
from flowcli.types import FlowPair

CONTRAST = 60.0
"""Levels of 255: that a pixel looks so much different where it goes counts as much as that nothing comes from there."""
ENOUGH = 0.7
"""Evidence from which on a pixel is hidden: 1 for either of both."""
UNSEEN = 24.0
"""The difference that is assumed where there are no frames to look at."""
WINDOW = 5
"""Side of the squares that evidence is a mean over, and of those whose median edges are smoothed by, pixels."""


def outside(pair: FlowPair) -> Tensor:
    """(1, 1, H, W) bool: where the flow is unknown, or leaves the frame by more than half a pixel."""
    forward = pair.forward.known[None]
    _, inside = backward_warp(forward, forward, margin=0.5)
    return ~inside


def occluded(pair: FlowPair) -> Tensor:
    """(1, 1, H, W) bool: what the second frame hides, and what is `outside` it.

    Hidden is what does not come back along both flows (`consistency`), unless pixels of the second frame come from
    there all the same (density of `forward_splat` of the backward flow, at most 1) and look like it:
    1 - density + difference / CONTRAST > ENOUGH. The round trip alone would call hidden what has no texture, and the
    density alone what shrinks. Raises ValueError without backward flow.

    Source of the density as a measure: Wang et al. 2018, Occlusion Aware Unsupervised Learning of Optical Flow.
    """
    return outside(pair) | _hidden(pair)


def occlusion_mask(pair: FlowPair) -> Tensor:
    """(1, 1, H, W) bool: as `occluded`, but what is hidden has smooth edges and no specks."""
    hidden = _hidden(pair)
    smooth = cv2.medianBlur(hidden[0, 0].to(torch.uint8).cpu().numpy(), WINDOW)
    return outside(pair) | torch.from_numpy(smooth > 0).to(hidden.device)


def _hidden(pair: FlowPair) -> Tensor:
    forward, backward = pair.forward.known[None], pair.reversed().forward.known[None]
    nothing = backward[:, :0]
    _, density = forward_splat(nothing, backward, torch.ones_like(backward[:, :1]))
    evidence = 1 - density.clamp(max=1) + _difference(pair) / CONTRAST
    plane = evidence[0, 0].cpu().numpy()
    mean = torch.from_numpy(cv2.blur(plane, (WINDOW, WINDOW), borderType=cv2.BORDER_REPLICATE))
    return consistency(forward, backward) & (mean.to(forward.device) > ENOUGH)


def _difference(pair: FlowPair) -> Tensor | float:
    """(1, 1, H, W): mean difference of each pixel's channels from where it goes, levels of 255.

    Flow that was read from files has black frames, whose likeness says nothing.
    """
    if not pair.first.image.any():
        return UNSEEN
    flow = pair.forward.known[None]
    first, second = (
        torch.tensor(in_bytes(each.image), device=flow.device).permute(2, 0, 1)[None].float()
        for each in (pair.first, pair.second)
    )
    there, _ = backward_warp(second, flow)
    return (there - first).abs_().mean(dim=1, keepdim=True)
