"""Which frame something belongs to that is named as a frame, or by its number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from flowcli.sequences import parse_frame_name
from flowcli.types import Frame

Value = TypeVar("Value")


def by_number(named: Mapping[str, Value]) -> dict[int, Value]:
    """The values whose names end with a number, by it."""
    parsed = ((parse_frame_name(name), value) for name, value in named.items())
    return {name.number: value for name, value in parsed if name is not None}


def find_for(frame: Frame, named: Mapping[str, Value], numbers: Mapping[int, Value]) -> Value | None:
    """What belongs to the frame: what has its name, or else the number that its name ends with.

    Frames of a video are named by their number, counted from 0.
    """
    name = parse_frame_name(frame.stem)
    return named.get(frame.stem) or (None if name is None else numbers.get(name.number))
