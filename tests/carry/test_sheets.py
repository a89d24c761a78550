from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from flowcli.carry.sheets import Laid, Sheets, lay, over, straight
from flowcli.carry.stream import Carried, carry
from flowcli.types import Frame
from tests.carry.known import HEIGHT, WIDTH, Scene, linked

CPU = torch.device("cpu")


def painted(left: int = 30, top: int = 20, side: int = 20, colour: int = 0) -> np.ndarray:
    """(HEIGHT, WIDTH, 4): a square of many colours, half of it half transparent."""
    picture = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    part = picture[top : top + side, left : left + side]
    part[..., :3] = np.random.default_rng(colour).integers(0, 256, (*part.shape[:2], 3))
    part[..., 3] = 255
    part[side // 2 :, :, 3] = 128
    return picture


def run(
    scene: Scene, count: int, pictures: Mapping[int, np.ndarray], cuts: tuple[int, ...] = ()
) -> list[Carried[Laid]]:
    def key(frame: Frame) -> Laid | None:
        return lay(pictures[frame.index], frame.image, CPU) if frame.index in pictures else None

    return list(carry(linked(scene, count, both=True, cuts=cuts), key, Sheets()))


def layers(frames: list[Carried[Laid]]) -> list[np.ndarray]:
    return [np.zeros((HEIGHT, WIDTH, 4)) if each.value is None else straight(each.value.layer()) for each in frames]


def by_hand(image: np.ndarray, layer: np.ndarray) -> np.ndarray:
    alpha = layer[..., 3:] / 255
    mixed: np.ndarray = image * (1 - alpha) + layer[..., :3] * alpha
    return mixed


def test_no_flow_copies_pictures_bit_by_bit_both_ways() -> None:
    scene, picture = Scene(side=0), painted()
    for layer in layers(run(scene, 7, {3: picture})):
        assert np.array_equal(layer, picture)


def test_whole_pixels_move_pictures_exactly() -> None:
    frames = run(Scene(pan=3, side=0), 5, {2: painted()})
    for index, layer in enumerate(layers(frames)):
        assert np.array_equal(layer, painted(left=30 + 3 * (index - 2)))


def test_over_the_frame() -> None:
    (frame,) = run(Scene(side=0), 1, {0: painted()})
    assert frame.value is not None
    image = over(frame.frame.image, frame.value.layer())
    assert np.abs(image - by_hand(frame.frame.image, painted())).max() <= 0.5 + 1e-3


def test_what_is_hidden_is_not_painted_and_is_painted_again() -> None:
    """A square passes over paint on the ground, from the left to the right, and has none of it on itself."""
    scene, picture = Scene(side=15, step=(5, 0), start=(2, 22)), painted(left=40)
    alpha = picture[..., 3] / 255
    frames = run(scene, 14, {0: picture})
    for index, layer in enumerate(layers(frames)):
        covered = scene.mask(index)
        on_square, on_ground = (layer[..., 3][covered] / 255).mean(), layer[..., 3] / 255
        assert on_square < 0.06, index
        free = ~covered
        missing = np.abs(on_ground - alpha)[free & (alpha > 0)]
        if missing.size:
            assert missing.mean() < 0.15, index
        assert on_ground[free & (alpha == 0)].mean() < 0.01
    # Where the square never was, all is as it was given.
    assert np.array_equal(layers(frames)[13][37:40], picture[37:40])


def test_paint_on_a_moving_thing_stays_on_it() -> None:
    scene = Scene(side=25, step=(3, 1), start=(10, 10))
    picture = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    picture[scene.mask(0)] = (250, 10, 20, 255)
    for index, layer in enumerate(layers(run(scene, 9, {0: picture}))):
        there, mask = layer[..., 3] > 127, scene.mask(index)
        assert not (there & ~mask).any(), index
        assert (there & mask).sum() > 0.87 * mask.sum(), index


def test_a_place_that_one_key_frame_shows_comes_from_it_alone() -> None:
    """Both pictures paint all of the frame, in other colours."""
    red, blue = np.full((2, HEIGHT, WIDTH, 4), 255, np.uint8)
    red[..., 1:3] = 0
    blue[..., :2] = 0
    frames = run(Scene(pan=8, side=0), 5, {0: red, 4: blue})
    made = layers(frames)
    assert np.array_equal(made[0], red)
    assert np.array_equal(made[4], blue)
    # What enters on the left is in the picture on the last frame only.
    assert np.array_equal(made[2][:, :15], blue[:, :15])
    assert np.array_equal(made[2][:, -15:], red[:, -15:])
    middle = made[2][:, 30:60, :3].astype(int)
    np.testing.assert_allclose(middle, np.broadcast_to((128, 0, 128), middle.shape), atol=16)


def test_a_picture_without_alpha_is_what_differs_from_its_frame() -> None:
    scene = Scene(side=0)
    image = scene.frame(0).image.copy()
    image[20:30, 40:60] = (1, 2, 3)
    image[0] = np.where(image[0] < 254, image[0] + 2, image[0])
    (frame,) = run(scene, 1, {0: image})
    assert frame.value is not None
    layer = straight(frame.value.layer())
    assert set(np.unique(layer[..., 3])) == {0, 255}
    assert (layer[20:30, 40:60] == (1, 2, 3, 255)).all()
    assert layer[..., 3].astype(bool).sum() == 200


def test_a_cut_ends_it() -> None:
    empty = [not layer.any() for layer in layers(run(Scene(side=0), 6, {0: painted()}, cuts=(3,)))]
    assert empty == [False] * 3 + [True] * 3
