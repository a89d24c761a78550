from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.train import motion, recording, rendering, synthetic
from flowcli.train.kinds import draw_scene
from flowcli.train.scenes import HARMONICS, WAVES, Layer, Look, Motion, Scene
from flowcli.train.textures import TEXTURE_SIZE, procedural_textures

HEIGHT, WIDTH = 96, 130
CPU = torch.device("cpu")
NO_BANK = torch.zeros(1, 3, TEXTURE_SIZE, TEXTURE_SIZE, dtype=torch.uint8)


@pytest.fixture(scope="module")
def bank() -> Tensor:
    return torch.stack(procedural_textures(6, seed=1))


def moving(**given: object) -> Motion:
    """No motion, but for what is given."""
    values: dict[str, Any] = {
        "center": torch.tensor([[60.0, 40.0]]),
        "shift": torch.zeros(1, 2),
        "turn": torch.zeros(1),
        "zoom": torch.zeros(1),
        "stretch": torch.zeros(1, 2),
        "tilt": torch.zeros(1, 2),
    }
    return Motion(**{**values, **given})


def layer(**given: object) -> Layer:
    """One still background, but for what is given."""
    values: dict[str, Any] = {
        "texture": torch.tensor([0]),
        "mapping": torch.tensor([[[1.0, 0.0, 100.0], [0.0, 1.0, 100.0]]]),
        "tint": torch.ones(1, 3),
        "contrast": torch.ones(1),
        "opacity": torch.ones(1),
        "mask": torch.tensor([0]),
        "cutout": torch.zeros(1, 2),
        "motion": moving(),
        "carrier": moving(),
        "place": torch.tensor([[60.0, 40.0]]),
        "wave": torch.zeros(1, WAVES, 5),
        "radius": torch.full((1, 2), torch.inf),
        "angle": torch.zeros(1),
        "sides": torch.tensor([4.0]),
        "spin": torch.zeros(1),
        "smooth": torch.ones(1),
        "outline": torch.zeros(1, HARMONICS, 2),
        "hole": torch.zeros(1),
    }
    return Layer(**{**values, **given})


def scene(*layers: Layer) -> Scene:
    look = Look(
        gain=torch.ones(1, 2, 3),
        offset=torch.zeros(1, 2, 1),
        gamma=torch.ones(1, 2),
        noise=torch.zeros(1, 2),
        blur=torch.zeros(1, 2),
        shutter=torch.zeros(1),
        haze=torch.zeros(1, 4),
        shadow=torch.zeros(1, 2, 5),
        quantizer=torch.zeros(1),
    )
    return Scene(layers, look, [0])


def remapped(image: Tensor, flow: Tensor) -> np.ndarray:
    """OpenCV's own sampling of a (3, H, W) picture at x + flow(x)."""
    y, x = np.mgrid[: flow.shape[1], : flow.shape[2]].astype(np.float32)
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    return cv2.remap(pixels, x + flow[0].numpy(), y + flow[1].numpy(), cv2.INTER_LINEAR)


def test_a_shift_is_the_flow() -> None:
    moved = scene(layer(motion=moving(shift=torch.tensor([[3.5, -2.0]]))))
    flow, occluded = rendering.true_flow(moved, NO_BANK, HEIGHT, WIDTH, 0.0, 1.0)
    torch.testing.assert_close(flow, torch.tensor([3.5, -2.0])[None, :, None, None].expand_as(flow), atol=1e-4, rtol=0)
    expected = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    expected[:2] = True
    expected[:, WIDTH - 4 :] = True
    assert torch.equal(occluded[0], expected)


def test_a_turn_is_a_rotation_about_the_center() -> None:
    angle = 0.2
    flow, _ = rendering.true_flow(
        scene(layer(motion=moving(turn=torch.tensor([angle])))), NO_BANK, HEIGHT, WIDTH, 0.0, 1.0
    )
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    z = (x - 60) + 1j * (y - 40)
    expected = z * np.exp(1j * angle) - z
    np.testing.assert_allclose(flow[0].numpy(), [expected.real, expected.imag], atol=1e-3)


