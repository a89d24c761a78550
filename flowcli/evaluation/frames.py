"""Errors of made frames against frames that were recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from flowcli import metrics
from flowcli.engine.engine import Engine
from flowcli.errors import InputError
from flowcli.evaluation.scores import FRAME_METRICS, Mean, Score
from flowcli.interpolation.making import Synthesiser, make_frames
from flowcli.pictures import PICTURE_SUFFIXES, read_picture
from flowcli.types import Frame

NUMBERS = ("0", "1", "2")
"""Names of the pictures of a triplet; the one in the middle is the truth, half way between the others."""


@dataclass(frozen=True)
class Triplet:
    """Three pictures in a row. `group`: the set that they belong to."""

    group: str
    name: str
    files: tuple[Path, Path, Path]


def find_triplets(folder: Path) -> list[Triplet]:
    """All folders in `folder` with pictures called 0, 1 and 2, sorted. Raises InputError if there are none."""
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}", "check the name")
    found = []
    for first in sorted(folder.rglob("0.*")):
        files = tuple(first.with_stem(number) for number in NUMBERS)
        if first.suffix.lower() in PICTURE_SUFFIXES and all(file.is_file() for file in files):
            found.append(Triplet(first.parent.parent.name, first.parent.name, (files[0], files[1], files[2])))
    if not found:
        raise InputError(f"no triplets in {folder}", "folders SET/NAME with the pictures 0, 1 and 2 are looked for")
    return found


def evaluate_frames(
    methods: Mapping[str, Synthesiser], engine: Engine | None, triplets: Sequence[Triplet]
) -> Iterator[Score]:
    """The score of each method on each triplet. engine: estimates the flow, for methods that need it.

    Raises InputError for a picture that cannot be read, or sizes that differ.
    """
    for triplet in triplets:
        first, truth, second = map(read_picture, triplet.files)
        for file, image in zip(triplet.files[1:], (truth, second), strict=True):
            if image.shape != first.shape:
                raise InputError(f"{file} has another size than {triplet.files[0]}", "make all pictures the same size")
        for name, method in methods.items():
            start = time.perf_counter()
            pair = (Frame(image, index, Fraction(index)) for index, image in enumerate((first, second)))
            (made,) = make_frames(pair, [Fraction(1, 2)], method, engine)
            seconds = time.perf_counter() - start
            yield Score(name, triplet.group, triplet.name, measure_frame(made.image, truth), seconds)


def measure_frame(image: np.ndarray, truth: np.ndarray) -> dict[str, Mean]:
    """Each of FRAME_METRICS for the picture, both (H, W, 3) uint8 RGB."""
    pictures = [torch.from_numpy(each).permute(2, 0, 1).double() for each in (image, truth)]
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    lumas = [(weights * each).sum(0, keepdim=True) for each in pictures]
    values = [measure(*each) for each in (pictures, lumas) for measure in (metrics.psnr, metrics.ssim)]
    return {name: Mean(value.item(), truth[..., 0].size) for name, value in zip(FRAME_METRICS, values, strict=True)}
