"""Errors of made frames against frames that were recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from flowcli import metrics
from flowcli.errors import InputError
from flowcli.evaluation.scores import FRAME_METRICS, Mean, Score
from flowcli.inputs import find_input
from flowcli.interpolation.making import make_frames
from flowcli.interpolation.run import Tools
from flowcli.pictures import PICTURE_SUFFIXES, read_picture
from flowcli.types import Frame
from flowcli.video import open_source

NUMBERS = ("0", "1", "2")
"""Names of the pictures of a triplet; the one in the middle is the truth, half way between the others."""


@dataclass(frozen=True, eq=False)
class Example:
    """Two pictures with recorded ones between them, all (H, W, 3) uint8 RGB.

    truths: by how far they are from the first to the second, 0 to 1. around: those before and after, if there are any.
    """

    group: str
    name: str
    first: np.ndarray
    second: np.ndarray
    truths: Mapping[Fraction, np.ndarray]
    around: tuple[np.ndarray | None, np.ndarray | None] = (None, None)


FrameMethod = Callable[[Example, Sequence[Fraction]], Iterable[np.ndarray]]
"""Makes a picture for each place between the pictures of the example, without looking at its truths."""


def made_by(tools: Tools) -> FrameMethod:
    """The method that `flowcli interpolate` has."""

    def method(example: Example, places: Sequence[Fraction]) -> Iterator[np.ndarray]:
        pair = (Frame(image, index, Fraction(index)) for index, image in enumerate((example.first, example.second)))
        yield from (frame.image for frame in make_frames(pair, places, tools.synthesiser, tools.engine))

    return method


@dataclass(frozen=True)
class Triplet:
    """Three pictures in a row. `group`: the set that they belong to."""

    group: str
    name: str
    files: tuple[Path, Path, Path]

    def read(self) -> Example:
        """Raises InputError for a picture that cannot be read, or sizes that differ."""
        first, truth, second = map(read_picture, self.files)
        for file, image in zip(self.files[1:], (truth, second), strict=True):
            if image.shape != first.shape:
                raise InputError(f"{file} has another size than {self.files[0]}", "make all pictures the same size")
        return Example(self.group, self.name, first, second, {Fraction(1, 2): truth})


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


def leave_out(text: str, every: int) -> Iterator[Example]:
    """Of each video or folder of frames that `text` names, pairs of frames `every` apart, and those between them.

    Raises InputError for one that cannot be read, or that has too few frames.
    """
    for path in find_input(text).paths:
        name = "/".join(path.parts[-2:]) if path.is_dir() else path.name
        last: _Gap | None = None
        with open_source(str(path)) as frames:
            gaps = _gaps(frames, every)
            gap = next(gaps, None)
            if gap is None:
                raise InputError(f"{path} has fewer than {every + 1} frames", "choose a smaller --every")
            while gap is not None:
                after = next(gaps, None)
                around = None if last is None else last.first.image, None if after is None else after.second.image
                truths = {Fraction(number, every): image for number, image in enumerate(gap.between, 1)}
                yield Example(
                    f"1 of {every}", f"{name}/{gap.first.stem}", gap.first.image, gap.second.image, truths, around
                )
                last, gap = gap, after


@dataclass(frozen=True, eq=False)
class _Gap:
    first: Frame
    between: list[np.ndarray]
    second: Frame


def _gaps(frames: Iterable[Frame], every: int) -> Iterator[_Gap]:
    first: Frame | None = None
    between: list[np.ndarray] = []
    for number, frame in enumerate(frames):
        if number % every:
            between.append(frame.image)
            continue
        if first is not None:
            yield _Gap(first, between, frame)
        first, between = frame, []


def evaluate_frames(methods: Mapping[str, FrameMethod], examples: Iterable[Example]) -> Iterator[Score]:
    """The score of each method on each recorded frame, in groups by their places if there are several."""
    for example in examples:
        places = list(example.truths)
        for name, method in methods.items():
            start = time.perf_counter()
            images = list(method(example, places))
            seconds = (time.perf_counter() - start) / len(places)
            for place, image in zip(places, images, strict=True):
                group = f"{example.group}, t = {place}" if len(places) > 1 else example.group
                yield Score(name, group, example.name, measure_frame(image, example.truths[place]), seconds)


def measure_frame(image: np.ndarray, truth: np.ndarray) -> dict[str, Mean]:
    """Each of FRAME_METRICS for the picture, both (H, W, 3) uint8 RGB."""
    pictures = [torch.from_numpy(each).permute(2, 0, 1).double() for each in (image, truth)]
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    lumas = [(weights * each).sum(0, keepdim=True) for each in pictures]
    values = [measure(*each) for each in (pictures, lumas) for measure in (metrics.psnr, metrics.ssim)]
    return {name: Mean(value.item(), truth[..., 0].size) for name, value in zip(FRAME_METRICS, values, strict=True)}
