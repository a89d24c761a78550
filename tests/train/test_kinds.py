"""What each kind of scenes is for: measured on its pictures and its flow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from flowcli.train.kinds import DRAWN, draw_scene
from flowcli.train.layers import LOOSE
from flowcli.train.options import KINDS
from flowcli.train.rendering import render, true_flow
from flowcli.train.scenes import MOST_LAYERS, Layer
from flowcli.train.synthetic import make_pairs
from flowcli.train.textures import SMOOTH, load_bank
from flowcli.train.validation import flat_areas

pytestmark = pytest.mark.slow

HEIGHT, WIDTH, COUNT = 90, 120, 16


@pytest.fixture(scope="module")
def bank() -> Tensor:
    return load_bank(None)


def lengths(bank: Tensor, kind: str) -> Tensor:
    drawn = draw_scene(4, range(COUNT), HEIGHT, WIDTH, len(bank), (kind,))
    flow, _ = true_flow(drawn, bank, HEIGHT, WIDTH, 0.0, 1.0)
    longest: Tensor = flow.norm(dim=1)
    return longest


def flat_share(bank: Tensor, kind: str) -> float:
    drawn = draw_scene(4, range(COUNT), HEIGHT, WIDTH, len(bank), (kind,))
    return float(flat_areas(render(drawn, bank, HEIGHT, WIDTH, (0.0,))[0]).float().mean())


def test_shares_are_those_of_the_table() -> None:
    assert sum(share for share, _ in DRAWN.values()) == pytest.approx(1)
    assert tuple(DRAWN) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_of_a_kind_are_a_function_of_seed_and_index(bank: Tensor, kind: str) -> None:
    several, alone, other = (
        make_pairs(bank, seed, indices, 48, 64, (kind,)) for seed, indices in ((5, (7, 8)), (5, (8,)), (6, (8,)))
    )
    assert (several.first[1].float() - alone.first[0].float()).abs().max() <= 1
    torch.testing.assert_close(several.flow[1], alone.flow[0], atol=1e-3, rtol=0)
    assert (other.first.float() - alone.first.float()).abs().mean() > 5


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_no_more_than_a_scene_takes(kind: str) -> None:
    drawn = draw_scene(2, range(40), HEIGHT, WIDTH, 60, (kind,))
    assert len(drawn.layers) == MOST_LAYERS
    assert all(torch.isinf(drawn.layers[0].radius).flatten().tolist())


def test_walls_are_flat(bank: Tensor) -> None:
    walls = flat_share(bank, "walls")
    assert walls > 0.25
    assert walls > 2 * flat_share(bank, "mixed")


def test_marks_move_with_their_wall() -> None:
    """A mark is small and has the motion of a larger layer behind it."""
    drawn = draw_scene(3, range(40), HEIGHT, WIDTH, 60, ("walls",))
    marks = sum(is_mark(drawn.layers, number, scene) for scene in range(40) for number in range(1, MOST_LAYERS))
    assert marks > 40


def is_mark(layers: Sequence[Layer], number: int, scene: int) -> bool:
    mine = layers[number]
    return bool(0 < mine.radius[scene].amax() <= 24) and any(
        torch.equal(mine.motion.center[scene], other.motion.center[scene])
        and torch.equal(mine.motion.shift[scene], other.motion.shift[scene])
        for other in layers[:number]
    )


def test_borders_tell_how_walls_move(bank: Tensor) -> None:
    """Turning and zooming about itself moves no part of a wall by more than LOOSE: nobody could see it."""
    drawn = draw_scene(3, range(60), HEIGHT, WIDTH, len(bank), ("walls",))
    first_smooth = len(bank) - SMOOTH
    walls = 0
    for layer in drawn.layers:
        radius = layer.radius.amax(1).clamp(max=math.hypot(HEIGHT, WIDTH) / 2)
        flat = (layer.texture >= first_smooth) & (radius > 24) & (layer.opacity == 1)
        walls += int(flat.sum())
        for amount in (layer.motion.turn, layer.motion.zoom):
            assert ((radius * amount).abs()[flat] <= LOOSE + 1e-4).all()
        assert not layer.motion.tilt[flat].any()
        assert not layer.motion.stretch[flat].any()
    assert walls > 60


def test_whips_are_fast(bank: Tensor) -> None:
    whips = lengths(bank, "whips")
    assert (whips.amax((1, 2)) > 0.2 * WIDTH).float().mean() > 0.5
    shutters = draw_scene(4, range(60), HEIGHT, WIDTH, len(bank), ("whips",)).look.shutter
    assert shutters.max() > 0.8
    assert (shutters == 0).any()


def test_depth_is_parallax() -> None:
    """What is nearer moves further, in the same direction."""
    drawn = draw_scene(5, range(COUNT), HEIGHT, WIDTH, 60, ("depth",))
    nearer = [layer.carrier.shift for layer in drawn.layers[:4]]
    for far, near in itertools.pairwise(nearer):
        assert (near.norm(dim=1) >= far.norm(dim=1) - 1e-6).all()
        assert (torch.cosine_similarity(near, far) > 0.999).all()


def test_limbs_turn_about_joints_of_their_body() -> None:
    drawn = draw_scene(5, range(COUNT), HEIGHT, WIDTH, 60, ("bodies",))
    trunk, limb = drawn.layers[1], drawn.layers[2]
    assert torch.equal(trunk.carrier.shift, limb.carrier.shift)
    assert not trunk.motion.turn.any()
    turning = limb.motion.turn != 0
    assert 4 < turning.sum() < COUNT, "some legs are stiff"
    assert limb.motion.turn[turning].abs().median() > 0.05
    assert ((limb.motion.center - trunk.place).norm(dim=1) < trunk.radius.amax(1)).all()


def test_parts_of_a_thing_touch_and_move_as_one() -> None:
    drawn = draw_scene(5, range(COUNT), HEIGHT, WIDTH, 60, ("things",))
    legs = 0
    for scene in range(COUNT):
        things: dict[tuple[float, ...], list[Layer]] = {}
        for layer in drawn.layers[1:]:
            ground = torch.equal(layer.carrier.center[scene], drawn.layers[0].carrier.center[scene])
            if layer.radius[scene].any() and not ground:
                things.setdefault(tuple(layer.carrier.center[scene].tolist()), []).append(layer)
        whole = [parts for parts in things.values() if len(parts) > 2]
        assert whole
        for parts in whole:
            seat = parts[0]
            for part in parts[1:]:
                assert torch.equal(part.carrier.shift[scene], seat.carrier.shift[scene])
                assert not part.motion.shift[scene].any()
                assert part.texture[scene] == seat.texture[scene]
                apart = (part.place[scene] - seat.place[scene]).norm()
                assert apart < part.radius[scene].amax() + seat.radius[scene].amax()
                legs += int(part.radius[scene].amin() < 0.15 * part.radius[scene].amax())
    assert legs > 2 * COUNT


def test_stills_stand_still(bank: Tensor) -> None:
    assert (lengths(bank, "stills") == 0).float().mean() > 0.9


def test_some_scenes_have_things_before_them_that_stand_still(bank: Tensor) -> None:
    drawn = draw_scene(8, range(40), 24, 32, len(bank), ("whips",))
    lengths = true_flow(drawn, bank, 24, 32, 0.0, 1.0)[0].norm(dim=1).flatten(1)
    still = (lengths == 0).float().mean(1)
    assert ((lengths.median(1).values > 2) & (still > 0.01)).any()
