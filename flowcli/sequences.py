"""Files of frames, by the numbers in their names: sequences, gaps in them, and names of other frames."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from flowcli.inputs import natural

# The last number of a name; a minus sign belongs to it at the start, and behind a dot, a space or an underscore.
_NUMBERED = re.compile(r"(.*?)((?:(?<![^._ ])-)?\d+)(\D*)", re.DOTALL)
_LISTED = 3
"""Most gaps, and most sequences, that a message names."""


@dataclass(frozen=True)
class FrameName:
    """A file name without suffix: `head`, then `number`, padded with zeros to `width` characters, then `tail`."""

    head: str
    number: int
    width: int
    tail: str = ""

    def __str__(self) -> str:
        return f"{self.head}{self.number:0{self.width}d}{self.tail}"


@dataclass(frozen=True)
class Arrangement:
    """Files in the order of their frames."""

    files: tuple[Path, ...]
    starts: frozenset[int] = frozenset()
    """Places of files that do not follow on the one before: behind a gap, or at the start of another sequence."""
    notes: tuple[str, ...] = ()
    """What is unusual: gaps, several sequences, files that are left out since another shows the same frame."""
    numbered: bool = False
    """Whether there are two files at least whose names differ in their numbers alone."""


def parse_frame_name(stem: str) -> FrameName | None:
    """The parts of the name; None if there is no number in it."""
    match = _NUMBERED.fullmatch(stem)
    return None if match is None else FrameName(match[1], int(match[2]), len(match[2]), match[3])


def shifted(stem: str, by: int) -> str | None:
    """The name of the frame `by` numbers later, None if it has no name."""
    name = parse_frame_name(stem)
    if name is None or name.number >= 0 > name.number + by:
        return None
    return str(FrameName(name.head, name.number + by, name.width, name.tail))


def count_frames(stems: Sequence[str]) -> tuple[list[int], int]:
    """The frame numbers of these names, counted from 0, and the step between the numbers of neighbouring names.

    Where a name is missing in an even row, its number is left out; names that form no row are counted one by one.
    """
    names = [name for name in map(parse_frame_name, stems) if name is not None]
    step = _step([name.number for name in names])
    alike = len(names) == len(stems) and len({(name.head, name.tail) for name in names}) == 1
    if not alike or step is None:
        return list(range(len(stems))), 1
    return [(name.number - names[0].number) // step for name in names], step


def arrange(files: Iterable[Path], suffixes: Sequence[str]) -> Arrangement:
    """The files by sequence, and in each by number; those without a number come in natural order.

    Of two files of one frame, as f1.png and f1.jpg, one is taken: that whose suffix more files of the sequence have, or
    else the one that comes first among `suffixes`. Numbers in uneven steps, as times are, have
    no gaps.
    """
    rows = _rows(sorted(files, key=natural))
    chosen = [_chosen(row, suffixes) for row in rows]
    if not any(row.numbered and len(row.frames) > 1 for row in chosen):
        return Arrangement(tuple(sorted((file for row in rows for _, file in row.frames), key=natural)))
    ordered: list[Path] = []
    starts: set[int] = set()
    gaps: list[str] = []
    for row in chosen:
        places = _gaps(row)
        starts |= {len(ordered) + place for place in (0, *places)}
        gaps += [f"after {row.frames[place - 1][1].name} comes {row.frames[place][1].name}" for place in places]
        ordered += [file for _, file in row.frames]
    kept = set(ordered)
    left_out = [file.name for row in rows for _, file in row.frames if file not in kept]
    notes = []
    if len(rows) > 1:
        notes.append(f"{len(rows)} sequences: {listed([_span(row) for row in chosen])}")
    if gaps:
        notes.append(f"{'a gap' if len(gaps) == 1 else f'{len(gaps)} gaps'}: {listed(gaps)}")
    if left_out:
        notes.append(f"several files of one frame, left out: {listed(left_out)}")
    return Arrangement(tuple(ordered), frozenset(starts - {0}), tuple(notes), numbered=True)


def listed(texts: Sequence[str]) -> str:
    """The first texts, and how many more there are."""
    more = len(texts) - _LISTED
    return ", ".join(texts[:_LISTED]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class _Row:
    """Files whose names differ in a number alone, in its order; or all files that have no number."""

    numbered: bool
    frames: list[tuple[int, Path]]


def _rows(files: Sequence[Path]) -> list[_Row]:
    rows: dict[tuple[str, str, str] | None, list[tuple[int, Path]]] = defaultdict(list)
    for file in files:
        name = parse_frame_name(file.stem)
        key = None if name is None else (str(file.parent), name.head.lower(), name.tail.lower())
        rows[key].append((0 if name is None else name.number, file))
    for key in [key for key in rows if key is not None and key[1].endswith("-")]:
        folder, head, tail = key
        # f-1 is the frame before f0, but shot-1 is none of a sequence shot7, shot8.
        unsigned = rows.get((folder, head.removesuffix("-"), tail))
        if unsigned is not None and min(unsigned)[0] <= 1:
            unsigned += [(-number, file) for number, file in rows.pop(key)]
    return [_Row(key is not None, sorted(row, key=lambda frame: frame[0])) for key, row in rows.items()]


def _chosen(row: _Row, suffixes: Sequence[str]) -> _Row:
    """The row with one file for each number."""
    if not row.numbered:
        return row
    count = Counter(file.suffix.lower() for _, file in row.frames)
    best: dict[int, Path] = {}
    for number, file in sorted(row.frames, key=lambda frame: _rank(frame[1], count, suffixes)):
        best.setdefault(number, file)
    return _Row(True, sorted(best.items()))


def _rank(file: Path, count: Counter[str], suffixes: Sequence[str]) -> tuple[int, int]:
    suffix = file.suffix.lower()
    return -count[suffix], suffixes.index(suffix) if suffix in suffixes else len(suffixes)


def _gaps(row: _Row) -> list[int]:
    """Places in the row that do not follow on the one before."""
    numbers = [number for number, _ in row.frames]
    step = _step(numbers) if row.numbered else None
    places = [place for place, (one, other) in enumerate(pairwise(numbers), 1) if step and other - one != step]
    return places if 2 * len(places) < len(numbers) else []


def _step(numbers: Sequence[int]) -> int | None:
    """By how much neighbouring numbers differ, None if they are not in even steps."""
    gaps = [after - before for before, after in pairwise(numbers)]
    step = min(gaps, default=1)
    return None if step < 1 or any(gap % step for gap in gaps) else step


def _span(row: _Row) -> str:
    names = [file.name for _, file in row.frames]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
