"""Pictures painted over key frames, carried to other frames: where the key frame shows what they do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.carry.evidence import Evidence
from flowcli.carry.routes import Route, enlarged
from flowcli.geometry import backward_warp, grid, sample
from flowcli.ops import cell_means, forward_splat

SAME = 2
"""Levels of 255 by which a picture without alpha may differ from its frame, and not be painted."""
KEPT = 12.0
"""Grey levels by which what shows may differ from the key frame, near what is hidden..."""
AGAIN = 10.0
"""...and by which what shows again may."""
STEP = 5.0
"""The same from the frame before: pictures decide where flow and its way back disagree."""
WINDOW = 3
"""Side of the square over which that is averaged, pixels."""
FAR = 4.0
"""Cells from the mean of all that come from one place of the key frame, from which on they cannot be one thing."""
NEAR = 2
"""Cells around what is hidden in which flow alone does not decide."""


@dataclass(frozen=True, eq=False)
class Painted:
    """A picture for a key frame."""

    given: np.ndarray
    """(H, W, 3) or (H, W, 4) uint8, as it is given."""
    layer: Tensor
    """(4, H, W) float32, 0 to 255: red, green and blue times alpha, and alpha."""
    frame: Tensor
    """(3, H, W) float32, grey levels: the key frame."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """A painted picture as it lies on a frame."""

    painted: Painted
    route: Route
    seen: Tensor
    """(H, W) float32, 0 to 1: how much of each pixel the key frame shows."""
    image: np.ndarray
    """(H, W, 3) uint8: the frame that it lies on."""

    def layer(self) -> Tensor:
        """(4, H, W) float32, as `Painted.layer`: what of it is on the frame; nothing where the key frame shows none."""
        shift = self.route.shift
        place = grid(shift.shape[1], shift.shape[2], shift.device) + shift
        layer, inside = sample(self.painted.layer[None], place[None], margin=0.5, mode="bicubic")
        alpha = layer[0, 3:].clamp(0, 255)
        return torch.cat((layer[0, :3].clamp(min=0).minimum(alpha), alpha)) * (self.seen * inside[0, 0])


@dataclass(frozen=True, eq=False)
class Laid:
    """Painted pictures on a frame, with the share of each, (H, W), 0 to 1."""

    sheets: tuple[Sheet, ...]
    shares: tuple[Tensor, ...]

    def layer(self) -> Tensor:
        """As that of a sheet; a place that only one key frame shows is all from it."""
        if len(self.sheets) == 1:
            return self.sheets[0].layer()
        weights = torch.stack([share * sheet.seen for sheet, share in zip(self.sheets, self.shares, strict=True)])
        seen = torch.stack([sheet.seen for sheet in self.sheets])
        weights *= seen.amax(0) / weights.sum(0).clamp(min=1e-6)
        layers = torch.stack([replace(sheet, seen=torch.ones_like(sheet.seen)).layer() for sheet in self.sheets])
        return (layers * weights[:, None]).sum(0)


class Sheets:
    """How painted pictures are carried."""

    def carry(self, value: Laid, flow: Tensor, evidence: Evidence) -> Laid:
        return replace(value, sheets=tuple(carry_sheet(sheet, flow, evidence) for sheet in value.sheets))

    def blend(self, one: Laid, other: Laid, share: Tensor) -> Laid:
        shares = (*(each * share for each in one.shares), *(each * (1 - share) for each in other.shares))
        return Laid((*one.sheets, *other.sheets), shares)


def carry_sheet(sheet: Sheet, flow: Tensor, evidence: Evidence) -> Sheet:
    """The sheet on the frame of `evidence`, from which the flow (2, H, W) leads to the frame that it lies on.

    What flows back to a place that shows shows; near hidden places only if it looks as before, or
    like the key frame. What is
    hidden, or was, shows if it looks as before, or very much like the key frame, in a place that is no other pixel's.
    """
    image = evidence.look.frame.image
    route, flow = sheet.route.carried(flow, evidence), torch.nan_to_num(flow)
    hidden = (evidence.trust == 0)[None].float()
    near = F.max_pool2d(hidden, 2 * NEAR + 1, 1, NEAR)
    hidden, near = (enlarged(each, evidence.look.cell, flow)[0] for each in (hidden, near))
    before, _ = backward_warp(sheet.seen[None, None], flow[None])
    key_error, inside = _error(image, sheet.painted.frame, route.shift)
    step_error, _ = _error(image, _planes(sheet.image, flow.device), flow)
    steady = _below(step_error, STEP)
    like = torch.maximum(_below(key_error, KEPT), steady)
    sure = before[0, 0] * (1 - hidden) * torch.lerp(torch.ones_like(near), like, near)
    kept = before[0, 0] * steady
    again = _below(key_error, AGAIN) * inside
    free = 1 - _taken(route, evidence)
    return Sheet(sheet.painted, route, torch.maximum(sure, torch.maximum(kept, again) * free), image)


def _below(error: Tensor, most: float) -> Tensor:
    """1 for errors up to `most`, 0 from twice that on."""
    return (2 - error / most).clamp(0, 1)


def _error(image: np.ndarray, other: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """How the other picture (3, H, W) differs where the flow leads, (H, W) grey levels; and whether that is inside."""
    warped, inside = backward_warp(other[None], flow[None], margin=0.5)
    error = (warped[0] - _planes(image, flow.device)).abs().mean(0)
    reach = WINDOW // 2
    error = F.avg_pool2d(F.pad(error[None, None], (reach,) * 4, mode="replicate"), WINDOW, 1)[0, 0]
    return error, inside[0, 0]


def _taken(route: Route, evidence: Evidence) -> Tensor:
    """(H, W), 0 to 1: whether pixels far away come from the same place on the key frame."""
    cell = evidence.look.cell
    shift, known = cell_means(route.shift, cell) / cell, (evidence.trust > 0)[None].float()
    here = grid(shift.shape[1], shift.shape[2], shift.device)
    total, weight = forward_splat(here[None], shift[None], known[None])
    # Their neighbours' places too: what has become smaller leaves gaps.
    around = F.avg_pool2d(torch.cat((total, weight), dim=1), 3, 1, 1)
    mean, _ = backward_warp(around, shift[None])
    away = mean[0, :2] / mean[0, 2:].clamp(min=1e-3) - here
    taken = (away.norm(dim=0, keepdim=True) > FAR) & (mean[0, 2:] > 0.1)
    return enlarged(taken, cell, route.shift)[0]


def lay(given: np.ndarray, image: np.ndarray, device: torch.device) -> Laid:
    """A picture, (H, W, 3) or (H, W, 4) uint8, on its key frame, (H, W, 3) uint8.

    Without alpha, it is what differs from the frame.
    """
    frame, picture = (_planes(each, device) for each in (image, given))
    differs = ((picture[:3] - frame).abs() > SAME).any(0, keepdim=True) * 255.0
    alpha = picture[3:] if len(picture) == 4 else differs
    painted = Painted(given, torch.cat((picture[:3] * (alpha / 255), alpha)), frame)
    everywhere = torch.ones_like(frame[0])
    return Laid((Sheet(painted, Route(torch.zeros_like(frame[:2])), everywhere, image),), (everywhere,))


def _planes(image: np.ndarray, device: torch.device) -> Tensor:
    return torch.tensor(np.ascontiguousarray(image), device=device).permute(2, 0, 1).float()


def over(image: np.ndarray, layer: Tensor) -> np.ndarray:
    """(H, W, 3) uint8: the layer (4, H, W), as of a sheet, over the picture."""
    below = _planes(image, layer.device)
    mixed = below * (1 - layer[3:] / 255) + layer[:3]
    return mixed.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().cpu().numpy()


def straight(layer: Tensor) -> np.ndarray:
    """(H, W, 4) uint8: the layer (4, H, W), as of a sheet, with colours that alpha is not in."""
    colours = layer[:3] * (255 / layer[3:].clamp(min=1e-3))
    return torch.cat((colours, layer[3:])).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().cpu().numpy()
