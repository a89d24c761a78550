from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcli.video.selection import Selection
from tests.video import clips

bounds = st.none() | st.integers(0, 60) | st.fractions(0, 3, max_denominator=1000)
rates = st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(1389, 100), Fraction(1, 2)])


@given(bounds, bounds, st.integers(1, 7), st.integers(0, 60), rates)
def test_indices(
    start: int | Fraction | None, stop: int | Fraction | None, every: int, total: int, rate: Fraction
) -> None:
    selection = Selection(start, stop, every)
    assert list(selection.indices(total, rate)) == clips.wanted(selection, [index / rate for index in range(total)])


@given(bounds, bounds, st.integers(0, 60), rates, st.fractions(Fraction(1, 9), 60, max_denominator=1001))
def test_indices_by_time(
    start: int | Fraction | None, stop: int | Fraction | None, total: int, rate: Fraction, wanted: Fraction
) -> None:
    selection = Selection(start, stop, rate=wanted)
    expected = clips.wanted(selection, [index / rate for index in range(total)])
    assert list(selection.indices(total, rate)) == expected
    assert selection.count(total, rate) == len(expected)


def test_a_rate_that_divides_takes_what_every_takes() -> None:
    assert Selection(rate=Fraction(30)).indices(9, Fraction(60)) == list(range(0, 9, 2))
    assert Selection(rate=Fraction(25)).indices(12, Fraction(30)) == [0, 1, 3, 4, 5, 6, 7, 9, 10, 11]


def test_over() -> None:
    assert not Selection().over(10**9, Fraction(10**9))
    by_number, by_time = Selection(stop=5), Selection(stop=Fraction(1, 5))
    assert [by_number.over(index, Fraction(9)) for index in (4, 5, 6)] == [False, True, True]
    assert [by_time.over(99, Fraction(time, 25)) for time in (4, 5, 6)] == [False, True, True]


@pytest.mark.parametrize(("start", "stop", "every"), [(-1, None, 1), (0, Fraction(-1, 2), 1), (0, 5, 0)])
def test_bounds_that_make_no_sense(start: int, stop: int | Fraction | None, every: int) -> None:
    with pytest.raises(ValueError, match=r"^start and stop must be 0 or more and every 1 or more: Selection\("):
        Selection(start, stop, every)


@pytest.mark.parametrize(("every", "rate"), [(1, Fraction(0)), (2, Fraction(5))])
def test_rates_that_make_no_sense(every: int, rate: Fraction) -> None:
    with pytest.raises(ValueError, match=r"^the rate must be above 0, and every be 1 beside it: Selection\("):
        Selection(every=every, rate=rate)
