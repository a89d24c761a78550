from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from flowcli.carry.colours import LEVELS, MOST_LABELS, Colours, learn_colours, number_colours
from flowcli.carry.evidence import look_at
from flowcli.carry.labels import settle_labels
from flowcli.carry.soft import settle_planes
from flowcli.types import Frame
from tests.carry.known import Scene, evidence, labels, overlap

GREEN, RED, GREY = (40, 200, 40), (200, 40, 40), (120, 120, 120)


def learnt(image: np.ndarray, value: torch.Tensor) -> Colours:
    return learn_colours(value, look_at(Frame(image, 0, Fraction(0)), value.device))


def said(colours: Colours, colour: tuple[int, int, int]) -> tuple[list[float], list[Any]]:
    """Values and weights that a colour has: one, or one of each plane."""
    value, weight = colours.of(number_colours(torch.tensor(colour, dtype=torch.float32).view(3, 1)))
    return value.flatten().tolist(), weight.flatten().tolist()


def two_things() -> tuple[np.ndarray, torch.Tensor]:
    """A ground of green, a thing of red, and grey in both."""
    image = np.full((40, 60, 3), GREEN, np.uint8)
    mask = torch.zeros(40, 60, dtype=torch.int32)
    mask[10:20, 10:30] = 500
    image[10:20, 10:30] = RED
    image[10:12, 10:30] = GREY
    image[30:40] = GREY
    return image, mask


def test_a_colour_that_one_label_has_speaks_for_it_and_one_of_both_for_none() -> None:
    colours = learnt(*two_things())
    assert said(colours, GREEN) == ([0], [pytest.approx(1, abs=1e-3)])
    assert said(colours, RED) == ([500], [pytest.approx(1, abs=1e-3)])
    assert said(colours, GREY)[1] == [0]
    assert said(colours, (20, 20, 220))[1] == [0], "a colour that the frame does not have"
    # Cameras are not exact: a colour beside it is the same.
    near = 256 // LEVELS
    assert said(colours, (RED[0] + near, RED[1] - near, RED[2])) == ([500], [pytest.approx(1, abs=1e-3)])


def test_planes_are_judged_one_by_one() -> None:
    image, mask = two_things()
    thing = (mask != 0).float()
    nothing = torch.zeros_like(thing)
    values, weights = said(learnt(image, torch.stack((thing, 1 - thing, nothing))), RED)
    assert values[:2] == [1, 0]
    assert weights == [pytest.approx(1, abs=1e-3), pytest.approx(1, abs=1e-3), 0]


def test_a_frame_with_one_label_tells_nothing() -> None:
    image, mask = two_things()
    assert float(learnt(image, torch.full_like(mask, 3)).weights.max()) == 0
    assert float(learnt(image, torch.ones(1, *mask.shape)).weights.max()) == 0


def test_many_labels_have_their_colours() -> None:
    """Sixteen stripes, each of its own grey, but two of them of the same."""
    greys = [10 + 15 * number for number in range(15)] + [10]
    image = np.repeat(np.array(greys, np.uint8), 4)[None, :, None].repeat(30, 0).repeat(3, 2)
    mask = torch.arange(16, dtype=torch.int32).repeat_interleave(4)[None].expand(30, -1).contiguous()
    colours = learnt(image, mask)
    for number, grey in enumerate(greys):
        value, weight = said(colours, (grey, grey, grey))
        assert weight[0] == 0 if grey == 10 else (value, round(weight[0], 2)) == ([number], 1)


def test_labels_beyond_the_largest_speak_only_against_others() -> None:
    labels = torch.zeros(60, 100, dtype=torch.int32)
    image = np.full((60, 100, 3), GREEN, np.uint8)
    for number in range(MOST_LABELS + 10):
        row, column = divmod(number, 20)
        labels[4 * row : 4 * row + 4, 5 * column : 5 * column + 4] = number + 1
        image[4 * row : 4 * row + 4, 5 * column : 5 * column + 4] = (255 - 3 * number, 3 * number, 128)
    labels[40:44] = 1
    image[40:44] = RED
    image[labels == MOST_LABELS + 10] = RED
    colours = learnt(image, labels)
    assert said(colours, GREEN) == ([0], [pytest.approx(1, abs=1e-3)])
    value, weight = said(colours, RED)
    assert value == [1]
    assert 0 < weight[0] < 0.3, "the last label has it, too"
    assert set(colours.values.unique().tolist()) <= set(labels.unique().tolist())


def coloured(scene: Scene, index: int) -> Frame:
    """A red square over green ground, both with a little texture."""
    texture = scene.frame(index).image.mean(2, keepdims=True) * 0.1
    image = np.where(scene.mask(index)[..., None], np.array(RED), np.array(GREEN)) + texture
    return Frame(image.astype(np.uint8), index, Fraction(index, 25))


def test_colours_settle_what_wrong_flow_has_brought() -> None:
    """The flow says that the square stands still, and nothing else tells that it does not."""
    scene, reach = Scene(step=(3, 0)), 3
    carried, truth = labels(scene, 0), labels(scene, 1)
    known = evidence(scene, 0, 0)
    look, nowhere = look_at(coloured(scene, 1), carried.device), torch.zeros_like(known.same)
    known = replace(known, look=look, trust=0.1 * known.trust, same=nowhere)
    colours = learnt(coloured(scene, 0).image, labels(scene, 0))
    assert overlap(carried, truth) < 1 - reach / 21
    assert torch.equal(settle_labels(carried, known, [colours]), truth)
    planes = (carried != 0).float()[None]
    mattes = learnt(coloured(scene, 0).image, planes)
    with_colours, without = (settle_planes(planes, known, each) for each in ([mattes], []))
    error, old = ((each[0] - (truth != 0).float()).abs().mean() for each in (with_colours, without))
    assert error < 0.6 * old
