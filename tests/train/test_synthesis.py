"""What the network is trained on that makes frames along a flow."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli import models
from flowcli.errors import InputError
from flowcli.geometry import backward_warp
from flowcli.train import footage, frames
from flowcli.train.clips import Clips
from flowcli.train.footage import draw_footage
from flowcli.train.options import FrameTrainOptions
from flowcli.train.synthesis import MARGIN, MOST, Moving
from flowcli.train.textures import load_bank
from tests.moving import camera, write

TINY = {"half": 4, "quarter": 6, "fine": 3, "hidden": 8}
SMALL = FrameTrainOptions.of("synthesis", steps=6, batch=2, crop=64, scenes=3, settings=TINY)


@pytest.fixture(scope="module")
def bank() -> Tensor:
    return load_bank(None)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def drawn(bank: Tensor, cache: Path) -> list[Clips]:
    recipe = Moving(bank, SMALL, cache, torch.device("cpu"))
    return [recipe._with_flow(recipe._clips[number]) for number in range(24)]


@pytest.mark.slow
def test_batches_follow_from_seed_and_number(bank: Tensor, cache: Path, drawn: list[Clips]) -> None:
    recipe = Moving(bank, SMALL, cache, torch.device("cpu"))
    again = list(itertools.islice(recipe.batches(3), 2))
    for one, other in zip(drawn[3:5], again, strict=True):
        assert one.times == other.times
        assert torch.equal(one.first, other.first)
        assert torch.equal(one.frames[0], other.frames[0])
    elsewhere = Moving(bank, dataclasses.replace(SMALL, seed=8), cache, torch.device("cpu"))
    assert not torch.equal(elsewhere._clips[3].frames[0], drawn[3].frames[0])
    assert len(list(cache.rglob("*.safetensors"))) <= 2 * SMALL.scenes, "each scene is rendered once"


@pytest.mark.slow
def test_times_and_sizes_vary(drawn: list[Clips]) -> None:
    for clips in drawn:
        (truth,) = clips.frames
        assert truth.shape == (2, 3, 64, 64)
        assert clips.first.shape == clips.second.shape
        assert all(flow.shape == (2, 2, *clips.first.shape[-2:]) for flow in clips.flows)
        assert 64 / MOST - 1 <= clips.first.shape[-1] <= 64
        assert 0 <= truth.min() <= truth.max() <= 1
    sides = {clips.first.shape[-1] for clips in drawn}
    assert 64 in sides
    assert len(sides) > 3
    assert {clips.times[0] for clips in drawn} >= {0.25, 0.5, 0.75}
    still = [clips for clips in drawn if clips.times[0] == 0]
    assert still
    for clips in still:
        small = torch.nn.functional.interpolate(clips.frames[0], clips.first.shape[-2:], mode="area")
        torch.testing.assert_close(small, clips.first)


@pytest.mark.slow
def test_the_flow_leads_from_one_frame_to_the_other(drawn: list[Clips]) -> None:
    closer = 0
    whole = [clips for clips in drawn if clips.first.shape[-1] == 64]
    for clips in whole:
        ends = clips.first, clips.second
        for flow, here, there in zip(clips.flows, ends, ends[::-1], strict=True):
            moved = (backward_warp(there, flow)[0] - here).abs().mean()
            closer += bool(moved <= (there - here).abs().mean())
    assert closer >= 0.9 * 2 * len(whole)


@pytest.mark.slow
def test_a_short_run_lowers_the_loss(bank: Tensor, drawn: list[Clips]) -> None:
    clips = next(each for each in drawn if each.times[0] == 0.5 and each.first.shape[-1] == 64)
    torch.manual_seed(0)
    model = models.create_frame("synthesis", **TINY).train()
    optimizer = torch.optim.Adam(model.parameters())
    losses = [frames._train_step(model, optimizer, clips, 2e-3, "mean", True) for _ in range(30)]
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])


def test_the_rate_rises_and_falls(bank: Tensor, cache: Path) -> None:
    recipe = Moving(bank, dataclasses.replace(SMALL, steps=1000), cache, torch.device("cpu"))
    rates = [recipe.rate(step) for step in range(1000)]
    assert rates[:20] == sorted(rates[:20])
    assert max(rates) == pytest.approx(1, abs=1e-3)
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] == pytest.approx(0.01, abs=1e-4)


def test_footage_is_of_one_shot_and_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footage, "EACH", 5)
    moving, still = camera(9, pan=3), np.repeat(camera(1, pan=0), 6, 0)
    # A cut to the same place in other colours, which no clip may go across.
    write(tmp_path / "a.mkv", np.concatenate((moving, 255 - moving)))
    write(tmp_path / "still.mkv", still)
    (tmp_path / "notes.txt").write_text("no video")
    clips = draw_footage(tmp_path, 48, 7)
    assert clips.shape == (5, 3, 3, 48, 48)
    assert clips.dtype == torch.uint8
    assert torch.equal(clips, draw_footage(tmp_path, 48, 7))
    assert not torch.equal(clips, draw_footage(tmp_path, 48, 8))
    for clip in clips.float():
        one, other = ((clip[place] - clip[1]).abs().mean() for place in (0, 2))
        assert one < 40
        assert other < 40
        assert (clip[0] - clip[2]).abs().mean() >= footage.LEAST


def test_footage_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^no such folder of videos: .*gone$"):
        draw_footage(tmp_path / "gone", 48, 7)
    write(tmp_path / "a.mkv", camera(4, pan=3))
    with pytest.raises(InputError, match=r"^no clips of 200x200 with motion in "):
        draw_footage(tmp_path, 200, 7)


@pytest.mark.slow
def test_a_run_on_scenes_and_videos(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write(tmp_path / "videos/a.mkv", camera(8, pan=3))
    options = dataclasses.replace(SMALL, crop=32, steps=3, videos=str(tmp_path / "videos"))
    assert MARGIN + options.crop <= 96
    path = frames.train_frames(options, tmp_path / "run")
    assert path.exists()
    assert list((tmp_path / "run/cache").glob("footage-*.safetensors"))
