from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch

from flowcli.carry.stream import Carried
from flowcli.carry.suggest import Doubts, _Seen, doubt, expected, with_one_more
from tests.carry.known import Scene, carried_labels, keys, labels, linked


def doubts(values: Iterable[float], given: Iterable[int] = (), cuts: Iterable[int] = ()) -> Doubts:
    """Of frames with these doubts; those that are `given` are key frames."""
    return Doubts([_Seen(n, f"f{n}", value, n in given, n in cuts) for n, value in enumerate(values)])


def slow_gains(values: np.ndarray, usual: np.ndarray, given: set[int], shots: np.ndarray) -> list[float]:
    """The same in loops: a painted frame reaches others of its shot up to the next key frame."""
    found = []
    for frame in range(len(values)):
        gain = max(values[frame] - usual[0], 0)
        for step in (-1, 1):
            place = frame + step
            while 0 <= place < len(values) and shots[place] == shots[frame]:
                gain += max(values[place] - usual[abs(place - frame)], 0)
                if place in given:
                    break
                place += step
        found.append(gain)
    return found


def test_gains_against_loops() -> None:
    random = np.random.default_rng(0)
    values, given = random.random(40), {0, 3, 17, 18, 30}
    values[list(given)] = 0
    shots = np.repeat([0, 1, 2], [12, 20, 8])
    marks = np.array([n in given for n in range(40)])
    usual = expected(values, marks, shots)
    assert (np.diff(usual) >= 0).all()
    gains = with_one_more(values, usual, marks, shots)
    free = ~marks
    np.testing.assert_allclose(gains[free], np.array(slow_gains(values, usual, given, shots))[free], atol=1e-9)


def test_what_is_expected_is_what_the_run_had_at_such_a_distance() -> None:
    values = np.array([0, 0.1, 0.3, 0.1, 0, 0.3, 0.2, 1.0])
    marks = np.array([True, False, False, False, True, False, False, False])
    shots = np.array([0] * 7 + [1])
    usual = expected(values, marks, shots)
    np.testing.assert_allclose(usual[:4], [0, (0.1 + 0.1 + 0.3) / 3, 0.25, 0.25], atol=1e-6)


def test_the_worst_stretch_comes_first() -> None:
    values = [0, 0.1, 0.2, 0.1, 0, 0.2, 0.9, 0.9, 0.9, 0.2, 0]
    first, second = doubts(values, given=(0, 4, 10)).suggest(2)
    assert (first.index, first.name) == (7, "f7")
    assert second.index not in (6, 7, 8)
    assert first.gain > second.gain > 0
    # All of its own doubt goes, and nearly all of that of its neighbours.
    assert 0.9 / 11 < first.gain < 2.7 / 11


def test_a_shot_without_a_mask_comes_first() -> None:
    found = doubts([0, 0.1, 0.2, 0.3, 1, 1, 1, 1, 1], given=(0,), cuts=(4,)).suggest(1)
    assert [each.index for each in found] == [6]


def test_neighbours_are_not_named_together() -> None:
    found = doubts([1.0] * 5).suggest(5)
    assert [each.index for each in found] == [2]
    places = sorted(each.index for each in doubts([0, *np.linspace(0.1, 1, 40)], given=(0,)).suggest(6))
    assert len(places) > 2
    assert min(np.diff(places)) > 1


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0]])
def test_nothing_is_named_where_nothing_is_in_doubt(values: list[float]) -> None:
    assert doubts(values, given=range(len(values))).suggest(3) == []


def test_doubt_is_that_near_borders() -> None:
    scene = Scene()
    sure = torch.ones(65, 97)
    unsure = sure.clone()
    unsure[:, 70:] = 0
    frame, value = scene.frame(0), labels(scene, 0)
    assert doubt(Carried(frame, value, sure)) == 0
    # The square ends 39 columns before, farther than borders reach.
    assert doubt(Carried(frame, value, unsure)) == 0
    assert doubt(Carried(frame, torch.zeros_like(value), unsure)) == pytest.approx(27 / 97)
    unsure[:, :20] = 0
    assert 0.2 < doubt(Carried(frame, value, unsure)) < 0.6
    assert doubt(Carried(frame, None)) == 1
    small = torch.ones(33, 49)
    assert doubt(Carried(frame, value[None].float() / 7, small)) == 0


def test_frames_go_through_and_doubt_grows_with_the_distance() -> None:
    scene = Scene(step=(6, 0))
    found = Doubts()
    frames = carried_labels(linked(scene, 8, both=False), keys(scene, 0), "before")
    assert [each.frame.index for each in found.noted(frames)] == list(range(8))
    noted = [each.doubt for each in found.seen]
    assert noted[0] == 0
    assert 0 < noted[1] < min(noted[4:])
    assert all(each.index > 2 for each in found.suggest(1))
