"""How far carried masks agree with true ones, over sequences with a mask for every frame."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from flowcli.carry.agreement import Agreement
from flowcli.carry.keys import Masks, check_size, find_masks
from flowcli.errors import InputError
from flowcli.evaluation.carriers import Carrier
from flowcli.evaluation.options import MaskOptions
from flowcli.evaluation.regions import outline_agreement, overlap
from flowcli.evaluation.scores import Mean, Score
from flowcli.pictures import PICTURE_SUFFIXES
from flowcli.video import open_source

SPANS = (10, 25)
"""Over how many frames one mask is carried on."""
STEP = 20
"""Every how many frames such a mask is given."""
_FOLDERS = {"frames": "masks", "JPEGImages": "Annotations"}
"""Names of the folders of pictures, and of masks: NAME/frames, or JPEGImages/480p/NAME as DAVIS has it."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames, and a mask for each."""

    name: str
    frames: Path
    masks: Masks

    @property
    def files(self) -> list[Path]:
        """The masks, in the order of the frames."""
        return list(self.masks.files.values())


@dataclass(frozen=True)
class Trial:
    """What is carried at once: the masks of the frames `keys` over the frames from the first of them on."""

    keys: tuple[int, ...]
    stop: int
    measured: Mapping[str, range]
    """Frames that count, by what the measurement is called; key frames do not."""


def find_clips(folder: Path) -> list[Clip]:
    """All sequences in `folder`, sorted. Raises InputError if there are none, or a frame or a mask is alone."""
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}", "check the name")
    found = []
    for frames in sorted(each for each in folder.rglob("*") if each.is_dir()):
        parts = frames.relative_to(folder).parts
        place = next((place for place, part in enumerate(parts) if part in _FOLDERS), None)
        if place is None:
            continue
        masks = Path(folder, *parts[:place], _FOLDERS[parts[place]], *parts[place + 1 :])
        stems = sorted(each.stem for each in frames.iterdir() if each.suffix.lower() in PICTURE_SUFFIXES)
        if stems and masks.is_dir():
            own = frames if parts[place + 1 :] else frames.parent
            found.append(_open_clip(own.resolve().name, frames, stems, find_masks(str(masks))))
    if not found:
        hint = "folders NAME/frames and NAME/masks are looked for, or JPEGImages/480p/NAME and Annotations/480p/NAME"
        raise InputError(f"no sequences with masks in {folder}", hint)
    return found


def _open_clip(name: str, frames: Path, stems: Sequence[str], masks: Masks) -> Clip:
    alone = sorted(set(stems).symmetric_difference(masks.files))
    if alone:
        raise InputError(
            f"{alone[0]} has only a frame, or only a mask, in {frames} and {masks.text}", "each needs both"
        )
    return Clip(name, frames, masks)


def trials(count: int, every: int) -> list[Trial]:
    """What is carried over a clip of `count` frames: single masks onwards, then one of `every` Nth frame to others."""
    found = []
    for start in range(0, count - SPANS[0], STEP):
        spans = {f"first {span}": range(start + 1, min(count, start + 1 + span)) for span in SPANS}
        found.append(Trial((start,), min(count, start + 1 + SPANS[-1]), spans))
    keys = tuple(range(0, count, every))
    if len(keys) > 1:
        found.append(Trial(keys, keys[-1] + 1, {f"every {every}": range(keys[-1])}))
    return found


def count_scores(clips: Sequence[Clip], options: MaskOptions) -> int:
    """How many scores `evaluate_masks` gives of each method."""
    return sum(
        len({name for trial in trials(len(clip.files), options.interval) for name in trial.measured}) for clip in clips
    )


def evaluate_masks(carriers: Mapping[str, Carrier], clips: Sequence[Clip], options: MaskOptions) -> Iterator[Score]:
    """The scores of each method on each clip, clip by clip: one for each way in which masks are given.

    A clip with one label beside 0 has J and F, the means over its frames; one with several has the mean IoU of all
    its labels. Raises InputError for a file that cannot be read, and sizes that differ.
    """
    for clip in clips:
        several = _has_several(clip, options.ignore)
        for name, carrier in carriers.items():
            found: dict[str, _Found] = {}
            for trial in trials(len(clip.files), options.interval):
                _try(clip, carrier, trial, options.ignore, several, found)
            for group, each in found.items():
                yield Score(name, group, clip.name, each.means(), each.seconds / each.frames)


def _has_several(clip: Clip, ignore: int | None) -> bool:
    """Whether there are several labels beside 0."""
    seen: set[int] = set()
    for file in clip.files:
        seen.update(clip.masks.read(file, "labels").unique().tolist())
    return len(seen - {0, ignore}) > 1


@dataclass
class _Found:
    """What is measured of one method on one clip, for one way in which masks are given."""

    areas: list[float] = field(default_factory=list)
    outlines: list[float] = field(default_factory=list)
    classes: Agreement = field(default_factory=Agreement)
    seconds: float = 0.0
    frames: int = 0
    """For which these seconds were taken."""

    def add(self, found: torch.Tensor, truth: torch.Tensor, ignore: int | None, several: bool) -> None:
        """Both (H, W) int32, of one frame."""
        counts = torch.ones_like(truth, dtype=torch.bool) if ignore is None else truth != ignore
        if several:
            self.classes.add("classes", found[counts], truth[counts])
            return
        one, other = ((each.ne(0) & counts).numpy() for each in (found, truth))
        self.areas.append(overlap(one, other))
        self.outlines.append(outline_agreement(one, other))

    def means(self) -> dict[str, Mean]:
        """Each of MASK_METRICS, and the number of frames that it is of."""
        values = {"J": self.areas, "F": self.outlines}
        means = {name: Mean(statistics.fmean(each) if each else math.nan, len(each)) for name, each in values.items()}
        miou = self.classes.summary().get("miou")
        return {**means, "mIoU": Mean(math.nan if miou is None else miou, self.classes.frames)}


def _try(
    clip: Clip, carrier: Carrier, trial: Trial, ignore: int | None, several: bool, found: dict[str, _Found]
) -> None:
    """Carries, and adds what is measured to `found`."""
    keys = {key: clip.masks.read(clip.files[key], "labels") for key in trial.keys}
    start = trial.keys[0]
    began = time.perf_counter()
    with open_source(str(clip.frames), start=start, stop=trial.stop) as frames:
        check_size(clip.masks, frames.info.height, frames.info.width, str(clip.frames))
        for index, labels in enumerate(carrier(frames, keys), start):
            spent = time.perf_counter() - began
            truth = clip.masks.read(clip.files[index], "labels")
            for name, measured in trial.measured.items():
                each = found.setdefault(name, _Found())
                each.seconds += spent
                each.frames += 1
                if index in measured and index not in keys:
                    each.add(labels, truth, ignore, several)
            began = time.perf_counter()
