from __future__ import annotations

import numpy as np
import pytest
import torch

from flowcli.carry.soft import settle_planes
from flowcli.engine.schedule import Keys
from flowcli.ops import warp
from tests.carry.known import HEIGHT, WIDTH, Scene, carried_labels, evidence, linked


def test_no_motion_keeps_every_grey() -> None:
    still = Scene(side=0)
    matte = np.random.default_rng(1).integers(0, 256, (1, HEIGHT, WIDTH)).astype(np.float32) / 255
    given = torch.from_numpy(matte)
    carried = settle_planes(warp(given, still.flow(1, 0)), evidence(still, 1, 0))
    assert torch.equal((carried * 255).round(), (given * 255).round())


def test_a_soft_edge_moves_and_stays_soft_without_ghosts() -> None:
    scene = Scene(step=(8, 0))
    truth = [soft(scene, index) for index in (0, 1)]
    carried = settle_planes(warp(truth[0], scene.flow(1, 0)), evidence(scene, 1, 0))
    assert float((carried - truth[1]).abs().mean()) < 0.01
    middle = carried[0, 30, 10 : 10 + 40]
    assert ((middle > 0.2) & (middle < 0.8)).any()


def soft(scene: Scene, index: int) -> torch.Tensor:
    """(1, H, W): the square, fading towards its sides over three pixels."""
    mask = torch.from_numpy(scene.mask(index)).float()[None, None]
    inner = -torch.nn.functional.max_pool2d(-mask, 3, 1, 1)
    core = -torch.nn.functional.max_pool2d(-mask, 5, 1, 2)
    return ((mask + inner + core) / 3)[0]


@pytest.mark.parametrize("sides", ["before", "both"])
def test_mattes_stay_soft_however_far_they_go(sides: Keys) -> None:
    """Sampled once: a chain of eight samples would blur an edge of three pixels to ten."""
    scene, keys = Scene(step=(5, 0)), (0, 8)
    flows = linked(scene, 9, both=sides != "before")
    found = carried_labels(flows, lambda frame: soft(scene, frame.index) if frame.index in keys else None, sides)
    for each in found:
        assert each.value is not None
        expected = soft(scene, each.frame.index)
        if each.key:
            assert torch.equal(each.value, expected)
        assert float((each.value - expected).abs().mean()) < 0.015
        edge = (expected > 0) & (expected < 1)
        assert float((each.value - expected).abs()[edge].mean()) < 0.12
