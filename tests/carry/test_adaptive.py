from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from flowcli.carry.adaptive import Need, link_when_needed
from flowcli.classic import Classic
from flowcli.engine.engine import Engine
from flowcli.engine.schedule import Keys
from flowcli.types import FlowField, FlowPair, Frame
from tests.carry.known import Scene
from tests.fakes import Tiny
from tests.moving import as_frames, camera


def linked(frames: Sequence[Frame], missing: float, most: int, sides: Keys = "both") -> list[tuple[int, list[int]]]:
    """The frames, and the key frames that each is linked with; none has links to itself."""
    found = link_when_needed(Engine(Classic("dis"), "cpu", batch=1), iter(frames), missing, most, sides)
    return [(each.frame.index, [pair.second.index for pair in each.pairs]) for each in found]


def keys(links: list[tuple[int, list[int]]]) -> list[int]:
    return [index for index, places in links if not places]


def test_still_pictures_need_a_key_frame_as_often_as_it_is_asked_for() -> None:
    frames = as_frames(np.repeat(camera(1), 12, axis=0))
    links = linked(frames, 0.2, 5)
    assert [index for index, _ in links] == list(range(12))
    assert keys(links) == [0, 5, 10, 11]
    assert [places for _, places in links[1:5]] == [[0, 5]] * 4


def test_a_pan_needs_one_when_its_share_has_gone_out_of_view() -> None:
    """By 9 of 144 pixels a frame: of the third frame 18 % is missing, of the fourth 25."""
    frames = as_frames(camera(9, pan=9))
    # One frame later than it is found out.
    assert keys(linked(frames, 0.23, 30)) == [0, 5, 8]
    assert keys(linked(frames, 0.99, 30)) == [0, 8]
    assert keys(linked(frames, 0.23, 30, "before")) == [0, 5]


@pytest.mark.parametrize("sides", ["before", "after", "both"])
def test_frames_are_linked_with_the_sides_that_are_wanted(sides: Keys) -> None:
    links = dict(linked(as_frames(camera(8, pan=2)), 0.99, 3, sides))
    around = {1: [0, 3], 2: [0, 3], 4: [3, 6], 5: [3, 6]}
    wanted = {"before": slice(1), "after": slice(1, 2), "both": slice(2)}[sides]
    assert {index: links[index] for index in around} == {index: places[wanted] for index, places in around.items()}
    assert links[7] == ([6] if sides == "before" else [])


def test_each_shot_begins_with_a_key_frame() -> None:
    frames = [replace(frame, cut=frame.index == 4) for frame in as_frames(camera(8, pan=1))]
    assert dict(linked(frames, 0.99, 30)) == {0: [], 1: [0, 3], 2: [0, 3], 3: [], 4: [], 5: [4, 7], 6: [4, 7], 7: []}


def test_flow_is_that_of_the_engine() -> None:
    frames = as_frames(camera(6, pan=3))
    engine = Engine(Classic("dis"), "cpu", batch=1)
    for each in link_when_needed(engine, iter(frames), 0.99, 5, "both"):
        for pair in each.pairs:
            (alone,) = engine.pairs(iter((pair.first, pair.second)))
            difference = (pair.forward.uv - alone.forward.uv).abs().max().item()
            assert difference <= 2**-10 * alone.forward.uv.abs().max().item()


def test_each_frame_is_encoded_once() -> None:
    model = Tiny()
    links = list(link_when_needed(Engine(model, "cpu", batch=1), iter(as_frames(camera(9, pan=2))), 0.3, 4, "both"))
    assert sum(len(each.pairs) for each in links) > 8
    assert len(model.encoded) == 9


def test_what_the_last_key_frame_does_not_show_decides() -> None:
    """A square moves over a still picture: what it covers and uncovers is 2 x 21 x 9 of 65 x 97 pixels, or less."""
    scene = Scene(step=(9, 0))

    def asked(missing: float) -> Iterator[bool]:
        need = Need(missing, 30)
        for index in range(4):
            yield need.is_key(scene.frame(index))
            if index:
                frames = scene.frame(index), scene.frame(0)
                need.see(FlowPair(*frames, FlowField(scene.flow(index, 0)), at=frames[0]))

    assert list(asked(0.2)) == [True, False, False, False]
    assert list(asked(0.01)) == [True, False, True, True]
