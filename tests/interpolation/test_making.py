from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import count, islice

import numpy as np
import pytest

from flowcli.engine.engine import Engine
from flowcli.errors import InputError
from flowcli.interpolation.baselines import Blend, Nearest
from flowcli.interpolation.making import SAMPLES, make_frames
from flowcli.types import FlowPair, Frame
from tests.fakes import Tiny

HEIGHT, WIDTH = 65, 97


def grey(level: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def frames(*levels: int, cuts: tuple[int, ...] = ()) -> list[Frame]:
    """A frame for each grey level, at 0, 1, 2... seconds."""
    return [Frame(grey(level), index, Fraction(index), cut=index in cuts) for index, level in enumerate(levels)]


def eighths(*numbers: int) -> list[Fraction]:
    return [Fraction(number, 8) for number in numbers]


def levels(made: Iterator[Frame]) -> list[int]:
    found = []
    for frame in made:
        assert (frame.image == frame.image[0, 0]).all()
        found.append(int(frame.image[0, 0, 0]))
    return found


class Asked:
    """A synthesiser that mixes, and remembers what it was asked for."""

    resizes = False

    def __init__(self, flow: bool) -> None:
        self.flow = flow
        self.calls: list[tuple[int, int, list[Fraction]]] = []
        self.flows: list[FlowPair | None] = []

    def between(
        self, first: Frame, second: Frame, flow: FlowPair | None, places: Sequence[Fraction], height: int, width: int
    ) -> Iterator[np.ndarray]:
        self.calls.append((first.index, second.index, list(places)))
        self.flows.append(flow)
        return Blend().between(first, second, None, places, height, width)


def test_frames_at_their_own_time_are_untouched() -> None:
    given = frames(10, 50, 90)
    made = list(make_frames(given, eighths(0, 4, 8, 16), Blend()))
    assert all(one.image is other.image for one, other in zip((made[0], *made[2:]), given, strict=True))
    assert [(each.index, each.time, each.name) for each in made] == [
        (index, time, None) for index, time in enumerate(eighths(0, 4, 8, 16))
    ]
    assert levels(iter(made)) == [10, 30, 50, 90]


def test_every_frame_is_made_once() -> None:
    asked = Asked(flow=False)
    times = eighths(0, 1, 2, 8, 16, 17)
    assert levels(make_frames(frames(0, 80, 160, 80), times, asked)) == [0, 10, 20, 80, 160, 150]
    assert asked.calls == [(0, 1, eighths(1, 2)), (2, 3, eighths(1))]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("factor", [2, 8])
def test_each_frame_is_encoded_once_whatever_the_factor(factor: int, batch: int) -> None:
    model, asked = Tiny(), Asked(flow=True)
    engine = Engine(model, device="cpu", precision="fp32", batch=batch)
    times = [Fraction(number, factor) for number in range(6 * factor)]
    made = list(make_frames(frames(*range(0, 210, 30)), times, asked, engine))
    assert len(made) == len(times)
    assert sum(shape[0] for shape in model.encoded) == 7
    assert sum(model.decoded) == 2 * 6
    assert [call[:2] for call in asked.calls] == [(number, number + 1) for number in range(6)]
    for number, pair in enumerate(asked.flows):
        assert pair is not None
        assert pair.backward is not None
        assert (pair.first.index, pair.second.index) == (number, number + 1)


def test_no_flow_where_no_frame_is_made() -> None:
    model, asked = Tiny(), Asked(flow=True)
    engine = Engine(model, device="cpu", precision="fp32", batch=2)
    given = frames(*range(0, 240, 30), cuts=(5,))
    # Within the gaps after 2 and 3, and across the cut.
    made = make_frames(given, eighths(0, 8, 16, 20, 28, 33, 36), asked, engine)
    assert levels(made) == [0, 30, 60, 75, 105, 120, 120]
    assert [shape[0] for shape in model.encoded] == [2, 1]
    assert [call[:2] for call in asked.calls] == [(2, 3), (3, 4)]


def test_nothing_is_mixed_across_a_cut() -> None:
    made = list(make_frames(frames(0, 40, 200, 240, cuts=(2,)), eighths(4, 9, 12, 13, 15, 16, 20), Blend()))
    assert levels(iter(made)) == [20, 40, 40, 200, 200, 200, 220]
    assert [frame.cut for frame in made] == [False, False, False, True, False, False, False]


def test_a_shot_of_one_frame_is_repeated() -> None:
    made = make_frames(frames(10, 90, 200, cuts=(1, 2)), eighths(*range(0, 20, 3)), Blend())
    assert levels(made) == [10, 10, 90, 90, 90, 200, 200]


def test_nearest() -> None:
    assert levels(make_frames(frames(0, 80), eighths(0, 3, 4, 5, 8, 12), Nearest())) == [0, 0, 0, 80, 80, 80]


@pytest.mark.parametrize("synthesiser", [Nearest(), Blend()])
@pytest.mark.parametrize("size", [(33, 50), (130, 194)])
def test_all_frames_have_the_size(synthesiser: Nearest | Blend, size: tuple[int, int]) -> None:
    made = list(make_frames(frames(0, 80), eighths(0, 2, 4, 8, 9), synthesiser, size=size))
    assert {frame.image.shape for frame in made} == {(*size, 3)}


def test_own_times() -> None:
    given = [Frame(grey(index), index, time) for index, time in enumerate(eighths(1, 2, 2, 5, 4, 9))]
    made = list(make_frames(given, None, Blend()))
    assert [frame.time for frame in made] == eighths(1, 2, 2, 5, 5, 9)


def test_motion_blur_is_the_mean_of_the_exposure() -> None:
    """Grey rises evenly, so that the mean is the middle; at the ends half of the exposure is cut off."""
    made = list(make_frames(frames(0, 90, 180), None, Blend(), shutter=Fraction(1)))
    parts = np.arange(-4, 5) / 9
    expected = [np.mean(90 * np.clip(time + parts, 0, 2)) for time in range(3)]
    assert levels(iter(made)) == pytest.approx(expected, abs=1)
    assert [frame.time for frame in made] == [0, 1, 2]


def test_motion_blur_ends_at_a_cut() -> None:
    made = list(make_frames(frames(0, 90, 200, 200, cuts=(2,)), eighths(0, 8, 16, 24), Blend(), shutter=Fraction(1)))
    before = np.mean([90 * min(1, 1 + part / 9) for part in range(-4, 5)])
    assert levels(iter(made))[1:] == pytest.approx([before, 200, 200], abs=1)
    assert [frame.cut for frame in made] == [False, False, True, False]


def test_motion_blur_of_what_is_still_changes_nothing() -> None:
    given = frames(7, 7, 7)
    made = list(make_frames(given, None, Nearest(), shutter=Fraction(1, 2)))
    assert len(made) == 3
    np.testing.assert_array_equal(made[1].image, given[1].image)


def test_the_last_frame_is_exposed_too() -> None:
    times = (Fraction(number, 2) for number in count())
    made = list(make_frames(frames(0, 90), times, Blend(), shutter=Fraction(1), hold=Fraction(1)))
    assert [frame.time for frame in made] == eighths(0, 4, 8, 12)


def test_frames_of_another_size() -> None:
    given = [Frame(grey(0, 65, 97), 0, Fraction(0)), Frame(grey(0, 65, 98), 1, Fraction(1))]
    engine = Engine(Tiny(), device="cpu", precision="fp32")
    with pytest.raises(InputError, match=r"^frame 1 is 98x65, the frames before it are 97x65$"):
        list(make_frames(given, eighths(0, 4), Asked(flow=True), engine))


@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("shutter", [None, Fraction(1, 2)])
def test_memory_is_constant(shutter: Fraction | None, flow: bool) -> None:
    alive: weakref.WeakSet[Frame] = weakref.WeakSet()

    def endless() -> Iterator[Frame]:
        for number in count():
            frame = Frame(grey(number % 200, 33, 48), number, Fraction(number))
            alive.add(frame)
            yield frame

    engine = Engine(Tiny(), device="cpu", precision="fp32", batch=1)
    most = 0
    times = (Fraction(number, 2) for number in count())
    for _ in islice(make_frames(endless(), times, Unused(flow), engine, shutter=shutter), 60):
        most = max(most, len(alive))
    assert most <= 4


class Unused(Blend):
    """Mixes; the flow is estimated if `flow`, and left alone."""

    def __init__(self, flow: bool) -> None:
        self.flow = flow


def test_an_odd_number_is_averaged() -> None:
    """So that the middle one has the time of the frame."""
    assert SAMPLES % 2 == 1
