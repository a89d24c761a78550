"""Parsers for the values of options."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Literal

import click
from click.shell_completion import CompletionItem

from flowcli.cli.words import UnknownWord, complete_words
from flowcli.errors import closest
from flowcli.interpolation.options import Multiple
from flowcli.output.kinds import parse_kind


class Value(click.ParamType[Any]):
    """The type of an option whose text `parse` reads; the ValueError of `parse` says what is expected."""

    name = "value"

    def __init__(self, parse: Callable[[str], Any], words: Sequence[str] = ()) -> None:
        """words: those that `parse` knows by name."""
        self.parse, self.words = parse, words

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except ValueError as error:
            raise UnknownWord(f"{value!r} is not {error}", context, parameter, closest(value, self.words, "")) from None

    def shell_complete(self, context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        return complete_words(self.words, begun)


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


def parse_new_rate(text: str) -> Fraction | Multiple:
    """A rate, or a multiple of the input's: `60`, `24000/1001`, `x2`, `2.5x`. Raises ValueError."""
    multiple = _multiple(text)
    try:
        return parse_rate(text) if multiple is None else multiple
    except ValueError:
        raise ValueError("a number of frames per second (60, 24000/1001) or a multiple (x2, x2.5)") from None


def parse_slow(text: str) -> Fraction:
    """A number above 0: `4`, `2.5`, `1/2`. Raises ValueError."""
    try:
        return parse_rate(text)
    except ValueError:
        raise ValueError("a number above 0") from None


def parse_size(text: str) -> tuple[int, int] | Multiple:
    """Width and height, or a multiple of the input's: `1920x1080`, `x2`, `1.5x`. Raises ValueError."""
    if match := re.fullmatch(r"([0-9]+)x([0-9]+)", text):
        return int(match[1]), int(match[2])
    multiple = _multiple(text)
    if multiple is None:
        raise ValueError("a size (1920x1080) or a multiple (x2, 1.5x)")
    return multiple


def parse_sides(text: str) -> tuple[int, int]:
    """Width and height: `340x256`. Raises ValueError."""
    if match := re.fullmatch(r"([0-9]*[1-9][0-9]*)x([0-9]*[1-9][0-9]*)", text):
        return int(match[1]), int(match[2])
    raise ValueError("a width and a height (340x256)")


def parse_first_frame(text: str) -> str:
    """A number as it is written: `1001`, `0001`. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("a number (1001)")
    return text


def parse_times(text: str) -> tuple[Fraction, ...]:
    """Times with commas between them, none before the one ahead of it: `0.25,1/2,0.75`. Raises ValueError."""
    try:
        times = tuple(map(Fraction, text.split(",")))
    except (ValueError, ZeroDivisionError):
        times = (Fraction(-1),)
    if min(times) < 0 or list(times) != sorted(times):
        raise ValueError("a list of times that go forward (0.25,0.5,0.75)")
    return times


def parse_shutter(text: str) -> Fraction:
    """A number above 0, and not above 1. Raises ValueError."""
    try:
        share = parse_rate(text)
    except ValueError:
        share = Fraction(2)
    if share > 1:
        raise ValueError("a number above 0, and not above 1")
    return share


def parse_pixels(text: str) -> float:
    """Pixels above 0. Raises ValueError."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise ValueError("a number of pixels above 0")
    return number


def parse_bytes(text: str) -> int:
    """A number of bytes: `800000`, `500k`, `20M`, `1.5G`, in thousands, millions and so on. Raises ValueError."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kKmMgG]?)[bB]?", text)
    size = int(float(match[1]) * 1000 ** " kmg".index(match[2].lower() or " ")) if match else 0
    if not size:
        raise ValueError("a size (500k, 20M, 1G)")
    return size


def parse_max_flow(text: str) -> float | Literal["clip"] | None:
    """Pixels, "clip", or None for `auto`. Raises ValueError."""
    if text == "clip":
        return "clip"
    try:
        return None if text == "auto" else parse_pixels(text)
    except ValueError as error:
        raise ValueError(f"{error}, auto or clip") from error


def parse_floor(text: str) -> float | None:
    """Pixels, 0 or more; None for `auto`. Raises ValueError."""
    number = None if text == "auto" else _number(text)
    if number is not None and not 0 <= number < math.inf:
        raise ValueError("a number of pixels, 0 or more, or auto")
    return number


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


def _multiple(text: str) -> Multiple | None:
    """`x2` or `2x` as a Multiple; None if it is none, or not above 0."""
    match = re.fullmatch(r"x([0-9]+(?:\.[0-9]+)?)|([0-9]+(?:\.[0-9]+)?)x", text)
    factor = Fraction(match[1] or match[2]) if match else Fraction(0)
    return Multiple(factor) if factor else None


def _number(text: str) -> float:
    """The text as a number, NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
