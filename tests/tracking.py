"""How well points are tracked on generated scenes whose motion is known exactly: `python -m tests.tracking`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from flowcli.carry.pointfiles import Key, Points
from flowcli.carry.points import carry_points
from flowcli.engine.schedule import Consecutive
from flowcli.geometry import consistency, sample
from flowcli.options import EngineOptions
from flowcli.run import find_weights, open_engine
from flowcli.train.kinds import draw_scene
from flowcli.train.rendering import render, true_flow
from flowcli.train.textures import load_bank
from flowcli.types import Frame, FrameFlows

SEED = 20_000_029
"""Scenes that no training seed reaches."""
HEIGHT, WIDTH, LENGTH = 256, 384, 24
STEP = 0.25
"""Of the time between the frames that networks are trained on: motion is so many times as fast."""
THRESHOLDS = (1, 2, 4, 8, 16)
"""Pixels, as in TAP-Vid, Doersch and others 2022, arXiv:2211.03726, on frames of 256 x 256."""
KINDS = ("mixed", "depth", "bodies")


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames, and where points are that one frame, or two, have keys for."""

    frames: list[Frame]
    keys: tuple[int, ...]
    truth: np.ndarray
    """(T, N, 2): x, y."""
    seen: np.ndarray
    """(T, N) bool."""


@dataclass(frozen=True, eq=False)
class Found:
    """Where points were found, as the truth of a clip; NaN where they are not known."""

    place: np.ndarray
    seen: np.ndarray


def draw_clip(bank: torch.Tensor, number: int, key: int) -> Clip:
    """The clip `number`, with points in a grid on frame `key`."""
    scene = draw_scene(SEED, [number], HEIGHT, WIDTH, len(bank), KINDS)
    times = [STEP * (index - LENGTH // 2) for index in range(LENGTH)]
    images = [image[0].clamp(0, 1).mul(255).round().byte() for image in render(scene, bank, HEIGHT, WIDTH, times)]
    frames = [
        Frame(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), index, Fraction(index, 25))
        for index, image in enumerate(images)
    ]
    y, x = np.mgrid[8:HEIGHT:16, 8:WIDTH:16]
    start = np.stack((x, y), axis=-1).reshape(-1, 2)
    truth, seen = [], []
    for time in times:
        flow, hidden = (each[0].numpy() for each in true_flow(scene, bank, HEIGHT, WIDTH, times[key], time))
        truth.append(start + flow[:, start[:, 1], start[:, 0]].T)
        seen.append(~hidden[start[:, 1], start[:, 0]])
    return Clip(frames, (key,), np.array(truth), np.array(seen))


def with_both_ends(clip: Clip) -> Clip:
    """The points that show on the first and the last frame, with keys on both."""
    both = clip.seen[0] & clip.seen[-1]
    return Clip(clip.frames, (0, LENGTH - 1), clip.truth[:, both], clip.seen[:, both])


def track(clip: Clip, flows: Sequence[FrameFlows]) -> Found:
    """As `flowcli propagate --points`."""
    count = clip.truth.shape[1]
    named = {str(key): [Key(point, *clip.truth[key, point].tolist()) for point in range(count)] for key in clip.keys}
    points = Points("points.csv", tuple(map(str, range(count))), [], named)
    values = [each.value for each in carry_points(flows, points, ahead=LENGTH)]
    place = [np.full((count, 2), np.nan) if each is None else each.place.numpy() for each in values]
    seen = [np.zeros(count, bool) if each is None else each.seen.numpy() for each in values]
    return Found(np.array(place), np.array(seen))


def chain(clip: Clip, flows: Sequence[FrameFlows]) -> Found:
    """Flow after flow; a point is hidden for good where flow and its way back disagree."""
    place, seen = np.empty_like(clip.truth), np.empty_like(clip.seen)
    (key,) = clip.keys
    for way in ways(key):
        at, shows = torch.from_numpy(clip.truth[key]).float(), torch.from_numpy(clip.seen[key])
        place[key], seen[key] = clip.truth[key], clip.seen[key]
        for before, index in pairwise(way):
            pair = flows[min(index, before)].pairs[0]
            pair = pair if index > before else pair.reversed()
            there, back = pair.forward.uv[None], pair.reversed().forward.uv[None]
            layers = torch.cat((there, consistency(there, back).float()), dim=1)
            sampled = sample(layers, at.T[None, :, None])[0][0, :, 0]
            at, shows = at + sampled[:2].T, shows & (sampled[2] < 0.5)
            place[index], seen[index] = at.numpy(), shows.numpy()
    return Found(place, seen)


def ways(key: int) -> tuple[range, range]:
    """The frames from the key on, and back."""
    return range(key, LENGTH), range(key, -1, -1)


def score(clips: Sequence[tuple[Clip, Found]]) -> dict[str, float]:
    """Over all points and frames without keys.

    error: median distance of points that show, pixels. near: share of them that are nearer than a threshold, mean over
    THRESHOLDS. visible: share of points for which it is right whether they show. jaccard: both in one, as TAP-Vid has
    it. again: as near, of points that show again after they were hidden.
    """
    distances, again, right, hits, total = [], [], [], np.zeros(len(THRESHOLDS)), np.zeros(len(THRESHOLDS))
    for clip, found in clips:
        free = [index for index in range(LENGTH) if index not in clip.keys]
        far = np.nan_to_num(np.linalg.norm(found.place - clip.truth, axis=2), nan=np.inf)
        was_hidden = np.zeros_like(clip.seen)
        for way in ways(clip.keys[0]):
            for before, index in pairwise(way):
                was_hidden[index] = was_hidden[before] | ~clip.seen[before]
        distances.append(far[free][clip.seen[free]])
        again.append(far[clip.seen & was_hidden])
        right.append((found.seen[free] == clip.seen[free]).ravel())
        for number, most in enumerate(THRESHOLDS):
            good = (far[free] < most) & clip.seen[free]
            hits[number] += (good & found.seen[free]).sum()
            total[number] += (clip.seen[free] | found.seen[free] & ~good).sum()
    near, near_again = (
        np.mean([(np.concatenate(each) < most).mean() for most in THRESHOLDS]) for each in (distances, again)
    )
    return {
        "error": float(np.median(np.concatenate(distances))),
        "near": float(near),
        "visible": float(np.concatenate(right).mean()),
        "jaccard": float((hits / total).mean()),
        "again": float(near_again),
    }


def main() -> None:
    """Prints a line for each way to track."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--model", default="rpwc")
    parser.add_argument("--textures", type=Path, default=None, help="a folder of photos for the scenes")
    options = parser.parse_args()
    bank = load_bank(options.textures)
    engine_options = EngineOptions(options.model, device="cpu")
    engine = open_engine(find_weights(engine_options), engine_options)
    results: dict[str, list[tuple[Clip, Found]]] = {
        "flow after flow": [],
        "points": [],
        "points, keys at both ends": [],
    }
    for number in range(options.clips):
        clip = draw_clip(bank, number, key=number % 2 * (LENGTH // 2))
        flows = list(engine.link(clip.frames, Consecutive("both")))
        ends = with_both_ends(clip)
        found = (chain(clip, flows), track(clip, flows), track(ends, flows))
        for known, each, clip_ in zip(results.values(), found, (clip, clip, ends), strict=True):
            known.append((clip_, each))
    for name, pairs in results.items():
        print(f"{name:28}", *(f"{key} {value:.3f}" for key, value in score(pairs).items()))


if __name__ == "__main__":
    main()
