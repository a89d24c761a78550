"""Errors of methods against ground truth, per pair and per set, as numbers and as pictures."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from flowcli import metrics
from flowcli.draw.color import flow_to_rgb
from flowcli.engine.engine import Engine
from flowcli.evaluation.datasets import Example, Truth
from flowcli.flowfile import write_flow
from flowcli.pictures import draw_text, heat, write_picture
from flowcli.types import Frame

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two (H, W, 3) uint8 RGB pictures -> flow (2, H, W) float32, pixels."""

METRICS = ("EPE", "noc", "occ", "s0-10", "s10-40", "s40+", "Fl", "1px", "3px", "5px", "AE")
"""EPE: mean endpoint error, pixels. noc, occ: the same over pixels that the second frame shows, and does not show.
s0-10, s10-40, s40+: the same over pixels whose true flow is so many pixels long. Fl: share of errors above 3 pixels and
5 % of the true length. 1px, 3px, 5px: share of errors above that. AE: mean angular error, degrees."""
FRAME_METRICS = ("PSNR", "SSIM", "PSNR-Y", "SSIM-Y")
"""Of made frames: PSNR in decibels and SSIM, over red, green and blue, and of the luma alone (BT.601, full range)."""
MASK_METRICS = ("J", "F", "mIoU")
"""Of carried masks, 0 to 1: agreement of areas and of outlines for one thing, mean over frames; and for several labels,
intersection over union over all frames, mean over labels."""
OCCLUSION_METRICS = ("precision", "recall", "F1")
"""Of occlusion masks, 0 to 1: the share of what is found that is hidden, the share of what is hidden that is found, and
their harmonic mean."""
PER_PAIR = (*FRAME_METRICS, *MASK_METRICS)
"""Metrics of a set that are means over its pairs or clips; those of flow and of occlusion are means over its pixels, so
that EPE lies between noc and occ."""
ERROR_RANGE = (0.1, 30.0)
"""Endpoint errors, in pixels, that are black and brightest in error pictures; the scale is logarithmic."""
LABEL = 18
"""Height of the strip of text above each picture of a contact sheet, pixels."""


@dataclass(frozen=True)
class Mean:
    """A mean, and the number of pixels it is taken over; NaN over none."""

    value: float
    pixels: int


@dataclass(frozen=True)
class Score:
    """What was measured of one method on one pair, or on one clip with masks given in one way, the `group`.

    means: for METRICS, or the names of another kind; seconds: for the pair, or for a frame of the clip.
    """

    method: str
    group: str
    name: str
    means: Mapping[str, Mean]
    seconds: float


@dataclass(frozen=True)
class Summary:
    """Errors of one method on a set: `values` as in its scores, NaN over no pixel; mean `seconds` per pair."""

    method: str
    group: str
    pairs: int
    values: Mapping[str, float]
    seconds: float


