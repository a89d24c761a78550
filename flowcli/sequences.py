"""File names of image sequences, which end in a frame number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_NUMBERED = re.compile(r"(.*?)(\d{1,9})")


@dataclass(frozen=True)
class FrameName:
    """A file name without suffix: `prefix`, then `number`, padded with zeros to `digits` digits."""

    prefix: str
    number: int
    digits: int

    def __str__(self) -> str:
        return f"{self.prefix}{self.number:0{self.digits}d}"


def parse_frame_name(stem: str) -> FrameName | None:
    """The parts of the name, None if it does not end in a number."""
    match = _NUMBERED.fullmatch(stem)
    return None if match is None else FrameName(match[1], int(match[2]), len(match[2]))


def shifted(stem: str, by: int) -> str | None:
    """The name of the frame `by` numbers later, None if it has no name."""
    name = parse_frame_name(stem)
    if name is None or name.number + by < 0:
        return None
    return str(FrameName(name.prefix, name.number + by, name.digits))


def count_frames(stems: Sequence[str]) -> tuple[list[int], int]:
    """The frame numbers of these names, counted from 0, and the step between the numbers of neighbouring names.

    Where a name is missing in an even row, its number is left out; names that form no row are counted one by one.
    """
    names = [name for name in map(parse_frame_name, stems) if name is not None]
    gaps = [after.number - before.number for before, after in pairwise(names)]
    step = min(gaps, default=1)
    alike = len(names) == len(stems) and len({name.prefix for name in names}) == 1
    if not alike or step < 1 or any(gap % step for gap in gaps):
        return list(range(len(stems))), 1
    return [(name.number - names[0].number) // step for name in names], step
