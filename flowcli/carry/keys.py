"""Key frames: which frames have a mask, and what is in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from flowcli.carry.forms import Form, read_form, read_mask
from flowcli.carry.frames import by_number, find_for
from flowcli.errors import InputError
from flowcli.inputs import find_input
from flowcli.types import Frame

Content = Literal["labels", "soft"]
"""Numbers of things, or how much of each pixel belongs to one."""
_SUFFIXES = {".png"}


@dataclass(frozen=True, eq=False)
class Masks:
    """The masks of key frames, of one size, and stored alike."""

    text: str
    """What names them."""
    files: dict[str, Path]
    """By their names without suffix."""
    numbers: dict[int, Path]
    """By the numbers that their names end with."""
    size: tuple[int, int]
    """Height and width."""
    form: Form
    first: bool = False
    """Whether it is one file, which is the mask of the first frame, whatever its name."""

    def find(self, frame: Frame, first: bool) -> Path | None:
        """The mask of a frame: the one with its name, or with the number that its name ends with.

        first: whether it is the first frame.
        """
        if self.first:
            return next(iter(self.files.values())) if first else None
        return find_for(frame, self.files, self.numbers)

    def read(self, path: Path, content: Content) -> torch.Tensor:
        """(H, W) int32 labels, or (1, H, W) float32 from 0 to 1. Raises InputError."""
        values = torch.from_numpy(read_mask(path, self.form))
        return values if content == "labels" else values[None].float() / 255


def find_masks(text: str) -> Masks:
    """The masks that `text` names: a folder or a pattern of PNG files, or one file for the first frame.

    Only headers are read. Raises InputError if there are none, one cannot be read, or they differ in size or kind.
    """
    given = find_input(text)
    files = given.files(_SUFFIXES)
    if not files:
        raise InputError(f"no masks in {text}", "put at least one PNG there, named as its frame")
    form, size = read_form(files[0])
    for file in files[1:]:
        other, other_size = read_form(file)
        if other.mode != form.mode:
            raise InputError(
                f"{file} is stored as {other.mode}, but {files[0]} as {form.mode}", "store all masks in the same form"
            )
        if other_size != size:
            raise InputError(f"{file} is {_shown(other_size)}, but {files[0]} is {_shown(size)}", "make masks one size")
        if len(other.palette) > len(form.palette):
            form = replace(form, palette=other.palette, transparency=other.transparency)
    named = {file.stem: file for file in files}
    return Masks(text, named, by_number(named), size, form, first=given.form == "file")


def find_content(masks: Masks) -> Content:
    """What is in the first mask: it is soft if most of it is black or white, and the rest many greys, dark and light.

    Raises InputError if it is damaged.
    """
    if masks.form.mode != "L":
        return "labels"
    values = read_mask(next(iter(masks.files.values())), masks.form)
    counts = np.bincount(values.ravel(), minlength=256)
    between = np.flatnonzero(counts[1:255]) + 1
    most = counts[0] + counts[255] > values.size / 2
    soft = counts[255] and most and (between < 128).sum() > 4 and (between >= 128).sum() > 4
    return "soft" if soft else "labels"


def check_size(masks: Masks, height: int, width: int, source: str) -> None:
    """Raises InputError if the frames of `source` have another size than the masks."""
    if masks.size != (height, width):
        raise InputError(
            f"masks in {masks.text} are {_shown(masks.size)}, but frames of {source} are {width}x{height}",
            "make them the same size",
        )


def check_used(masks: Masks, seen: Iterable[Path], frames: int) -> None:
    """Raises InputError if there is a mask without a frame. seen: those that had one; frames: how many there are."""
    seen = set(seen)
    lost = next((file for file in masks.files.values() if file not in seen), None)
    if lost is not None:
        raise InputError(
            f"no frame for mask {lost}, there are {frames} frames", "give masks the names or the numbers of frames"
        )


def _shown(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