def network(engine: Engine) -> Method:
    """The method that estimates flow by `engine`."""

    def method(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        frames = (Frame(image, index, Fraction(index)) for index, image in enumerate((first, second)))
        return next(engine.pairs(frames)).forward.uv.cpu().numpy()

    return method


def measure(flow: np.ndarray, truth: Truth) -> dict[str, Mean]:
    """Each of METRICS for this flow, (2, H, W) in pixels."""
    estimate, real, valid = (torch.from_numpy(array) for array in (flow, truth.flow, truth.valid))
    length = metrics.lengths(real)
    regions = {
        "EPE": valid,
        "noc": torch.zeros_like(valid),
        "occ": torch.zeros_like(valid),
        "s0-10": valid & (length < 10),
        "s10-40": valid & (length >= 10) & (length < 40),
        "s40+": valid & (length >= 40),
    }
    if truth.occluded is not None:
        occluded = torch.from_numpy(truth.occluded)
        regions |= {"noc": valid & ~occluded, "occ": valid & occluded}
    means = {name: metrics.endpoint_error(estimate, real, region) for name, region in regions.items()}
    means["Fl"] = metrics.outlier_rate(estimate, real, valid)
    means |= {f"{limit}px": metrics.pixel_rate(estimate, real, limit, valid) for limit in (1, 3, 5)}
    means["AE"] = metrics.angular_error(estimate, real, valid)
    return {name: Mean(value.item(), int(regions.get(name, valid).sum())) for name, value in means.items()}


def evaluate(methods: Mapping[str, Method], examples: Sequence[Example], save: Path | None = None) -> Iterator[Score]:
    """The score of each method on each pair, pair by pair. Raises InputError for a file that cannot be read.

    save: a folder that exists, for pictures and flow: <method>/<set>/<pair>.flo, _error.png and _sheet.png.
    """
    for number, example in enumerate(examples):
        first, second = example.pictures()
        truth = example.truth()
        for name, method in methods.items():
            if number == 0:
                # A call that does not count: it builds kernels and takes memory, which later calls find ready.
                method(first, second)
            start = time.perf_counter()
            flow = method(first, second)
            seconds = time.perf_counter() - start
            score = Score(name, example.group, example.name, measure(flow, truth), seconds)
            if save is not None:
                _save(save / name / example.group / example.name, first, flow, truth, score)
            yield score


def summarise(scores: Iterable[Score]) -> list[Summary]:
    """A summary of each method on each set, in the order of their first scores."""
    groups: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.group, score.method), []).append(score)
    return [
        Summary(
            method,
            group,
            len(found),
            {
                name: _pooled(name, [score.means[name] for score in found], _says_all(name, found))
                for name in found[0].means
            },
            statistics.mean(score.seconds for score in found),
        )
        for (group, method), found in groups.items()
    ]


def _says_all(name: str, scores: Sequence[Score]) -> bool:
    """Whether the metric counts the same pixels as EPE: what is occluded has to be known of every pair."""
    return name not in ("noc", "occ") or all(
        score.means["noc"].pixels + score.means["occ"].pixels == score.means["EPE"].pixels for score in scores
    )


def _pooled(name: str, means: Sequence[Mean], complete: bool) -> float:
    known = [mean for mean in means if mean.pixels]
    if not known or not complete:
        return math.nan
    weights = [1 if name in PER_PAIR else mean.pixels for mean in known]
    return sum(mean.value * weight for mean, weight in zip(known, weights, strict=True)) / sum(weights)


def _save(stem: Path, first: np.ndarray, flow: np.ndarray, truth: Truth, score: Score) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    write_flow(stem.with_name(stem.name + ".flo"), flow)
    error = error_picture(flow, truth)
    write_picture(stem.with_name(stem.name + "_error.png"), error)
    real, valid = torch.from_numpy(truth.flow), torch.from_numpy(truth.valid)
    length = metrics.lengths(real)[valid]
    scale = max(float(length.max()) if len(length) else 0.0, 1.0)
    panels = {
        "first frame": first,
        f"true flow, colours up to {scale:.1f} px": flow_to_rgb(real, scale, valid).numpy(),
        f"{score.method}": flow_to_rgb(torch.from_numpy(flow), scale).numpy(),
        f"endpoint error, mean {score.means['EPE'].value:.2f} px": error,
    }
    tiles = [_labelled(panel, text) for text, panel in panels.items()]
    sheet = np.concatenate([np.concatenate(tiles[:2], 1), np.concatenate(tiles[2:], 1)])
    write_picture(stem.with_name(stem.name + "_sheet.png"), sheet)


def error_picture(flow: np.ndarray, truth: Truth) -> np.ndarray:
    """(H, W, 3) uint8 RGB: brighter for larger endpoint errors, over ERROR_RANGE; grey without ground truth."""
    low, high = ERROR_RANGE
    errors = np.linalg.norm(flow - truth.flow, axis=0)
    shares = np.log(np.maximum(errors, low) / low) / math.log(high / low)
    return np.where(truth.valid[..., None], heat(shares), np.uint8(96))


def _labelled(image: np.ndarray, text: str) -> np.ndarray:
    strip = np.zeros((LABEL, image.shape[1], 3), np.uint8)
    return np.concatenate([draw_text(strip, text, 4, LABEL - 5), image])
