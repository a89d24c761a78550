"""The scale of colours over a video."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flowcli.draw import ahead
from flowcli.draw.ahead import Ahead, size_of
from flowcli.draw.effects import Color
from flowcli.draw.scale import RunningScale, clip_scale
from flowcli.types import FlowField, FlowPair, Frame


def _frame(length: float, height: int = 20, width: int = 30) -> torch.Tensor:
    return torch.stack((torch.full((height, width), length * 0.6), torch.full((height, width), -length * 0.8)))


def _scales(lengths: Iterable[float]) -> list[float]:
    scale = RunningScale()
    return [scale.update(_frame(length)) for length in lengths]


LENGTHS = st.one_of(st.floats(0, 1000), st.just(math.nan), st.just(1e9))


@given(st.lists(LENGTHS, min_size=2, max_size=30))
def test_scale_never_changes_by_more_than_five_percent(lengths: list[float]) -> None:
    scales = _scales(lengths)
    assert all(0.95 <= after / before <= 1.05 for before, after in pairwise(scales))
    assert min(scales) >= 1


@pytest.mark.parametrize("outlier", [0.0, 1e-3, 80.0, 1e9])
@pytest.mark.parametrize("at", [1, 2, 3, 10, 29])
def test_one_outlier_frame_changes_nothing(outlier: float, at: int) -> None:
    lengths = [8.0] * 30
    lengths[at] = outlier
    scales = _scales(lengths)
    if outlier > 8 or at >= 3:
        assert scales == pytest.approx([8.0] * 30)
    else:
        assert all(0.95 <= after / before <= 1.05 for before, after in pairwise(scales))


def test_one_outlier_frame_in_a_natural_clip_moves_the_scale_hardly() -> None:
    generator = np.random.default_rng(1)
    lengths = 10 + generator.normal(0, 1, 60)
    calm = _scales(lengths)
    lengths[30] = 300
    shocked = _scales(lengths)
    assert max(abs(a / b - 1) for a, b in zip(shocked, calm, strict=True)) < 0.05


def test_scale_converges_up_and_down() -> None:
    up = _scales([2.0] * 5 + [40.0] * 100)
    assert up[4] == pytest.approx(2)
    assert up[-1] == pytest.approx(40)
    assert up == sorted(up)
    down = _scales([40.0] * 5 + [2.0] * 320)
    assert down[-1] == pytest.approx(2)
    assert down == sorted(down, reverse=True)


def test_still_video_keeps_its_noise_pale() -> None:
    assert _scales([0.05] * 4) == [1.0] * 4
    assert _scales([0.0] * 4) == [1.0] * 4


def test_scale_is_a_percentile_so_that_few_wild_pixels_do_not_count() -> None:
    uv = _frame(5, 200, 300)
    uv[:, :1] = 1e6
    uv[:, 7] = math.nan
    assert RunningScale().update(uv) == pytest.approx(5)


@pytest.mark.parametrize("percentile", [10, 50, 99, 100])
def test_scale_is_the_percentile_that_is_asked_for(percentile: float) -> None:
    # Speeds of 1 to 101 pixels, a row each.
    uv = torch.stack((torch.arange(1.0, 102.0)[:, None].expand(101, 8), torch.zeros(101, 8)))
    assert RunningScale(percentile).update(uv) == pytest.approx(1 + percentile, abs=0.2)


def test_scale_measures_valid_pixels_only() -> None:
    uv = _frame(5)
    uv[:, :10] *= 100
    valid = torch.arange(20)[:, None].expand(20, 30) >= 10
    assert RunningScale().update(uv, valid) == pytest.approx(5)


def test_frames_without_known_flow_leave_the_scale_alone() -> None:
    scale = RunningScale()
    assert scale.update(_frame(math.nan)) == 1
    scale = RunningScale()
    scale.update(_frame(6))
    assert scale.update(_frame(math.nan)) == pytest.approx(6)
    assert scale.update(_frame(9), torch.zeros(20, 30, dtype=torch.bool)) == pytest.approx(6)


def test_range_is_the_lowest_and_highest_scale() -> None:
    scale = RunningScale()
    with pytest.raises(ValueError, match=r"^no frame has been measured$"):
        _ = scale.range
    scales = [scale.update(_frame(length)) for length in [4.0, 4, 4, 4, 9, 9, 9, 9, 9, 9, 1, 1, 1, 1, 1]]
    assert scale.range == (min(scales), max(scales))
    assert scale.range[0] < scale.range[1]


def _ahead(lengths: Iterable[float], count: int, begins: Iterable[int] = ()) -> list[float]:
    """The scales where so many frames are noted before one is taken."""
    scale, taken = RunningScale(), []
    shots, waiting = set(begins), 0
    for place, length in enumerate(lengths):
        scale.note(_frame(length), begins=place in shots)
        waiting += 1
        if waiting > count:
            taken.append(scale.take())
            waiting -= 1
    return [*taken, *(scale.take() for _ in range(waiting))]


@given(st.lists(LENGTHS, min_size=2, max_size=30), st.integers(0, 40))
def test_what_is_known_ahead_makes_no_flicker(lengths: list[float], count: int) -> None:
    scales = _ahead(lengths, count)
    assert len(scales) == len(lengths)
    assert all(0.95 <= after / before <= 1.05 for before, after in pairwise(scales))
    assert min(scales) >= 1


def test_the_scale_rises_before_it_is_needed() -> None:
    # Slow, then 2.4 times as fast: 1.04 ** 25 is 2.67.
    lengths = [5.0] * 40 + [12.0] * 40
    late, early = _ahead(lengths, 0), _ahead(lengths, 25)
    assert late[40] == pytest.approx(5)
    assert early[40:] == pytest.approx([12.0] * 40)
    assert early[10] == pytest.approx(5)
    assert early[15:41] == sorted(early[15:41])
    # An opening that becomes fast within a second is never beyond the scale.
    opening = [1.0, 2, 4, 8, 16, 24, 32, 32, 32, 32, 30, 28]
    assert all(scale >= length / 1.0001 for scale, length in zip(_ahead(opening, 25), opening, strict=True))
    assert sum(scale < length for scale, length in zip(_ahead(opening, 0), opening, strict=True)) > 6


def test_one_odd_frame_ahead_changes_nothing() -> None:
    lengths = [8.0] * 40
    lengths[20] = 300.0
    assert _ahead(lengths, 25) == pytest.approx([8.0] * 40)


def test_a_shot_has_a_scale_of_its_own() -> None:
    lengths = [30.0] * 10 + [3.0] * 10 + [90.0] * 3
    expected = [30.0] * 10 + [3.0] * 10 + [90.0] * 3
    for count in (0, 4, 25):
        assert _ahead(lengths, count, begins=(10, 20)) == pytest.approx(expected)


def _pairs(lengths: Iterable[float], begins: Iterable[int] = ()) -> list[FlowPair]:
    frames = [Frame(np.zeros((20, 30, 3), np.uint8), index, cut=index in begins) for index in range(100)]
    return [
        FlowPair(frames[index], frames[index + 1], FlowField(_frame(length)), at=frames[index])
        for index, length in enumerate(lengths)
    ]


def test_the_scale_of_a_clip() -> None:
    assert clip_scale(_pairs([3.0] * 4 + [20.0] * 5 + [1.0] * 9), 99) == pytest.approx(20)
    assert clip_scale(_pairs([3.0] * 9 + [200.0] + [3.0] * 9), 99) == pytest.approx(3)
    assert clip_scale(_pairs([3.0] * 9 + [70.0] * 2, begins=(9,)), 99) == pytest.approx(70)
    assert clip_scale(_pairs([math.nan, 0.1, 0.1]), 99) == 1
    assert clip_scale([], 99) == 1


class _Drawn:
    def __init__(self) -> None:
        self.frames: list[int] = []
        self.ended = ""

    def write(self, item: Frame) -> None:
        self.frames.append(item.index)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


def test_how_many_pairs_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = _pairs([5.0] * 70)
    for rate, most in ((Fraction(25), 25), (Fraction(30000, 1001), 30), (Fraction(240), 60)):
        drawn = _Drawn()
        late = Ahead(Color(), drawn, rate)
        for count, pair in enumerate(pairs, 1):
            late.write(pair)
            assert drawn.frames == list(range(max(0, count - most)))
        late.close()
        assert (drawn.frames, drawn.ended) == (list(range(70)), "closed")
    # Four bytes for u and v each, three for the picture.
    assert size_of(pairs[0]) == 20 * 30 * 11
    assert size_of(replace(pairs[0], versus=pairs[1])) == 20 * 30 * (11 + 8)
    monkeypatch.setattr(ahead, "ROOM", 3 * 20 * 30 * 11 + 5)
    drawn = _Drawn()
    late = Ahead(Color(), drawn, Fraction(25))
    for pair in pairs[:10]:
        late.write(pair)
    assert drawn.frames == list(range(7))
    late.abort()
    assert (len(drawn.frames), drawn.ended) == (7, "aborted")
