from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from flowcli.cli import values


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
    parsed = values.parse_time(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "value"), [("25", Fraction(25)), ("29.97", Fraction(2997, 100)), ("30000/1001", Fraction(30000, 1001))]
)
def test_rates(text: str, value: Fraction) -> None:
    assert values.parse_rate(text) == value


def test_other_values() -> None:
    assert values.parse_max_flow("auto") is None
    assert values.parse_max_flow("clip") == "clip"
    assert [values.parse_floor(text) for text in ("auto", "0", "0.25")] == [None, 0, 0.25]
    assert values.parse_max_flow("12.5") == 12.5
    assert [values.parse_percentile(text) for text in ("100", "99.5")] == [100, 99.5]
    assert [values.parse_dim(text) for text in ("0", "0.25", "1")] == [0, 0.25, 1]
    sizes = ("7", "500k", "20M", "1.5G", "1g", "3kB")
    assert [values.parse_bytes(text) for text in sizes] == [7, 500_000, 20_000_000, 1_500_000_000, 10**9, 3000]
    assert [values.parse_tile(text) for text in ("auto", "off", "512")] == [None, 0, 512]
    assert [values.parse_device(text) for text in ("auto", "cpu", "cuda", "cuda:1")] == [
        "auto",
        "cpu",
        "cuda",
        "cuda:1",
    ]


@pytest.mark.parametrize(
    ("parse", "texts", "expected"),
    [
        (
            values.parse_time,
            ["", "-1", "2.5", "s", "1:2:3:4", "1e3s", "٣"],
            "a frame number (250) or a time (2.5s, 00:01:02.5)",
        ),
        (
            values.parse_rate,
            ["", "0", "-25", "1/0", "fast", "nan", "inf"],
            "a number of frames per second (25, 29.97, 30000/1001)",
        ),
        (values.parse_bytes, ["", "0", "-1", "1.5T", "k", "1 k", "٣"], "a size (500k, 20M, 1G)"),
        (values.parse_tile, ["", "0", "-1", "1.5", "Off", "٣"], "a number of pixels above 0, auto or off"),
        (values.parse_max_flow, ["", "0", "-1", "nan", "inf", "Auto"], "a number of pixels above 0, auto or clip"),
        (values.parse_floor, ["", "-1", "nan", "inf", "Auto"], "a number of pixels, 0 or more, or auto"),
        (values.parse_percentile, ["", "0", "-1", "100.5", "nan", "inf", "p"], "a number above 0, and not above 100"),
        (values.parse_dim, ["", "-0.1", "1.1", "nan", "inf", "half"], "a number from 0 to 1"),
        (values.parse_device, ["", "gpu", "cuda:", "cuda:x", "cpu "], "auto, cpu, cuda or cuda:N"),
    ],
)
def test_values_that_are_none(parse: Callable[[str], object], texts: list[str], expected: str) -> None:
    for text in texts:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is what is checked
            parse(text)
        assert str(caught.value) == expected
