from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import click
import pytest

from flowcli.api import EngineOptions, SourceOptions
from flowcli.cli import options
from flowcli.outputs import OutputOptions


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("250", 250),
        ("2.5s", Fraction(5, 2)),
        ("3s", Fraction(3)),
        ("0.04s", Fraction(1, 25)),
        ("1:02.5", Fraction(125, 2)),
        ("00:01:02.5", Fraction(125, 2)),
        ("10:00:00", Fraction(36000)),
    ],
)
def test_times(text: str, value: int | Fraction) -> None:
    parsed = options.parse_time(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "value"), [("25", Fraction(25)), ("29.97", Fraction(2997, 100)), ("30000/1001", Fraction(30000, 1001))]
)
def test_rates(text: str, value: Fraction) -> None:
    assert options.parse_rate(text) == value


def test_other_values() -> None:
    assert options.parse_max_flow("auto") is None
    assert options.parse_max_flow("12.5") == 12.5
    assert [options.parse_device(text) for text in ("auto", "cpu", "cuda", "cuda:1")] == [
        "auto",
        "cpu",
        "cuda",
        "cuda:1",
    ]


@pytest.mark.parametrize(
    ("parse", "texts", "expected"),
    [
        (
            options.parse_time,
            ["", "-1", "2.5", "s", "1:2:3:4", "1e3s", "٣"],
            "a frame number (250) or a time (2.5s, 00:01:02.5)",
        ),
        (
            options.parse_rate,
            ["", "0", "-25", "1/0", "fast", "nan", "inf"],
            "a number of frames per second (25, 29.97, 30000/1001)",
        ),
        (options.parse_max_flow, ["", "0", "-1", "nan", "inf", "Auto"], "a number of pixels above 0, or auto"),
        (options.parse_device, ["", "gpu", "cuda:", "cuda:x", "cpu "], "auto, cpu, cuda or cuda:N"),
    ],
)
def test_values_that_are_none(parse: Callable[[str], object], texts: list[str], expected: str) -> None:
    for text in texts:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is what is checked
            parse(text)
        assert str(caught.value) == expected


def received(*arguments: str) -> dict[str, Any]:
    """What a command with all the groups of options is handed."""

    @click.command()
    @options.source_options
    @options.engine_options
    @options.output_options
    @options.talk_options
    def command(**values: Any) -> dict[str, Any]:
        return values

    result: dict[str, Any] = command.main(list(arguments), standalone_mode=False)
    return result


def test_defaults_are_those_of_the_dataclasses() -> None:
    assert received("in.mp4") == {
        "source": SourceOptions("in.mp4"),
        "engine": EngineOptions(),
        "output": OutputOptions(()),
        "talk": options.TalkOptions(),
    }


def test_values_arrive() -> None:
    arguments = (
        "a.png b.png --start 3 --stop 1:00 --every 2 -o x -o - --as flo --as warp -m net --refine 4 --device cuda:1 "
        "--precision bf16 --max-side 512 --both --last zero --max-flow 20 --legend --holes keep --fps 24 --crf 18 "
        "-y --json -v"
    )
    assert received(*arguments.split()) == {
        "source": SourceOptions("a.png", "b.png", 3, Fraction(60), 2),
        "engine": EngineOptions("net", 4, "cuda:1", "bf16", 512, "both", "zero"),
        "output": OutputOptions(("x", "-"), ("flo", "warp"), 20.0, True, "keep", Fraction(24), 18, True),
        "talk": options.TalkOptions(json=True, verbose=True),
    }
    assert received("x", "--backward")["engine"].direction == "backward"


def test_names_that_look_like_options() -> None:
    assert received("--", "-x.mp4")["source"].input == "-x.mp4"
    assert received("-")["source"].input == "-"
