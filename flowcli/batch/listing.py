"""The files of a folder, in few words: frames have numbers, and ten thousand of their names are one run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

Run = tuple[str, int]
"""A name and how many there are: in each one after it the last number is one more, as wide as in the first."""

_NUMBER = re.compile(r"(.*?)([0-9]{1,18})([^0-9]*)", re.DOTALL)


def runs(names: Iterable[str]) -> tuple[Run, ...]:
    """These names, sorted."""
    ordered = sorted(set(names))
    starts = [0, *(i for i, (one, other) in enumerate(pairwise(ordered), 1) if _after(one) != other), len(ordered)]
    return tuple((ordered[start], end - start) for start, end in pairwise(starts) if end > start)


def names(listed: Iterable[Run]) -> Iterator[str]:
    """The names of these runs."""
    for name, count in listed:
        for _ in range(count):
            yield name
            name = _after(name)


def _after(name: str) -> str:
    """The name with the next number; the same if it has none."""
    match = _NUMBER.fullmatch(name)
    if match is None:
        return name
    head, number, tail = match.groups()
    return f"{head}{int(number) + 1:0{len(number)}d}{tail}"
