"""Training pairs: two frames of a random scene and the exact flow between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from flowcli.train.kinds import draw_scene
from flowcli.train.options import KINDS
from flowcli.train.recording import exposed
from flowcli.train.rendering import true_flow


@dataclass(frozen=True)
class Pairs:
    """A batch of training pairs: images (B, 3, H, W) uint8 RGB, flow (B, 2, H, W) float32, occluded (B, H, W) bool."""

    first: Tensor
    second: Tensor
    flow: Tensor
    occluded: Tensor


def make_pairs(
    bank: Tensor, seed: int, indices: Iterable[int], height: int, width: int, kinds: Sequence[str] = KINDS
) -> Pairs:
    """Training pairs number `indices` of the endless set `seed`, rendered on the bank's device."""
    scene = draw_scene(seed, indices, height, width, bank.shape[0], kinds)
    first, second = exposed(scene, bank, height, width, (0.0, 1.0))
    flow, occluded = true_flow(scene, bank, height, width, 0.0, 1.0)
    return Pairs(first, second, flow, occluded)
