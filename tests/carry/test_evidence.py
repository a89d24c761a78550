from __future__ import annotations

import torch

from flowcli.carry.evidence import look_at
from tests.carry.known import HEIGHT, WIDTH, Scene, evidence


def test_pictures_are_reduced_to_about_one_size() -> None:
    assert look_at(Scene().frame(0), torch.device("cpu")).cell == 1


def test_what_is_uncovered_is_not_trusted_and_the_rest_is() -> None:
    scene = Scene(step=(8, 0), side=21)
    left, top = scene.corner(0)
    uncovered = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    uncovered[top : top + 21, left : left + 8] = True
    for both in (False, True):
        seen = evidence(scene, 1, 0, both=both)
        assert float((seen.trust[uncovered] < 0.1).float().mean()) > 0.9
        # Errors are averaged over five pixels.
        far = ~torch.nn.functional.max_pool2d(uncovered.float()[None], 7, 1, 3)[0].bool()
        assert float(seen.trust[far].mean()) > 0.95


def test_what_comes_from_outside_is_not_trusted() -> None:
    seen = evidence(Scene(pan=5, side=0), 1, 0)
    assert not seen.trust[:, :5].any()
    assert not seen.same[:, :5].any()
    assert seen.same[:, 10:].all()
    assert (seen.trust[:, 10:] > 0.999).all()
