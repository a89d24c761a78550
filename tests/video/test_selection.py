from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcli.video.selection import Selection

bounds = st.none() | st.integers(0, 60) | st.fractions(0, 3, max_denominator=1000)
rates = st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(1389, 100), Fraction(1, 2)])


def wanted(selection: Selection, times: list[Fraction]) -> list[int]:
    """Frame by frame: those from `start` on, before the first that reaches `stop`, and of them each nth."""
    kept = []
    for index, time in enumerate(times):
        start, stop = selection.start, selection.stop
        if stop is not None and (time if isinstance(stop, Fraction) else index) >= stop:
            break
        if start is None or (time if isinstance(start, Fraction) else index) >= start:
            kept.append(index)
    return kept[:: selection.every]


@given(bounds, bounds, st.integers(1, 7), st.integers(0, 60), rates)
def test_indices(
    start: int | Fraction | None, stop: int | Fraction | None, every: int, total: int, rate: Fraction
) -> None:
    selection = Selection(start, stop, every)
    assert list(selection.indices(total, rate)) == wanted(selection, [index / rate for index in range(total)])


def test_over() -> None:
    assert not Selection().over(10**9, Fraction(10**9))
    by_number, by_time = Selection(stop=5), Selection(stop=Fraction(1, 5))
    assert [by_number.over(index, Fraction(9)) for index in (4, 5, 6)] == [False, True, True]
    assert [by_time.over(99, Fraction(time, 25)) for time in (4, 5, 6)] == [False, True, True]


@pytest.mark.parametrize(("start", "stop", "every"), [(-1, None, 1), (0, Fraction(-1, 2), 1), (0, 5, 0)])
def test_bounds_that_make_no_sense(start: int, stop: int | Fraction | None, every: int) -> None:
    with pytest.raises(ValueError, match=r"^start and stop must be 0 or more and every 1 or more: Selection\("):
        Selection(start, stop, every)
