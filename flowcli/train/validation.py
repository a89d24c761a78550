"""Scenes that training never sees: what a run is judged by, and where its flow is wrong."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from flowcli.models.base import FlowModel
from flowcli.train.data import fingerprint, kept
from flowcli.train.kinds import draw_scene
from flowcli.train.options import KINDS
from flowcli.train.recording import exposed
from flowcli.train.rendering import render, true_flow

SEED, HARD_SEED = 20_000_003, 30_000_001
"""Seeds of scenes that no training run has: its seeds are below 10,000."""
SCENES, HARD_SCENES = 48, 64
HARD = ("walls", "whips")
"""Kinds of the harder scenes, half of them of each."""
WINDOW, RANGE = 17, 0.03
"""An area is flat where brightness, of 1 from black to white, has no wider range in a window of so many pixels."""
FAST = 40.0
"""Pixels; longer motion is fast."""


@dataclass(frozen=True)
class Errors:
    """Mean endpoint errors in pixels: of all kinds of scenes; in flat areas and of fast motion of the harder ones.

    The latter two are of what is visible in both frames.
    """

    epe: float
    flat: float
    fast: float


@dataclass(frozen=True)
class ValidationPairs:
    """Pairs, and which of their pixels each error is measured at.

    first, second: (B, 3, H, W) uint8; flow: (B, 2, H, W) pixels; plain, flat, fast: (B, H, W) bool.
    """

    first: Tensor
    second: Tensor
    flow: Tensor
    plain: Tensor
    flat: Tensor
    fast: Tensor


def validation_pairs(
    bank: Tensor, height: int, width: int, folder: Path, announce: Callable[[str], None] = lambda text: None
) -> ValidationPairs:
    """SCENES pairs of all kinds, then HARD_SCENES walls and whips; kept in `folder` once rendered.

    announce: called before they are rendered.
    """
    own = sys.modules[__name__]
    path = folder / f"validation-size{width}x{height}-{SCENES}-{HARD_SCENES}-{fingerprint(bank, own)}.safetensors"

    def rendered() -> dict[str, Tensor]:
        announce(f"rendering {SCENES + HARD_SCENES} scenes to validate on, once")
        return vars(_rendered(bank, height, width))

    return ValidationPairs(**kept(path, rendered))


def _rendered(bank: Tensor, height: int, width: int) -> ValidationPairs:
    half = HARD_SCENES // len(HARD)
    places: list[tuple[int, int, Sequence[str]]] = [(SEED, index, KINDS) for index in range(SCENES)]
    places += [(HARD_SEED, index, (kind,)) for kind in HARD for index in range(half)]
    judged = [_judged(bank, seed, index, kinds, height, width) for seed, index, kinds in places]
    return ValidationPairs(
        *(torch.cat([vars(each)[field.name] for each in judged]) for field in dataclasses.fields(ValidationPairs))
    )


def _judged(bank: Tensor, seed: int, index: int, kinds: Sequence[str], height: int, width: int) -> ValidationPairs:
    scene = draw_scene(seed, [index], height, width, len(bank), kinds)
    first, second = exposed(scene, bank, height, width, (0.0, 1.0))
    flow, occluded = true_flow(scene, bank, height, width, 0.0, 1.0)
    (clean,) = render(scene, bank, height, width, (0.0,))
    hard = torch.tensor(seed == HARD_SEED)
    return ValidationPairs(
        first,
        second,
        flow,
        plain=torch.ones_like(occluded) & ~hard,
        flat=flat_areas(clean) & ~occluded & hard,
        fast=(flow.norm(dim=1) > FAST) & ~occluded & hard,
    )


def flat_areas(image: Tensor) -> Tensor:
    """(B, H, W) bool: where a picture (B, 3, H, W) of 0 to 1 has nothing to match, as far as WINDOW reaches."""
    brightness = image.mean(1, keepdim=True)
    highest, lowest = (sign * F.max_pool2d(sign * brightness, WINDOW, 1, WINDOW // 2) for sign in (1, -1))
    return (highest - lowest)[:, 0] < RANGE


@torch.inference_mode()
def validate(model: FlowModel, pairs: ValidationPairs, batch: int, device: torch.device) -> Errors:
    """The errors of a model on that device, which takes so many pairs at once; NaN for what there is none of."""
    sums = torch.zeros(3)
    counts = torch.zeros(3)
    for start in range(0, len(pairs.flow), batch):
        part = ValidationPairs(*(tensor[start : start + batch] for tensor in vars(pairs).values()))
        images = (image.to(device).float() / 255 for image in (part.first, part.second))
        error = (model(*images)[-1].cpu() - part.flow).norm(dim=1)
        for number, counted in enumerate((part.plain, part.flat, part.fast)):
            sums[number] += error[counted].sum()
            counts[number] += counted.sum()
    return Errors(*(sums / counts).tolist())
