"""Files of points: which point is where on which frame."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowcli.carry.frames import by_number, find_for
from flowcli.errors import InputError
from flowcli.types import Frame

NEEDED = ("x", "y")
SHAPE = 'points are a table with columns frame, id, x and y, or as JSON [{"frame": 0, "id": "nose", "x": 8, "y": 5.5}]'
_HIDDEN = {"0", "false", "no"}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?")
_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class Key:
    """A place that is given."""

    point: int
    """The number of the point."""
    x: float
    y: float


@dataclass(eq=False)
class Points:
    """Points with their keys; the keys of a frame can be taken once."""

    text: str
    """The file that they come from."""
    names: tuple[str, ...]
    """By the numbers of the points."""
    first: list[Key]
    """Keys of the first frame, whatever its name."""
    named: dict[str, list[Key]]
    """By the names, or numbers, of frames."""
    numbers: dict[int, list[Key]] = field(init=False)
    _seen: set[int] = field(default_factory=set)
    """The lists that were taken."""
    _begun: bool = False

    def __post_init__(self) -> None:
        self.numbers = by_number(self.named)

    @property
    def left(self) -> bool:
        """Whether keys are left that were not taken."""
        return len(self._seen) < len(self.named)

    @property
    def lost(self) -> str | None:
        """The first frame whose keys were not taken."""
        return next((name for name, keys in self.named.items() if id(keys) not in self._seen), None)

    def take(self, frame: Frame) -> list[Key]:
        """The keys of the next frame."""
        first = [] if self._begun else self.first
        self._begun = True
        keys = find_for(frame, self.named, self.numbers)
        if keys is None:
            return first
        self._seen.add(id(keys))
        return [*first, *keys]


def read_points(path: Path) -> Points:
    """The points in a table (.csv, also with semicolons or tabs), or in .json or .jsonl, as `flowcli propagate` writes.

    A row has x and y, in pixels, with the centre of the first pixel at 0, 0; `frame`, the name or the number of its
    frame, or none for the first frame; and `id`, the name of its point, or none for a point of its own. Rows with
    `visible` 0 or false are passed over, and so are other columns. Raises InputError.
    """
    rows = list(_rows(path))
    labelled = any("id" in row for _, row in rows)
    points: dict[str, int] = {}
    first: list[Key] = []
    named: dict[str, list[Key]] = {}
    for number, (place, row) in enumerate(rows):
        if str(row.get("visible", "")).strip().lower() in _HIDDEN:
            continue
        x, y = (_coordinate(row, name, place, path) for name in NEEDED)
        name = str(row.get("id", "")).strip() if labelled else str(number)
        if not name:
            raise InputError(f"no id in {place} of {path}, but elsewhere", "give each point an id, or none")
        frame = _frame(row, place, path)
        keys = named.setdefault(frame, []) if frame else first
        point = points.setdefault(name, len(points))
        if any(key.point == point for key in keys):
            raise InputError(
                f"point {name} comes twice on {f'frame {frame}' if frame else 'the first frame'}: {place} of {path}",
                "leave one out, or give each point an id of its own",
            )
        keys.append(Key(point, x, y))
    if not points:
        raise InputError(f"no points in {path}", SHAPE)
    return Points(str(path), tuple(points), first, named)


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row, with what to call it."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path} has more than {_MOST_BYTES >> 20} MB", "give fewer points")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", "check the name and the permissions") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8", SHAPE) from error
    suffix = path.suffix.lower()
    if suffix == ".csv":
        yield from _table(text, path)
    elif suffix in (".json", ".jsonl"):
        yield from _objects(text, suffix == ".jsonl", path)
    else:
        raise InputError(f"unknown suffix {path.suffix or '(none)'}: {path}", "points are in a .csv, .json or .jsonl")


def _table(text: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    head = text.partition("\n")[0]
    mark = max(",;\t", key=head.count)
    reader = csv.reader(text.splitlines(), delimiter=mark, strict=True)
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        if columns:
            _check_columns(columns, path)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(columns):
                raise InputError(
                    f"line {reader.line_num} of {path} has {len(row)} columns, its first line {len(columns)}",
                    "write one point in each line",
                )
            yield f"line {reader.line_num}", dict(zip(columns, row, strict=True))
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} of {path} is damaged: {error}", SHAPE) from error


def _objects(text: str, lines: bool, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()] if lines else json.loads(text or "[]")
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {path}", SHAPE) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"no list of points: {path}", SHAPE)
    for number, row in enumerate(rows):
        row = {key.lower(): value for key, value in row.items() if value is not None}
        _check_columns(list(row), path)
        yield f"entry {number}", row


def _check_columns(columns: list[str], path: Path) -> None:
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise InputError(f"no {' and no '.join(missing)} in {path}, but {', '.join(columns)}", SHAPE)


def _frame(row: Mapping[str, Any], place: str, path: Path) -> str:
    """The name of the frame, or its number; "" for the first one."""
    word = str(row.get("frame", "")).strip()
    if not _NUMBER.fullmatch(word):
        return word
    number = float(word)
    if number < 0 or number != int(number):
        raise InputError(f"frame is {word} in {place} of {path}", "frames have names, or numbers counted from 0")
    return str(int(number))


def _coordinate(row: Mapping[str, Any], name: str, place: str, path: Path) -> float:
    value = row[name]
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} is {value!r} in {place} of {path}", "coordinates are numbers of pixels")
    return number
