from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from flowcli.engine.engine import Engine
from flowcli.errors import InputError
from flowcli.shots import shots
from flowcli.types import FlowPair, Frame
from flowcli.view.looks import Follower, looks_of_flow, with_engine, with_flow
from tests.fakes import Tiny, run
from tests.fakes import frame as noise
from tests.moving import as_frames, camera
from tests.view.looks import frame, noisy, pair


def test_every_frame_is_shown_and_those_before_a_cut_have_no_flow() -> None:
    frames = as_frames([*camera(4, pan=2), *camera(3, tilt=1, number=2)])
    follower = Follower(cuts=True)
    engine = Engine(Tiny(), "cpu", "fp32")
    pairs = ((found,) for shot in shots(follower.watch(frames)) for found in engine.pairs(shot))
    looks = list(follower.looks(pairs))
    assert [each.frame.index for each in looks] == list(range(7))
    assert [len(each.pairs) for each in looks] == [1, 1, 1, 0, 1, 1, 0]
    assert [each.frame.cut for each in looks] == [False] * 4 + [True] + [False] * 2
    for each in looks:
        assert all(found.first is each.frame for found in each.pairs)


def test_without_cuts_two_pictures_are_a_pair() -> None:
    follower = Follower(cuts=False)
    frames = as_frames([*camera(1), *camera(1, number=2)])
    engine = Engine(Tiny(), "cpu", "fp32")
    looks = list(follower.looks((found,) for found in engine.pairs(follower.watch(frames))))
    assert [len(each.pairs) for each in looks] == [1, 0]


def test_another_engine_gets_the_same_pairs() -> None:
    """Also where frames are missing between two shots."""
    frames = [noise(number) for number in (0, 1, 2, 5, 6)]
    first = run(Tiny(), frames[:3]) + run(Tiny(), frames[3:])
    engine = Engine(Tiny(), "cpu", "fp32", batch=2)
    both = list(with_engine(iter(first), engine))
    assert [(one.first.index, one.second.index) for one, _ in both] == [(0, 1), (1, 2), (5, 6)]
    for one, other in both:
        assert (other.first.index, other.second.index) == (one.first.index, one.second.index)
        torch.testing.assert_close(other.forward.uv, one.forward.uv)


def pairs(count: int, height: int = 33) -> Iterator[FlowPair]:
    return (pair(number, noisy(number, height, 41)) for number in range(count))


def test_flow_of_others_lies_beside() -> None:
    found = list(with_flow(pairs(2), pairs(3)))
    assert [(one.first.index, other.first.index) for one, other in found] == [(0, 0), (1, 1)]


def test_flow_to_compare_with_must_be_as_long_and_as_large() -> None:
    with pytest.raises(InputError, match="the flow to compare with ends early"):
        list(with_flow(pairs(3), pairs(2)))
    with pytest.raises(InputError, match="flows of 41x33 and 41x31"):
        list(with_flow(pairs(3), pairs(3, 31)))


def pictures(count: int, height: int = 33) -> list[Frame]:
    return [frame(number, height, 41) for number in range(count)]


def test_flow_is_shown_with_its_frames() -> None:
    flows = [(each,) for each in pairs(2)]
    looks = list(looks_of_flow(flows, pictures(3)))
    assert [(each.frame.index, len(each.pairs)) for each in looks] == [(0, 1), (1, 1), (2, 0)]
    assert np.array_equal(looks[1].frame.image, pictures(2)[1].image)
    assert [each.frame.index for each in looks_of_flow(flows)] == [0, 1]


def test_frames_that_do_not_fit_the_flow_are_refused() -> None:
    flows = [(each,) for each in pairs(2)]
    with pytest.raises(InputError, match="there are more flows than pairs of frames"):
        list(looks_of_flow(flows, pictures(1)))
    with pytest.raises(InputError, match="frames are 41x31, the flow 41x33"):
        list(looks_of_flow(flows, pictures(3, 31)))