def test_a_stretch_is_an_affine_motion() -> None:
    stretched = scene(layer(motion=moving(stretch=torch.tensor([[0.1, 0.05]]))))
    flow, _ = rendering.true_flow(stretched, NO_BANK, HEIGHT, WIDTH, 0.0, 1.0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    expected = [0.1 * (x - 60) + 0.05 * (y - 40), 0.05 * (x - 60) - 0.1 * (y - 40)]
    np.testing.assert_allclose(flow[0].numpy(), expected, atol=1e-3)


def test_contrast_leaves_grey_alone(bank: Tensor) -> None:
    images = [
        rendering.render(scene(layer(contrast=torch.tensor([share]))), bank, HEIGHT, WIDTH, (0.0,))[0]
        for share in (1.0, 0.25, 0.0)
    ]
    torch.testing.assert_close(images[1] - 0.5, 0.25 * (images[0] - 0.5))
    assert (images[2] == 0.5).all()


def test_motion_blur_is_the_mean_over_the_time_that_the_shutter_is_open(bank: Tensor) -> None:
    clip = scene(layer(motion=moving(shift=torch.tensor([[8.0, 0.0]]))))
    open_half = dataclasses.replace(clip, look=dataclasses.replace(clip.look, shutter=torch.tensor([0.5])))
    blurred = recording._exposed(open_half, bank, HEIGHT, WIDTH, 1.0)
    sharp = rendering.render(clip, bank, HEIGHT, WIDTH, (0.75, 0.875, 1.0, 1.125, 1.25))
    torch.testing.assert_close(blurred, torch.stack(sharp).mean(0))
    torch.testing.assert_close(recording._exposed(clip, bank, HEIGHT, WIDTH, 1.0), sharp[2])


@pytest.mark.slow
def test_scenes_of_a_batch_have_shutters_of_their_own(bank: Tensor) -> None:
    together = synthetic.make_pairs(bank, 3, range(12), 48, 64, ("mixed",))
    shutters = draw_scene(3, range(12), 48, 64, len(bank), ("mixed",)).look.shutter
    assert (shutters == 0).any()
    assert (shutters > 0).any()
    for index in range(12):
        alone = synthetic.make_pairs(bank, 3, [index], 48, 64, ("mixed",))
        assert (alone.second[0].float() - together.second[index].float()).abs().max() <= 1


def test_codec_leaves_what_is_coarse_and_drops_what_is_fine() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 20, 28)
    coded = recording._coded(image, torch.tensor([0.2, 0.0]))
    assert torch.equal(coded[1], image[1])
    assert 0.05 < (coded[0] - image[0]).abs().mean() < 0.25
    assert recording._coded(image, torch.tensor([1e-4, 1e-4])).sub(image).abs().max() < 0.01
    flat = torch.full((1, 3, 16, 16), 0.4)
    assert (recording._coded(flat, torch.tensor([0.1])) - 0.4).abs().max() < 0.1 / 8
    # A block is the sum of few cosines: each of them, transformed by the definition, is a whole number of steps.
    grey = recording._coded(image[:, :1].expand(-1, 3, -1, -1), torch.tensor([0.2, 0.0]))
    block = grey[0].mean(0)[:8, :8].numpy()
    place = np.arange(8)
    cosines = np.cos(np.pi / 8 * (place + 0.5) * place[:, None]) * np.where(place == 0, 8**-0.5, 0.5)[:, None]
    levels = cosines @ block @ cosines.T / (0.2 * (1 + 0.5 * (place + place[:, None])))
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)


def test_outside_its_window_a_layer_shows_nothing(bank: Tensor) -> None:
    drawn = draw_scene(9, range(6), HEIGHT, WIDTH, 6)
    x, y = rendering.pixels(6, HEIGHT, WIDTH, CPU)
    for each in drawn.layers[1:]:
        for time in (-0.3, 0.0, 1.0):
            seen = rendering._coverage(each, bank, *motion.origin(each, x, y, time)) > 0
            rows, columns = rendering._window(each, time, HEIGHT, WIDTH)
            seen[:, rows, columns] = False
            assert not seen.any()


