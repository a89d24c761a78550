from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.train import codec, data
from flowcli.train.data import (
    LARGEST_SCALE,
    QUALITY,
    SHIFT,
    CachedScenes,
    augmented,
    barred,
    cached_batches,
    joined,
    recoloured,
    rendered_batches,
    shifted,
)
from flowcli.train.options import KINDS
from flowcli.train.synthetic import Pairs
from flowcli.train.textures import procedural_textures


@pytest.fixture(scope="module")
def bank() -> Tensor:
    return torch.stack(procedural_textures(3, seed=1))


def dice(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, size: int) -> Pairs:
    first, second = torch.randint(0, 256, (2, count, 3, size, size), dtype=torch.uint8, generator=dice(0))
    flow = torch.randn(count, 2, size, size, generator=dice(1))
    return Pairs(first, second, flow, torch.zeros(count, size, size, dtype=torch.bool))


def check_shift(pairs: Pairs) -> None:
    """Every pixel that is not occluded is found again where its (constant, whole) flow says."""
    for first, second, flow, occluded in zip(*(vars(pairs)[n].numpy() for n in vars(pairs)), strict=True):
        u, v = (round(float(number)) for number in flow[:, 0, 0])
        assert (flow == np.array([u, v], np.float32)[:, None, None]).all()
        y, x = np.nonzero(~occluded)
        np.testing.assert_array_equal(second[:, y + v, x + u], first[:, y, x])
        height, width = occluded.shape
        assert occluded.sum() == height * width - (height - abs(v)) * (width - abs(u))


def test_shifted_pictures_and_their_flow() -> None:
    pairs = shifted(noise(12, 40), dice(3))
    assert pairs.first.shape == (12, 3, 40 - 2 * SHIFT, 40 - 2 * SHIFT)
    check_shift(pairs)
    moves = pairs.flow[:, :, 0, 0]
    assert len({tuple(move) for move in moves.tolist()}) > 8
    assert 4 < moves.abs().max() <= SHIFT


@pytest.mark.parametrize("seed", range(12))
def test_augmented_pairs_stay_true(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "LARGEST_SCALE", 0.8)
    monkeypatch.setattr(data, "recoloured", lambda pairs, generator: pairs)
    monkeypatch.setattr(data, "BARRED", 0)
    move = augmented(shifted(noise(1, 56 + 2 * SHIFT), dice(seed)), (56, 56), dice(seed + 100))
    assert move.first.shape == (1, 3, 56, 56)
    move.occluded.copy_(occlusion(move.flow[0, :, 0, 0].tolist(), 56))
    check_shift(move)


def test_augmentation_scales_flow_with_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "recoloured", lambda pairs, generator: pairs)
    monkeypatch.setattr(data, "BARRED", 0)
    ramp = (2 * torch.arange(80)).to(torch.uint8).expand(1, 3, 80, 80)
    flow = torch.tensor([3.0, -1.0])[None, :, None, None].expand(1, 2, 80, 80)
    pairs = Pairs(ramp, ramp, flow, torch.zeros(1, 80, 80, dtype=torch.bool))
    scales = []
    for seed in range(60):
        scaled = augmented(pairs, (64, 64), dice(seed))
        assert scaled.flow.shape == (1, 2, 64, 64)
        lengths = scaled.flow[0].norm(dim=0) / flow[0].norm(dim=0)[0, 0]
        assert lengths.max() - lengths.min() < 1e-4
        # Brightness rises by two per pixel of the scene, one way or the other.
        low, high = scaled.first[0, 0, 8:-8, 8:-8].aminmax()
        assert float(high - low) == pytest.approx(2 * 47 / float(lengths[0, 0]), abs=2)
        scales.append(float(lengths[0, 0]))
    assert min(scales) == pytest.approx(0.8, abs=0.05)
    assert max(scales) == pytest.approx(LARGEST_SCALE, abs=0.1)
    assert sum(scale == pytest.approx(1) for scale in scales) > 15


