"""Parsers for the values of options."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import click

from flowcli.output.kinds import parse_kind


class Value(click.ParamType[Any]):
    """The type of an option whose text `parse` reads; the ValueError of `parse` says what is expected."""

    name = "value"

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self.parse = parse

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except ValueError as error:
            self.fail(f"{value!r} is not {error}", parameter, context)


def parse_time(text: str) -> int | Fraction:
    """A frame number, or seconds as a Fraction: `250`, `2.5s`, `1:02.5`, `00:01:02.5`. Raises ValueError."""
    if re.fullmatch(r"[0-9]+", text):
        return int(text)
    if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)s", text):
        return Fraction(match[1])
    if match := re.fullmatch(r"(?:([0-9]+):)?([0-9]+):([0-9]+(?:\.[0-9]+)?)", text):
        return int(match[1] or 0) * 3600 + int(match[2]) * 60 + Fraction(match[3])
    raise ValueError("a frame number (250) or a time (2.5s, 00:01:02.5)")


def parse_rate(text: str) -> Fraction:
    """Frames per second: `25`, `29.97`, `30000/1001`. Raises ValueError."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise ValueError("a number of frames per second (25, 29.97, 30000/1001)")
    return rate


def parse_pixels(text: str) -> float:
    """Pixels above 0. Raises ValueError."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise ValueError("a number of pixels above 0")
    return number


def parse_max_flow(text: str) -> float | None:
    """Pixels, None for `auto`. Raises ValueError."""
    try:
        return None if text == "auto" else parse_pixels(text)
    except ValueError as error:
        raise ValueError(f"{error}, or auto") from error


def parse_tile(text: str) -> int | None:
    """Pixels, None for `auto`, 0 for `off`. Raises ValueError."""
    words = {"auto": None, "off": 0}
    if text in words:
        return words[text]
    if not re.fullmatch(r"[0-9]*[1-9][0-9]*", text):
        raise ValueError("a number of pixels above 0, auto or off")
    return int(text)


def parse_percentile(text: str) -> float:
    """Percent, above 0. Raises ValueError."""
    number = _number(text)
    if not 0 < number <= 100:
        raise ValueError("a number above 0, and not above 100")
    return number


def parse_dim(text: str) -> float:
    """A number from 0 to 1. Raises ValueError."""
    number = _number(text)
    if not 0 <= number <= 1:
        raise ValueError("a number from 0 to 1")
    return number


def parse_device(text: str) -> str:
    """A device's name. Raises ValueError."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", text):
        raise ValueError("auto, cpu, cuda or cuda:N")
    return text


def parse_as(text: str) -> str:
    """The word of an `--as`, checked. Raises UsageError."""
    parse_kind(text)
    return text


def _number(text: str) -> float:
    """The text as a number, NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
