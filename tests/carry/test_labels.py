from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from flowcli.carry.evidence import Evidence, look_at, weigh
from flowcli.carry.labels import near, settle_labels
from flowcli.ops import sample_labels
from tests.carry.known import HEIGHT, WIDTH, Scene, evidence, labels, overlap


def random_labels(most: int = 60000, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, most, (height, width), dtype=np.int32))


def carry_labels(given: torch.Tensor, flow: torch.Tensor, known: Evidence) -> torch.Tensor:
    return settle_labels(sample_labels(given, flow), known)


def test_no_motion_copies_every_label() -> None:
    still = Scene(side=0)
    given = random_labels()
    assert torch.equal(carry_labels(given, still.flow(1, 0), evidence(still, 1, 0)), given)


@pytest.mark.parametrize("pan", [1, -4])
def test_whole_pixels_move_labels_exactly(pan: int) -> None:
    scene = Scene(pan=pan, side=0)
    given = random_labels(9)
    carried = carry_labels(given, scene.flow(1, 0), evidence(scene, 1, 0))
    # Five pixels from the side on which new ground comes in: errors are averaged over a window.
    reach = abs(pan) + 5
    inside = np.s_[:, reach:] if pan > 0 else np.s_[:, :-reach]
    assert torch.equal(carried[inside], torch.roll(given, pan, 1)[inside])


def test_uncovered_ground_does_not_take_the_label_of_what_stood_there() -> None:
    scene = Scene(step=(8, 0))
    flow = scene.flow(1, 0)
    ghosts = sample_labels(labels(scene, 0), flow)
    carried = carry_labels(labels(scene, 0), flow, evidence(scene, 1, 0))
    truth = labels(scene, 1)
    assert overlap(ghosts, truth) < 0.75
    assert overlap(carried, truth) > 0.95


def test_large_pictures_are_judged_by_cells_and_borders_follow_their_pixels() -> None:
    """Eight times as large: cells of two pixels, and a square whose edges lie within cells."""
    factor = 8
    scene = Scene(step=(5, 0), side=20)

    def large(index: int) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
        image = scene.frame(index).image.repeat(factor, 0).repeat(factor, 1)
        mask = labels(scene, index).repeat_interleave(factor, 0).repeat_interleave(factor, 1)
        return image, mask, scene.flow(1, 0).repeat_interleave(factor, 1).repeat_interleave(factor, 2) * factor

    frames = [replace(scene.frame(index), image=large(index)[0]) for index in (0, 1)]
    looks = [look_at(frame, torch.device("cpu")) for frame in frames]
    assert looks[0].cell == 2
    flow = large(1)[2]
    carried = carry_labels(large(0)[1], flow, weigh(looks[1], looks[0], flow))
    assert carried.shape == (factor * HEIGHT, factor * WIDTH)
    assert overlap(sample_labels(large(0)[1], flow), large(1)[1]) < 0.85
    assert overlap(carried, large(1)[1]) > 0.93


@pytest.mark.parametrize("size", [(65, 97), (3, 40), (1, 1)])
def test_near_is_every_cell_within_reach(size: tuple[int, int]) -> None:
    cells = torch.rand(size, generator=torch.Generator().manual_seed(4)) < 0.01
    cells[0, -1] = True
    for reach in (1, 4, 12, 64):
        y, x = torch.meshgrid(*(torch.arange(side) for side in size), indexing="ij")
        expected = torch.zeros(size, dtype=torch.bool)
        for row, column in cells.nonzero().tolist():
            expected |= torch.maximum((y - row).abs(), (x - column).abs()) <= reach
        assert torch.equal(near(cells, reach), expected)


def test_stray_pixels_in_doubt_get_the_label_of_their_surroundings() -> None:
    """Cells of two pixels, whose middle alone is looked at, do not hide lines of one pixel."""
    scene = Scene(side=0)
    image = scene.frame(0).image.repeat(8, 0).repeat(8, 1)
    frame = replace(scene.frame(0), image=image)
    flow = torch.zeros(2, *image.shape[:2])
    known = weigh(look_at(frame, flow.device), look_at(frame, flow.device), flow)
    known = replace(known, same=torch.zeros_like(known.same), trust=torch.ones_like(known.trust))
    given = torch.zeros(image.shape[:2], dtype=torch.int32)
    given[100:300, 100:300] = 5
    lined = given.clone()
    lined[400:402:2, 100:500] = 5
    assert known.look.cell == 2
    assert torch.equal(settle_labels(lined, known), lined)
    doubted = known.trust.clone()
    doubted[190:210] = 0
    assert torch.equal(settle_labels(lined, replace(known, trust=doubted)), given)