def test_colours_change_alike_in_both_frames() -> None:
    pairs = noise(1, 32)
    twins = Pairs(pairs.first, pairs.first, pairs.flow, pairs.occluded)
    changed = [recoloured(twins, dice(seed)) for seed in range(20)]
    assert all(torch.equal(each.first, each.second) for each in changed)
    assert all(torch.equal(each.flow, pairs.flow) for each in changed)
    means = [each.first.float().mean().item() for each in changed]
    assert max(means) - min(means) > 20


def occlusion(move: list[float], size: int) -> Tensor:
    inside = np.arange(size)
    x = (inside + move[0] >= 0) & (inside + move[0] < size)
    y = (inside + move[1] >= 0) & (inside + move[1] < size)
    return torch.from_numpy(~(y[:, None] & x[None]))[None]


def test_augmentation_takes_every_turn_and_order_of_colours() -> None:
    pairs = noise(1, 8)
    plain = {each.tobytes() for each in turns(pairs.first[0].numpy())}
    seen = {augmented(pairs, (8, 8), dice(seed)).first[0].numpy().tobytes() for seed in range(1200)}
    # The others have been changed in contrast, brightness and saturation.
    assert plain <= seen


def turns(picture: np.ndarray) -> Iterator[np.ndarray]:
    for order in itertools.permutations(range(3)):
        for image in (picture[list(order)], picture[list(order)].transpose(0, 2, 1)):
            yield from (image, image[:, ::-1], image[..., ::-1], image[:, ::-1, ::-1])


