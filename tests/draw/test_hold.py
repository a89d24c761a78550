from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from flowcli.draw.effects import Color
from flowcli.draw.hold import Hold
from flowcli.draw.scale import clip_scale
from flowcli.shots import HELD
from flowcli.types import FlowField, FlowPair, Frame

IMAGE = np.zeros((5, 7, 3), np.uint8)


def clip(pattern: str, *, versus: bool = False) -> list[FlowPair]:
    """Pairs whose u is their number, 0 where frames repeat. pattern: a frame each; `n` new, `=` repeated, `|` a cut."""
    frames = [Frame(IMAGE, i, Fraction(i), None, sign == "|", sign == "=") for i, sign in enumerate(pattern)]
    pairs = []
    for number, (first, second) in enumerate(pairwise(frames)):
        uv = torch.zeros(2, 5, 7)
        uv[0] = 0 if second.repeats else number
        pair = FlowPair(first, second, FlowField(uv), FlowField(-uv), at=first)
        pairs.append(replace(pair, versus=replace(pair, forward=FlowField(uv / 2))) if versus else pair)
    return pairs


def shown(pairs: list[FlowPair]) -> list[float]:
    hold = Hold()
    held = [hold(pair) for pair in pairs]
    assert [each.at for each in held] == [each.at for each in pairs]
    return [float(each.forward.uv[0].mean()) for each in held]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("nnnn", [0, 1, 2]),
        ("nn=n=n", [0, 0, 2, 2, 4]),
        ("nnn==n==n", [0, 1, 1, 1, 4, 4, 4, 7]),
        # On fours, and a scene that stands still.
        ("nnn===n", [0, 1, 1, 1, 1, 5]),
        ("nnn=====n", [0, 1, 1, 1, 1, 0, 0, 7]),
        ("nnn=====n=n", [0, 1, 1, 1, 1, 0, 0, 7, 7, 9]),
        # Nothing is held over from another shot, nor before there is any flow.
        ("nnn|=n", [0, 1, 2, 0, 4]),
        ("n=n=n", [0, 1, 1, 3]),
    ],
)
def test_what_is_shown(pattern: str, expected: list[float]) -> None:
    assert HELD == 3
    pairs = clip(pattern)
    assert shown(pairs) == expected
    # Seen from the other frame, it is the flow back in time.
    assert shown([pair.reversed() for pair in pairs]) == [-each for each in expected]


def test_the_flow_of_a_second_method_is_held_too() -> None:
    hold = Hold()
    held = [hold(pair).versus for pair in clip("nnn=n", versus=True)]
    assert [each and float(each.forward.uv[0].mean()) for each in held] == [0, 0.5, 0.5, 1.5]


def test_repeated_frames_say_nothing_of_the_scale() -> None:
    color = Color()
    fast = FlowField(torch.tensor([8.0, 0])[:, None, None].expand(2, 5, 7))
    pairs = [pair if pair.repeats else replace(pair, forward=fast) for pair in clip("nn" + "===n" * 6)]
    assert clip_scale(pairs, 99) == 8
    for pair in pairs:
        color(pair)
    assert color.scale_range == (8, 8)
