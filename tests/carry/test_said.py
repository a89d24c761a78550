from __future__ import annotations

from dataclasses import replace

from flowcli.carry.said import RegularKeys
from tests.carry.known import Scene


def test_every_nth_frame_of_a_shot_and_its_last_are_keys() -> None:
    frames = [replace(Scene().frame(index), cut=index in (0, 5, 12)) for index in range(13)]
    keys = RegularKeys(3)
    taken = [frame.index for frame in keys.noted(frames) if keys.take(frame)]
    assert taken == [0, 3, 4, 5, 8, 11, 12]
    assert not keys.take(frames[0])
    assert [frame.index for frame in RegularKeys(1).noted(frames)] == list(range(13))
    assert not list(RegularKeys(2).noted([]))
