"""How right occlusion masks are on generated scenes, whose occlusion is known exactly: `python -m tests.occluding`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from flowcli.evaluation.occlusions import OWN, RULES, measure_mask
from flowcli.evaluation.scores import Mean
from flowcli.options import EngineOptions
from flowcli.run import find_weights, open_engine
from flowcli.train.options import KINDS
from flowcli.train.synthetic import make_pairs
from flowcli.train.textures import load_bank
from flowcli.types import Frame

SCENES = {(288, 384): (50_000_017, 56), (436, 1024): (50_000_111, 40)}
"""By height and width: the seed and the number of the scenes on which the rule was chosen."""
MOST = 0.5
"""Scenes of which more is hidden are left out: there is little flow to judge by."""


def draw(
    bank: torch.Tensor, seed: int, count: int, height: int, width: int
) -> Iterator[tuple[list[Frame], np.ndarray]]:
    """Two frames of each scene, and what the second does not show of the first, (H, W) bool."""
    for number in range(count):
        scene = make_pairs(bank, seed, [number], height, width, KINDS)
        hidden = scene.occluded[0].numpy()
        if hidden.mean() < MOST:
            images = (each[0].permute(1, 2, 0).contiguous().numpy() for each in (scene.first, scene.second))
            yield [Frame(image, index, Fraction(index)) for index, image in enumerate(images)], hidden


def total(means: list[Mean]) -> float:
    """The mean over the pixels of all scenes."""
    known = [each for each in means if each.pixels]
    return sum(each.value * each.pixels for each in known) / sum(each.pixels for each in known)


def main() -> None:
    """Prints a line for each rule and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=None, help="of each size  [default: all]")
    parser.add_argument("--model", default="rpwc")
    parser.add_argument("--textures", type=Path, default=None, help="a folder of photos for the scenes")
    parser.add_argument("--others", action="store_true", help="scenes on which nothing was chosen")
    options = parser.parse_args()
    bank = load_bank(options.textures)
    engine_options = EngineOptions(options.model, device="cpu")
    engine = open_engine(find_weights(engine_options), engine_options)
    rules = {"as written": OWN[""], "flow forth and back alone": RULES["consistency"]}
    for (height, width), (seed, most) in SCENES.items():
        found: dict[str, list[dict[str, Mean]]] = {name: [] for name in rules}
        for frames, hidden in draw(bank, seed + options.others, options.scenes or most, height, width):
            pair = next(engine.pairs(iter(frames), direction="both"))
            for name, rule in rules.items():
                mask = rule(pair)[0, 0].numpy()
                found[name].append(measure_mask(mask, hidden, np.ones_like(hidden)))
        for name, scores in found.items():
            values = (f"{key} {total([each[key] for each in scores]):.3f}" for key in scores[0])
            print(f"{width}x{height} {len(scores):3} scenes  {name:26}", *values, flush=True)


if __name__ == "__main__":
    main()
