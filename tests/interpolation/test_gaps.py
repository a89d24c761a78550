from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import count, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcli.interpolation.gaps import Gap, exposures, find_gaps, regular
from flowcli.types import Frame

IMAGE = np.zeros((3, 4, 3), np.uint8)


def frames(*times: Fraction | int, cuts: tuple[int, ...] = ()) -> list[Frame]:
    return [Frame(IMAGE, index, Fraction(time), cut=index in cuts) for index, time in enumerate(times)]


def found(gaps: Iterator[Gap]) -> list[tuple[int, Fraction]]:
    """For each time, the number of the first frame and the place."""
    return [(gap.first.index, place) for gap in gaps for place in gap.places]


def halves(*numbers: float) -> list[Fraction]:
    return [Fraction(number) for number in numbers]


def test_places_are_exact() -> None:
    times = [Fraction(1, 3) * number for number in range(7)]
    thirds = [(0, Fraction(number, 3)) for number in range(3)] + [(1, Fraction(number, 3)) for number in range(3)]
    assert found(find_gaps(frames(0, 1, 2), times)) == [*thirds, (2, Fraction(0))]


def test_variable_times_in_regular_times_out() -> None:
    given_frames = frames(0, Fraction(1, 10), Fraction(4, 10), Fraction(5, 10))
    places = found(find_gaps(given_frames, regular(Fraction(1, 10)), hold=Fraction(1, 10)))
    assert places == [(0, 0), (1, 0), (1, Fraction(1, 3)), (1, Fraction(2, 3)), (2, 0), (3, 0)]


def test_before_the_first_and_after_the_last() -> None:
    assert found(find_gaps(frames(1, 2), halves(0, 0.5, 1.5, 2, 9))) == [
        (0, 0),
        (0, 0),
        (0, Fraction(1, 2)),
        (1, 0),
        (1, 0),
    ]


def test_the_last_frame_is_held_for_its_own_time() -> None:
    assert found(find_gaps(frames(0, 1), regular(Fraction(1, 2)), hold=Fraction(1))) == [
        (0, 0),
        (0, Fraction(1, 2)),
        (1, 0),
        (1, 0),
    ]


def test_one_frame_and_none() -> None:
    assert found(find_gaps(frames(5), regular(Fraction(1)), hold=Fraction(2))) == [(0, Fraction(0))] * 7
    assert found(find_gaps([], regular(Fraction(1)), hold=Fraction(2))) == []


def test_across_a_cut_the_nearer_frame() -> None:
    gaps = list(find_gaps(frames(0, 1, 2, cuts=(1,)), halves(0.25, 0.5, 0.75, 1.25)))
    assert [gap.places for gap in gaps] == [(0, 0, 1), (Fraction(1, 4),)]
    assert [(gap.joined, gap.empty) for gap in gaps] == [(False, True), (True, False)]


def test_times_that_a_container_rounded_mean_the_frame() -> None:
    """30 frames per second with a clock of milliseconds, as in Matroska."""
    given_frames = frames(*(Fraction(round(1000 * number / 30), 1000) for number in range(60)))
    places = found(find_gaps(given_frames, regular(Fraction(1, 30)), hold=Fraction(1, 30)))
    assert places == [(number, Fraction(0)) for number in range(60)]
    doubled = found(find_gaps(given_frames, regular(Fraction(1, 60)), hold=Fraction(1, 30)))
    assert [place for _, place in doubled[0:-2:2]] == [0] * 59
    assert all(abs(place - Fraction(1, 2)) < Fraction(1, 30) for _, place in doubled[1:-2:2])


def test_fast_frames_are_not_taken_for_each_other() -> None:
    given_frames = frames(*(Fraction(number, 1000) for number in range(5)))
    times = [Fraction(number, 4000) for number in range(16)]
    assert found(find_gaps(given_frames, times)) == [
        (number, Fraction(part, 4)) for number in range(4) for part in range(4)
    ]


def test_repeated_times_of_frames() -> None:
    assert found(find_gaps(frames(0, 1, 1, 2), halves(0, 0.5, 1, 1.5))) == [
        (0, 0),
        (0, Fraction(1, 2)),
        (2, 0),
        (2, Fraction(1, 2)),
    ]


def test_times_that_go_back() -> None:
    with pytest.raises(ValueError, match=r"^times must not go back, 0\.25 s comes after 0\.5 s$"):
        list(find_gaps(frames(0, 1), halves(0.5, 0.25)))


def test_little_is_read_ahead() -> None:
    read: list[int] = []

    def endless() -> Iterator[Frame]:
        for number in count():
            read.append(number)
            yield Frame(IMAGE, number, Fraction(number))

    gaps = find_gaps(endless(), regular(Fraction(1, 2)))
    for number, gap in enumerate(islice(gaps, 100)):
        assert gap.times == (Fraction(number), number + Fraction(1, 2))
        assert read[-1] == number + 1


TIMES = st.lists(st.fractions(0, 5, max_denominator=1000), min_size=1, max_size=20).map(sorted)


@pytest.mark.slow
@given(TIMES, TIMES, st.sets(st.integers(1, 19)))
def test_every_time_comes_once_and_in_its_place(own: list[Fraction], wanted: list[Fraction], cuts: set[int]) -> None:
    gaps = list(find_gaps(frames(*own, cuts=tuple(cuts)), wanted))
    assert [time for gap in gaps for time in gap.times] == wanted
    for gap in gaps:
        for time, place in zip(gap.times, gap.places, strict=True):
            assert 0 <= place <= 1
            if gap.second is not None and gap.joined:
                shown = gap.first.time + place * (gap.second.time - gap.first.time)
                assert abs(shown - min(max(time, own[0]), own[-1])) <= Fraction(1, 2000)


def test_exposures_are_even_and_lie_around_each_time() -> None:
    around = list(exposures(halves(0, 1, 2), Fraction(1, 2), 5))
    tenths = [Fraction(number, 10) for number in range(-2, 3)]
    assert around == [time + offset for time in range(3) for offset in tenths]


def test_exposures_of_irregular_times_do_not_overlap() -> None:
    times = halves(0, 1, 1.5, 4)
    around = list(exposures(times, Fraction(1), 9))
    assert around == sorted(around)
    assert around[4::9] == times


def test_one_time_is_not_exposed() -> None:
    assert list(exposures(halves(3), Fraction(1), 3)) == [3, 3, 3]
    assert list(exposures([], Fraction(1), 3)) == []
