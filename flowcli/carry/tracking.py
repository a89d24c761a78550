"""Points carried from one frame to the next: along the flow where they show, elsewhere with what moves like them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from torch import Tensor

from flowcli.carry.evidence import UNSURE, Look, weigh
from flowcli.carry.patches import View, differ, find_patches, take_patches, toward
from flowcli.geometry import sample
from flowcli.ops.alike import comparable

SHARE, SQUARE = 0.01, 0.5
"""Share of the motion squared, and square pixels, by which flow and its way back may differ, as in `consistency`."""
UNLIKE = 20.0
"""Grey levels by which the picture around a point may differ from its key, or from where it showed last."""
FOUND = 10.0
"""The same for a point that was hidden, from its key."""
REACH = 1.0, 0.5, 4.0
"""Samples around a hidden point in which it is looked for: at first, more for each frame, at most."""
DRIFT = 1.5
"""Samples by which a point is moved back at most, where the picture around it is that of its key again..."""
GAIN = 0.5
"""...and the share of that way that it moves."""
FADE = 0.8
"""What is left of the confidence of a hidden point after each frame."""
_LEAST = 1e-3
"""Weight of cells that are alike, in all, below which a hidden point moves on as it did."""


@dataclass(frozen=True, eq=False)
class Places:
    """Where N points are on one frame."""

    place: Tensor
    """(N, 2): x, y in pixels; NaN for those that are not known."""
    seen: Tensor
    """(N,) bool: whether they show; if not, they are hidden or outside the picture."""
    confidence: Tensor
    """(N,) float32, 0 to 1."""
    age: Tensor
    """(N,) float32: frames since their key; 0 on it, where their place is given."""

    @property
    def known(self) -> Tensor:
        """(N,) bool."""
        return self.place[:, 0].isfinite()

    @property
    def given(self) -> Tensor:
        """(N,) bool."""
        return self.known & (self.age == 0)


@dataclass(frozen=True, eq=False)
class Tracked(Places):
    """N points on their way."""

    hidden: Tensor
    """(N,) float32: frames for which they have not shown."""
    motion: Tensor
    """(N, 2) float32: pixels that they moved in the last step."""
    key: Tensor
    """(N, 3, side, side) float32, grey levels: the picture around their key."""
    last: Tensor
    """The same around where they showed last."""

    @property
    def places(self) -> Places:
        """Without what only the next step needs."""
        return Places(self.place, self.seen, self.confidence, self.age)


Points = TypeVar("Points", Places, Tracked)


def chosen(where: Tensor, one: Points, other: Points) -> Points:
    """The points of one where (N,) is True, of the other elsewhere."""
    pairs = ((getattr(one, each.name), getattr(other, each.name)) for each in fields(one))
    return type(one)(*(torch.where(where.view(-1, *(1,) * (yes.dim() - 1)), yes, no) for yes, no in pairs))


def begin(place: Tensor, view: View) -> Tracked:
    """Points whose key is on the frame of `view`, at the places (N, 2); those that are NaN are not known."""
    known, patches = place[:, 0].isfinite(), take_patches(view, place)
    zero = torch.zeros_like(place[:, 0])
    return Tracked(
        place, known & _inside(place, view), known.float(), zero, zero, torch.zeros_like(place), patches, patches
    )


def step(points: Tracked, look: Look, other: Look, flow: Tensor, back: Tensor) -> Tracked:
    """The points on the frame of `other`, which comes next or before.

    look: of the frame that they are on. flow: (2, H, W) pixels, from it to the other frame; back: the way back. What
    agrees on both ways, and looks as before, shows. What does not moves with cells that look and move as it did, and
    is found again where the picture looks like its key.
    """
    view = View.of(other)
    motion = _at(flow, points.place)
    there = points.place + motion
    home = _at(back, there)
    limit = SHARE * (motion.square().sum(1) + home.square().sum(1)) + SQUARE
    agree = points.seen & _inside(there, view) & ((motion + home).square().sum(1) <= limit)
    away = points.known & ~agree
    if bool(away.any()):
        motion[away] = _with_alike(points, away, look, other, flow, back)
    place = points.place + motion
    patches = take_patches(view, place)
    unlike = differ(patches, points.key)
    seen = agree & (torch.minimum(unlike, differ(patches, points.last)) < UNLIKE)
    place = _without_drift(place, seen & (unlike < FOUND), unlike, points.key, view)
    lost = (points.known & ~seen & _inside(place, view)).nonzero()[:, 0]
    if len(lost):
        first, more, most = REACH
        reach = (first + more * points.hidden[lost]).clamp(max=most)
        found, error = find_patches(view, place[lost], points.key[lost], reach)
        again = lost[error < FOUND]
        place[again], seen[again] = found[error < FOUND], True
    patches = take_patches(view, place)
    sure = torch.exp(-differ(patches, points.key) / UNSURE)
    return Tracked(
        place,
        seen,
        torch.where(seen, sure, points.confidence * FADE),
        points.age + 1,
        torch.where(seen, 0.0, points.hidden + 1),
        motion,
        points.key,
        torch.where(seen[:, None, None, None], patches, points.last),
    )


def _at(values: Tensor, place: Tensor) -> Tensor:
    """(N, C): the values (C, H, W) at the places (N, 2), between pixels too."""
    sampled, _ = sample(values[None], place.T[None, :, None])
    return sampled[0, :, 0].T.contiguous()


def _inside(place: Tensor, view: View) -> Tensor:
    """(N,) bool: whether the places are in the picture."""
    height, width = view.image.shape[1:]
    last = place.new_tensor((width - 1, height - 1))
    return ((place >= -0.5) & (place <= last + 0.5)).all(1)


def _with_alike(points: Tracked, which: Tensor, look: Look, other: Look, flow: Tensor, back: Tensor) -> Tensor:
    """(M, 2): the motion of the points `which` (N,): that of cells around them that look and move as they did."""
    evidence = weigh(look, other, flow, back)
    height, width = evidence.trust.shape
    motion = points.motion[which]
    column, row = ((points.place[which] + 0.5) / look.cell).floor().long().T
    cells = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    mine = comparable(motion.T / look.cell, points.last[which].flatten(2).mean(2).T).T
    total, weight = evidence.neighbourhood.sums(evidence.flow * look.cell, cells, mine)
    # Without any, what is outside the picture moves as its border does, and what is behind something as it did.
    place = points.place[which]
    inside = _inside(place, View.of(look))[:, None]
    return torch.where(
        weight[:, None] > _LEAST, (total / weight.clamp(min=_LEAST)).T, motion.where(inside, _at(flow, place))
    )


def _without_drift(place: Tensor, which: Tensor, unlike: Tensor, keys: Tensor, view: View) -> Tensor:
    """(N, 2): the places, of which `which` (N,) are moved towards where the picture looks more like their keys."""
    moved = toward(view, place, keys)
    better = which & (differ(take_patches(view, moved), keys) < unlike)
    near = (moved - place).norm(dim=1) < DRIFT * view.apart
    return torch.where((better & near)[:, None], place + GAIN * (moved - place), place)
