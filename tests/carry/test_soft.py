from __future__ import annotations

import numpy as np
import torch

from flowcli.carry.soft import Soft, carry_planes
from tests.carry.known import HEIGHT, WIDTH, Scene, evidence


def test_no_motion_keeps_every_grey() -> None:
    still = Scene(side=0)
    matte = np.random.default_rng(1).integers(0, 256, (1, HEIGHT, WIDTH)).astype(np.float32) / 255
    given = torch.from_numpy(matte)
    carried = carry_planes(given, still.flow(1, 0), evidence(still, 1, 0))
    assert torch.equal((carried * 255).round(), (given * 255).round())


def test_a_soft_edge_moves_and_stays_soft_without_ghosts() -> None:
    scene = Scene(step=(8, 0))
    truth = [soft(scene, index) for index in (0, 1)]
    carried = carry_planes(truth[0], scene.flow(1, 0), evidence(scene, 1, 0))
    assert float((carried - truth[1]).abs().mean()) < 0.01
    middle = carried[0, 30, 10 : 10 + 40]
    assert ((middle > 0.2) & (middle < 0.8)).any()


def soft(scene: Scene, index: int) -> torch.Tensor:
    """(1, H, W): the square, fading towards its sides over three pixels."""
    mask = torch.from_numpy(scene.mask(index)).float()[None, None]
    inner = -torch.nn.functional.max_pool2d(-mask, 3, 1, 1)
    core = -torch.nn.functional.max_pool2d(-mask, 5, 1, 2)
    return ((mask + inner + core) / 3)[0]


def test_blend_is_the_weighted_mean() -> None:
    one, other = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    assert torch.allclose(Soft().blend(one, other, torch.tensor([[0.25, 0.25]])), torch.tensor([[[0.25, 0.75]]]))