def test_a_disc_hides_what_is_behind_it() -> None:
    place, size, shift = torch.tensor([[40.0, 50.0]]), torch.full((1, 2), 12.0), torch.tensor([[20.0, 0.0]])
    disc = layer(place=place, radius=size, motion=moving(shift=shift))
    flow, occluded = rendering.true_flow(scene(layer(), disc), NO_BANK, HEIGHT, WIDTH, 0.0, 1.0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    before = np.hypot(x - 40, y - 50)
    after = np.hypot(x - 60, y - 50)
    # The outline is soft over one pixel.
    np.testing.assert_array_equal(flow[0, 0].numpy()[before < 11], 20)
    np.testing.assert_array_equal(flow[0, 0].numpy()[before > 13], 0)
    hidden = occluded[0].numpy()
    assert hidden[(after < 11) & (before > 13)].all()
    assert not hidden[(after > 13) | (before < 11)].any()


@pytest.mark.slow
def test_origin_is_the_inverse_of_position() -> None:
    drawn = draw_scene(3, range(8), HEIGHT, WIDTH, 6)
    x, y = rendering.pixels(8, HEIGHT, WIDTH, CPU)
    for each in drawn.layers:
        for time in (-0.5, 0.7, 1.0):
            to_x, to_y = motion.position(each, *motion.origin(each, x, y, time), time)
            inside = torch.hypot(to_x - x, to_y - y)
            assert inside.quantile(0.99) < 0.05, (time, inside.max())


def test_flow_brings_the_second_frame_onto_the_first(bank: Tensor) -> None:
    drawn = draw_scene(11, range(6), HEIGHT, WIDTH, len(bank))
    first, second = rendering.render(drawn, bank, HEIGHT, WIDTH, (0.0, 1.0))
    flow, occluded = rendering.true_flow(drawn, NO_BANK, HEIGHT, WIDTH, 0.0, 1.0)
    kept = 0
    for number in range(6):
        seen = ~occluded[number].numpy()
        kept += seen.sum()
        difference = np.abs(remapped(second[number], flow[number]) - first[number].permute(1, 2, 0).numpy()).mean(2)
        still = (second[number] - first[number]).abs().mean(0).numpy()
        # Outlines are a mixture of two layers, and textures are sampled twice: most pixels agree, not all.
        assert np.median(difference[seen]) < 0.012
        assert difference[seen].mean() < 0.5 * still[seen].mean()
    assert kept > 0.5 * 6 * HEIGHT * WIDTH


def test_a_scene_is_a_function_of_seed_and_index(bank: Tensor) -> None:
    several = synthetic.make_pairs(bank, 5, (7, 8, 9), 48, 64)
    alone = synthetic.make_pairs(bank, 5, (8,), 48, 64)
    for name in ("first", "second", "flow", "occluded"):
        together = getattr(several, name)[1]
        same = getattr(alone, name)[0]
        if name == "flow":
            torch.testing.assert_close(together, same, atol=1e-3, rtol=0)
        else:
            # Rounding may differ in the last bit with the size of the batch.
            assert (together.float() - same.float()).abs().max() <= 1
    other = synthetic.make_pairs(bank, 6, (8,), 48, 64)
    assert (other.first.float() - alone.first.float()).abs().mean() > 5


@pytest.mark.slow
def test_pairs_are_pictures(bank: Tensor) -> None:
    pairs = synthetic.make_pairs(bank, 5, range(3), 48, 64)
    assert pairs.first.dtype == pairs.second.dtype == torch.uint8
    assert pairs.first.shape == pairs.second.shape == (3, 3, 48, 64)
    assert pairs.flow.shape == (3, 2, 48, 64)
    assert pairs.occluded.shape == (3, 48, 64)
    assert pairs.first.float().std() > 20


@pytest.mark.slow
def test_motions_are_of_all_lengths() -> None:
    drawn = draw_scene(1, range(200), HEIGHT, WIDTH, 6, ("mixed",))
    lengths = (drawn.layers[1].motion.shift + drawn.layers[1].carrier.shift).norm(dim=1)
    assert lengths.quantile(0.1) < 0.5
    assert 2 < lengths.median() < 10
    assert lengths.quantile(0.95) > 20
    assert lengths.max() > 80


@pytest.mark.slow
def test_scenes_have_one_to_twelve_shapes() -> None:
    drawn = draw_scene(1, range(200), HEIGHT, WIDTH, 6, ("mixed",))
    counts = torch.stack([each.radius.any(1) for each in drawn.layers[1:]]).sum(0)
    assert counts.unique().tolist() == list(range(1, 13))


def test_what_is_carried_moves_on_top_of_its_carrier() -> None:
    """A limb turns about its joint, then its body turns about its own middle and goes away."""
    body = moving(turn=torch.tensor([0.3]), shift=torch.tensor([[5.0, 2.0]]))
    limb = moving(center=torch.tensor([[30.0, 50.0]]), turn=torch.tensor([-0.8]))
    flow, _ = rendering.true_flow(scene(layer(motion=limb, carrier=body)), NO_BANK, HEIGHT, WIDTH, 0.0, 1.0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    z = x + 1j * y
    joint, middle = 30 + 50j, 60 + 40j
    turned = (z - joint) * np.exp(-0.8j) + joint
    expected = (turned - middle) * np.exp(0.3j) + middle + 5 + 2j - z
    np.testing.assert_allclose(flow[0].numpy(), [expected.real, expected.imag], atol=1e-3)


def test_what_is_seen_through_has_no_flow(bank: Tensor) -> None:
    place, size = torch.tensor([[40.0, 50.0]]), torch.full((1, 2), 12.0)
    shadow = layer(
        place=place,
        radius=size,
        motion=moving(shift=torch.tensor([[20.0, 0.0]])),
        contrast=torch.zeros(1),
        tint=torch.zeros(1, 3),
        opacity=torch.tensor([0.25]),
    )
    shaded = scene(layer(), shadow)
    flow, occluded = rendering.true_flow(shaded, bank, HEIGHT, WIDTH, 0.0, 1.0)
    assert not flow.any()
    assert not occluded.any()
    plain, dark = (rendering.render(each, bank, HEIGHT, WIDTH, (0.0,))[0] for each in (scene(layer()), shaded))
    torch.testing.assert_close(dark[0, :, 50, 40], 0.75 * plain[0, :, 50, 40])


def test_through_holes_one_sees_what_is_behind(bank: Tensor) -> None:
    """Stripes, 8 pixels wide: flow is theirs where they are bright, the background's between."""
    stripes = (torch.arange(TEXTURE_SIZE) // 8 % 2 * 255).to(torch.uint8)
    striped = torch.cat([bank, stripes.expand(1, 3, TEXTURE_SIZE, -1)])
    fence = layer(
        mask=torch.tensor([len(bank)]),
        cutout=torch.tensor([[0.5, 0.1]]),
        motion=moving(shift=torch.tensor([[3.0, 0.0]])),
    )
    flow, occluded = rendering.true_flow(scene(layer(), fence), striped, HEIGHT, WIDTH, 0.0, 1.0)
    bright = np.broadcast_to((np.arange(WIDTH) + 100) // 8 % 2 == 1, (HEIGHT, WIDTH))
    np.testing.assert_allclose(flow[0, 0].numpy(), np.where(bright, 3.0, 0.0), atol=1e-4)
    # Three pixels behind each stripe are hidden afterwards, of those that the stripes leave free.
    hidden = ~bright & np.roll(bright, 3, axis=1)
    np.testing.assert_array_equal(occluded[0].numpy()[:, 3:-3], hidden[:, 3:-3])


def test_longer_motion_is_averaged_over_more_moments(bank: Tensor) -> None:
    slow, fast = (
        dataclasses.replace(each, look=dataclasses.replace(each.look, shutter=torch.tensor([1.0])))
        for each in (scene(layer(motion=moving(shift=torch.tensor([[length, 0.0]])))) for length in (8.0, 40.0))
    )
    assert [recording._moments(each, HEIGHT, WIDTH).item() for each in (slow, fast)] == [5, 10]
    shares = np.linspace(-0.5, 0.5, 10).tolist()
    sharp = rendering.render(fast, bank, HEIGHT, WIDTH, shares)
    torch.testing.assert_close(recording._exposed(fast, bank, HEIGHT, WIDTH, 0.0), torch.stack(sharp).mean(0))


def test_camera_changes_the_frames_and_not_the_flow(bank: Tensor) -> None:
    drawn = draw_scene(2, range(4), 48, 64, len(bank))
    dark = dataclasses.replace(drawn.look, noise=torch.full((4, 2), 0.05), gain=torch.full((4, 2, 3), 0.5))
    dimmed = dataclasses.replace(drawn, look=dark)
    frames = rendering.render(drawn, bank, 48, 64, (0.0, 1.0))
    noisy = recording.recorded(dimmed, frames)
    assert noisy[0].float().mean() < 0.7 * 255 * frames[0].clamp(0, 1).mean()
    flows = [rendering.true_flow(each, NO_BANK, 48, 64, 0.0, 1.0)[0] for each in (drawn, dimmed)]
    assert torch.equal(*flows)


def test_procedural_textures_are_all_different(bank: Tensor) -> None:
    assert bank.shape == (6, 3, TEXTURE_SIZE, TEXTURE_SIZE)
    assert bank.dtype == torch.uint8
    flat = bank.float().flatten(1)
    assert (torch.cdist(flat, flat) + 1e9 * torch.eye(6)).min() > 1000
    assert flat.std(1).min() > 15
