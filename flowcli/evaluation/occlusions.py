"""How far occlusion masks agree with the true ones of pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np
from torch import Tensor

from flowcli.draw.occlusion import occlusion_mask
from flowcli.engine.engine import Engine
from flowcli.evaluation.datasets import Example
from flowcli.evaluation.scores import Mean, Score
from flowcli.geometry import consistency
from flowcli.types import FlowPair, Frame

Rule = Callable[[FlowPair], Tensor]
"""A pair with flow both ways -> (1, 1, H, W) bool, what the second frame does not show."""

OWN: Mapping[str, Rule] = {"": occlusion_mask}
"""The rule of `--as occlusion`."""
RULES: Mapping[str, Rule] = {
    "consistency": lambda pair: consistency(pair.forward.known[None], pair.reversed().forward.known[None])
}
"""Simpler rules to compare with, by name."""


def measure_mask(found: np.ndarray, occluded: np.ndarray, valid: np.ndarray) -> dict[str, Mean]:
    """Each of OCCLUSION_METRICS for masks (H, W) bool, over the valid pixels, so that sets add up to those of a set."""
    hits = int((found & occluded & valid).sum())
    shown, true = (int((mask & valid).sum()) for mask in (found, occluded))
    counts = {"precision": (hits, shown), "recall": (hits, true), "F1": (2 * hits, shown + true)}
    return {name: Mean(part / whole if whole else float("nan"), whole) for name, (part, whole) in counts.items()}


def evaluate_occlusions(
    engines: Mapping[str, Engine], rules: Mapping[str, Rule], examples: Sequence[Example]
) -> Iterator[Score]:
    """The score of each rule along the flow of each engine, pair by pair. Raises InputError for a damaged file.

    rules: by what their methods are called after the engine's name. examples: pairs that say what is hidden.
    """
    for example in examples:
        pictures, truth = example.pictures(), example.truth()
        assert truth.occluded is not None
        for model, engine in engines.items():
            frames = (Frame(picture, number, Fraction(number)) for number, picture in enumerate(pictures))
            start = time.perf_counter()
            pair = next(engine.pairs(frames, direction="both"))
            seconds = time.perf_counter() - start
            for name, rule in rules.items():
                start = time.perf_counter()
                found = rule(pair)[0, 0].cpu().numpy()
                spent = seconds + time.perf_counter() - start
                means = measure_mask(found, truth.occluded, truth.valid)
                yield Score(f"{model} {name}".strip(), example.group, example.name, means, spent)
