"""Labels at the places that a flow leads to, never mixed; `labels.cpp` has a faster kernel for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flowcli.geometry import grid
from flowcli.ops.library import define


def sample_labels(labels: Tensor, flow: Tensor) -> Tensor:
    """(H, W) int32: the label at the place that the flow leads each pixel to, by a vote of the four nearest pixels.

    labels: (H, W) int32, H and W at least 1; flow: (2, H, W) float32, pixels. Each of the four weighs what bilinear
    interpolation gives it, and the first of equals is taken: top left, top right, bottom left, bottom right. Beyond the
    frame its border counts; where the flow is unknown (NaN) a pixel keeps its label. Raises ValueError if the shapes do
    not fit.
    """
    if labels.dim() != 2 or flow.shape != (2, *labels.shape) or not labels.numel():
        raise ValueError(f"labels {tuple(labels.shape)} and flow {tuple(flow.shape)} do not fit")
    sampled: Tensor = torch.ops.flowcli.sample_labels(labels, flow)
    return sampled


def _sample_labels_torch(labels: Tensor, flow: Tensor) -> Tensor:
    height, width = labels.shape
    last = torch.tensor((width - 1, height - 1), device=labels.device).view(2, 1, 1)
    place = (grid(height, width, labels.device) + torch.nan_to_num(flow)).clamp(min=0).minimum(last)
    corner = place.floor().long()
    index = (corner[1] * width + corner[0]).flatten()
    flat = labels.flatten()
    result = flat[index]
    # Where all four agree, which is nearly everywhere, there is nothing to vote on.
    voting = mixed(labels).flatten()[index].nonzero()[:, 0]
    column, row = corner.flatten(1)[:, voting]
    share_x, share_y = (place.flatten(1)[:, voting] - torch.stack((column, row))).unbind()
    candidates, weights = [], []
    for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
        candidates.append(flat[(row + below).clamp(max=height - 1) * width + (column + right).clamp(max=width - 1)])
        weights.append((share_x if right else 1 - share_x) * (share_y if below else 1 - share_y))
    result[voting] = elect_of_four(torch.stack(candidates), torch.stack(weights))
    return result.view_as(labels)


def mixed(labels: Tensor) -> Tensor:
    """(H, W) bool: whether a pixel of (H, W) and those to the right, below and both have several labels."""
    result = torch.zeros_like(labels, dtype=torch.bool)
    result[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    result[:-1] |= labels[:-1] != labels[1:]
    result[:-1, :-1] |= labels[:-1, :-1] != labels[1:, 1:]
    return result


def elect_of_four(candidates: Tensor, weights: Tensor) -> Tensor:
    """(N,): of the candidates (4, N) the one with the greatest sum of weights (4, N), the first of equals."""
    votes = (weights[None] * (candidates[None] == candidates[:, None])).sum(1)
    return candidates.gather(0, votes.argmax(0)[None])[0]


def _sample_labels_fake(labels: Tensor, flow: Tensor) -> Tensor:
    return torch.empty_like(labels)


def _trials() -> list[tuple[Any, ...]]:
    y, x = torch.meshgrid(torch.arange(9), torch.arange(13), indexing="ij")
    labels = (x // 4 + 5 * (y // 3)).int()
    flow = torch.stack((0.37 * (x + y) - 3, 0.59 * y - 0.21 * x)).float()
    return [(labels, flow)]


define("sample_labels(Tensor labels, Tensor flow) -> Tensor", _sample_labels_torch, _sample_labels_fake, trials=_trials)