@pytest.mark.slow
def test_scenes_are_rendered_once(bank: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = CachedScenes(bank, tmp_path, seed=1, count=3, crop=(64, 64))
    fresh = scenes[4]
    monkeypatch.setattr(data, "make_pairs", forbidden)
    again = CachedScenes(bank, tmp_path, seed=1, count=3, crop=(64, 64))[4]
    for name in vars(fresh):
        assert torch.equal(getattr(fresh, name), getattr(again, name))
    with pytest.raises(AssertionError, match="rendered again"):
        CachedScenes(bank.flip(0), tmp_path, seed=1, count=3, crop=(64, 64))[4]


def forbidden(*_: object) -> Pairs:
    raise AssertionError("rendered again")


def test_every_pass_takes_every_scene_in_its_own_order(
    bank: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = CachedScenes(bank, tmp_path, seed=1, count=10, crop=(8, 8))
    taken: list[int] = []
    monkeypatch.setattr(scenes, "scene", recorder(taken))
    for position in range(20):
        scenes[position]
    assert sorted(taken[:10]) == sorted(taken[10:]) == list(range(10))
    assert taken[:10] != taken[10:]


def recorder(taken: list[int]) -> Callable[[int], Pairs]:
    def scene(index: int) -> Pairs:
        taken.append(index)
        return noise(1, 8)

    return scene


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_go_on_from_any_step(bank: Tensor, tmp_path: Path, workers: int) -> None:
    scenes = CachedScenes(bank, tmp_path, seed=1, count=3, crop=(64, 64), easy=2)
    whole = cached_batches(scenes, 2, 0, workers)
    late = cached_batches(scenes, 2, 1, workers)
    easy, second = next(whole), next(whole)
    assert easy.first.shape == (2, 3, 64, 64)
    assert easy.first.dtype == torch.float32
    assert 0.5 < easy.first.max() <= 1
    assert torch.equal(second.flow, next(late).flow)
    assert easy.flow.std((2, 3)).max() == 0
    assert second.flow.std((2, 3)).max() > 0


@pytest.mark.slow
def test_rendered_batches(bank: Tensor) -> None:
    whole, late = rendered_batches(bank, 1, 2, 0, (64, 64), easy=1), rendered_batches(bank, 1, 2, 1, (64, 64), easy=1)
    easy, second = next(whole), next(whole)
    assert easy.flow.shape == second.flow.shape == (2, 2, 64, 64)
    assert easy.flow.std((2, 3)).max() == 0
    assert torch.equal(second.flow, next(late).flow)


def test_joined() -> None:
    both = joined([noise(1, 8), noise(2, 8)])
    assert torch.equal(both.flow[1:], noise(2, 8).flow)
    assert both.occluded.shape == (3, 8, 8)


def test_bars_stay_where_they_are() -> None:
    pairs = noise(2, 40)
    sides = set()
    for seed in range(30):
        framed = barred(pairs, dice(seed))
        changed = (framed.first != pairs.first).any(1).all(0) & (framed.flow == 0).all(1).all(0)
        rows, columns = changed.all(1), changed.all(0)
        bars = rows if rows.any() else columns
        sides.add(bool(rows.any()))
        assert bars[0]
        assert bars[-1]
        assert 2 <= bars.sum() <= 2 * (1 + 0.2 * 40)
        inside = ~(rows[:, None] | columns[None])
        assert torch.equal(framed.first[..., inside], pairs.first[..., inside])
        assert torch.equal(framed.flow[..., inside], pairs.flow[..., inside])
        dark = framed.second[..., ~inside]
        assert (dark == dark.flatten()[0]).all()
        assert dark.flatten()[0] < 30
        # What moves into a bar is hidden; what is in one is not.
        assert not framed.occluded[:, ~inside].any()
    assert sides == {True, False}
    motion = Pairs(pairs.first, pairs.second, torch.full_like(pairs.flow, 50.0), pairs.occluded)
    assert barred(motion, dice(0)).occluded.float().mean() > 0.5


@pytest.mark.parametrize("seed", range(12))
def test_crops_that_are_no_squares(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "LARGEST_SCALE", 0.8)
    monkeypatch.setattr(data, "recoloured", lambda pairs, generator: pairs)
    monkeypatch.setattr(data, "BARRED", 0)
    pairs = shifted(noise(1, 72 + 2 * SHIFT), dice(seed))
    cut = augmented(Pairs(*(tensor[..., :64, :] for tensor in vars(pairs).values())), (48, 64), dice(seed))
    assert cut.flow.shape == (1, 2, 48, 64)
    if cut.flow.abs().max() == pairs.flow.abs().max():
        u, v = (round(float(number)) for number in cut.flow[0, :, 0, 0])
        y, x = np.mgrid[SHIFT:40, SHIFT:56]
        np.testing.assert_array_equal(cut.second[0, :, y + v, x + u], cut.first[0, :, y, x])


@pytest.mark.slow
def test_scenes_of_some_kinds_are_kept_apart(bank: Tensor, tmp_path: Path) -> None:
    every, stills = (CachedScenes(bank, tmp_path, 1, 3, (64, 64), kinds=kinds) for kinds in (KINDS, ("stills",)))
    assert every.folder != stills.folder
    still = [(stills.scene(index).flow == 0).float().mean() for index in range(3)]
    assert min(still) > 0.5
    rendered = next(rendered_batches(bank, 1, 3, 0, (64, 64), kinds=("stills",)))
    assert (rendered.flow == 0).float().mean() > 0.5


@pytest.mark.slow
def test_some_scenes_go_through_a_codec(bank: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def coded(pairs: Pairs, crf: int) -> Pairs:
        calls.append(crf)
        return pairs

    monkeypatch.setattr(codec, "through_h264", coded)
    monkeypatch.setattr(data, "make_pairs", lambda *given: noise(1, 8))
    scenes = CachedScenes(bank, tmp_path, seed=1, count=300, crop=(8, 8))
    for index in range(300):
        scenes.scene(index)
    assert 25 < len(calls) < 65
    assert all(QUALITY[0] <= crf < QUALITY[1] for crf in calls)
    assert len(set(calls)) > 10
