from __future__ import annotations

import numpy as np
import torch

from flowcli.carry.run import CarryOptions
from flowcli.evaluation.carriers import Carrier, chained, copied, propagated
from flowcli.options import EngineOptions
from flowcli.types import Frame
from flowcli.weights import entries
from tests.carry.known import Scene, labels, overlap

SCENE = Scene(step=(2, 1), side=25)
"""A square that moves over a still picture."""


def run(carrier: Carrier, *keys: int, count: int = 7) -> list[torch.Tensor]:
    return list(carrier((SCENE.frame(index) for index in range(count)), {key: labels(SCENE, key) for key in keys}))


def sources(frames: list[torch.Tensor], *keys: int) -> list[int | None]:
    """The key frame that each frame has the labels of, unmoved; None if it has others."""
    return [next((key for key in keys if torch.equal(frame, labels(SCENE, key))), None) for frame in frames]


def still(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.zeros((2, *first.shape[:2]), np.float32)


def test_copies_are_of_the_nearest_key_frame() -> None:
    assert sources(run(copied, 0, 5), 0, 5) == [0, 0, 0, 5, 5, 5, 5]
    assert sources(run(copied, 0, 4), 0, 4) == [0, 0, 0, 4, 4, 4, 4]
    assert sources(run(copied, 0), 0) == [0] * 7


def test_a_chain_without_motion_is_a_copy() -> None:
    for keys in ((0,), (0, 5), (0, 4), (0, 1), (0, 1, 2, 6)):
        assert sources(run(chained(still), *keys), *keys) == sources(run(copied, *keys), *keys)


def test_a_chain_follows_the_flow_from_frame_to_frame() -> None:
    images = [SCENE.frame(index).image for index in range(9)]

    def true(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        one, other = (next(place for place, each in enumerate(images) if each is image) for image in (first, second))
        assert abs(one - other) == 1
        uv = np.zeros((2, *first.shape[:2]), np.float32)
        uv[0], uv[1] = 2 * (other - one), other - one
        return uv

    frames = [Frame(image, index, SCENE.frame(index).time) for index, image in enumerate(images)]
    keys = {key: labels(SCENE, key) for key in (0, 5)}
    found = list(chained(true)(iter(frames), keys))
    assert sources(found, *range(9)) == list(range(9))


def test_masks_are_carried_as_the_command_does() -> None:
    options = EngineOptions("dis", device="cpu")
    for keys, refine in (((0,), False), ((0, 6), False), ((0,), True)):
        found = run(propagated(entries.resolve("dis"), options, CarryOptions(refine_edges=refine)), *keys)
        assert all(torch.equal(found[key], labels(SCENE, key)) for key in keys)
        assert min(overlap(each, labels(SCENE, index)) for index, each in enumerate(found)) > 0.7
