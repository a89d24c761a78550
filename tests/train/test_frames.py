"""Training of networks that make frames."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from flowcli import models
from flowcli.errors import InputError, WeightsError
from flowcli.models.base import FrameModel
from flowcli.train import frames
from flowcli.train.clips import VALIDATION_SEED
from flowcli.train.frames import FrameProgress, charbonnier, train_frames
from flowcli.train.options import FrameTrainOptions
from flowcli.train.textures import load_bank
from flowcli.train.videoinr import Enlarging, _clips, draw_clips, falling
from flowcli.weights import entries, loading

TINY = {"channels": 8, "groups": 2, "front": 1, "trunk": 1}
SMALL = FrameTrainOptions(steps=4, batch=2, crop=32, settings=TINY)
"""Four steps: the factor varies in the last."""


def test_the_rate_falls_four_times() -> None:
    rates = [falling(step, 400) for step in range(400)]
    assert [step for step, rate in enumerate(rates) if rate == 1] == [0, 100, 200, 300]
    assert rates[50] == pytest.approx(0.5005)
    assert rates[99] == pytest.approx(1e-3, abs=3e-4)
    for begin in range(0, 400, 100):
        part = rates[begin : begin + 100]
        assert part == sorted(part, reverse=True)
    assert falling(1, 2) == 1, "in a run that is too short for four parts"


def test_the_loss_of_numbers_that_one_can_work_out() -> None:
    made, truth = torch.tensor([[0.5, 0.0]]), torch.tensor([[0.2, 0.0]])
    assert float(charbonnier(made, truth)) == pytest.approx(math.sqrt(0.09 + 1e-6) + 1e-3)


@pytest.mark.slow
def test_clips_follow_from_seed_and_number() -> None:
    bank = load_bank(None)
    options = dataclasses.replace(SMALL, steps=100, crop=64)
    clips, again, other = (draw_clips(bank, options, number) for number in (3, 3, 4))
    assert clips.first.shape == clips.second.shape == (2, 3, 16, 16)
    assert [frame.shape for frame in clips.frames] == [(2, 3, 64, 64)] * 3
    assert len(set(clips.times)) == 3
    assert all((8 * time).is_integer() and 0 <= time <= 1 for time in clips.times)
    assert list(clips.times) == sorted(clips.times)
    assert torch.equal(clips.first, again.first)
    assert all(torch.equal(*pair) for pair in zip(clips.frames, again.frames, strict=True))
    assert not torch.equal(clips.first, other.first)
    for image in (clips.first, clips.second, *clips.frames):
        assert image.min() >= 0
        assert image.max() <= 1


@pytest.mark.slow
def test_the_first_frame_is_the_truth_at_time_zero_made_small() -> None:
    bank = load_bank(None)
    options = dataclasses.replace(SMALL, steps=1000, crop=64)
    found = next(clips for number in range(40) if (clips := draw_clips(bank, options, number)).times[0] == 0)
    small = torch.nn.functional.avg_pool2d(found.frames[0], 4)
    assert (small - found.first).abs().mean() < 0.02
    assert (small - found.second).abs().mean() > (small - found.first).abs().mean()


@pytest.mark.slow
def test_towards_the_end_the_factor_varies() -> None:
    bank = load_bank(None)
    sides = [draw_clips(bank, SMALL, number).frames[0].shape[-1] for number in range(3)]
    assert sides == [32, 32, 32]
    long = dataclasses.replace(SMALL, steps=8)
    sides = [draw_clips(bank, long, number).frames[0].shape[-1] for number in range(6, 14)]
    assert all(16 <= side <= 32 for side in sides)
    assert len(set(sides)) > 3


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "share"), [("sum", 0.5), ("log", 0.7)])
def test_steps_lower_the_loss(loss: str, share: float) -> None:
    clips = draw_clips(load_bank(None), SMALL, 0)
    torch.manual_seed(0)
    model = models.create_frame("videoinr", **TINY).train()
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99))
    losses = [frames._train_step(model, optimizer, clips, 3e-4, loss) for _ in range(12)]
    assert sum(losses[-4:]) / 4 < share * losses[0]


@pytest.mark.slow
def test_a_short_run_lowers_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On new scenes in each step."""
    losses: list[float] = []
    step = frames._train_step

    def recorded(*given: Any) -> float:
        losses.append(step(*given))
        return losses[-1]

    monkeypatch.setattr(frames, "_train_step", recorded)
    train_frames(dataclasses.replace(SMALL, steps=24, rate=3e-4), tmp_path)
    assert len(losses) == 24
    assert sum(losses[12:]) / 12 < 0.6 * sum(losses[:2]) / 2


@pytest.mark.slow
def test_the_course_of_a_run(tmp_path: Path) -> None:
    seen: list[FrameProgress] = []
    train_frames(SMALL, tmp_path, validate_every=2, report=seen.append)
    assert [progress.step for progress in seen] == [2, 4]
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["loss"]), float(row["validation_psnr"])) for row in rows] == [
        (progress.loss, progress.psnr) for progress in seen
    ]
    assert [progress.rate for progress in seen] == [1e-4, 1e-4], "too short for the rate to fall"


@pytest.mark.slow
def test_the_loss_is_summed_or_averaged() -> None:
    clips = draw_clips(load_bank(None), SMALL, 0)
    gradients = []
    for loss in ("sum", "mean"):
        torch.manual_seed(0)
        model = models.create_frame("videoinr", **TINY).train()
        frames._train_step(model, torch.optim.SGD(model.parameters()), clips, 0.0, loss)
        gradients.append(model.get_parameter("decoder.colour.layers.4.bias").grad)
    numbers = len(clips.frames) * clips.frames[0].numel()
    assert gradients[1] is not None
    torch.testing.assert_close(gradients[0], numbers * gradients[1], rtol=1e-4, atol=1e-4)


def test_the_logarithm_counts_frames_alike() -> None:
    """Halving the error of a frame gains as much, whether it was large or small."""
    truth = torch.zeros(2, 3, 4, 4)
    large, small = truth.clone(), truth.clone()
    large[0], small[0] = 0.4, 0.1
    gains = [frames.logarithmic(each, truth) - frames.logarithmic(each / 2, truth) for each in (large, small)]
    assert gains[0] == pytest.approx(2 * math.log(2), abs=1e-3)
    assert gains[1] == pytest.approx(float(gains[0]), abs=0.01)
    assert frames.logarithmic(truth, truth) == pytest.approx(2 * math.log(frames.GOOD))


@pytest.mark.slow
def test_a_run_that_was_stopped_takes_the_same_course(tmp_path: Path) -> None:
    train_frames(SMALL, tmp_path / "whole")
    for _ in range(4):
        train_frames(SMALL, tmp_path / "parts", minutes=0)
    whole, parts = (torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 4
    for name, tensor in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], tensor, rtol=0, atol=1e-6)
    before = (tmp_path / "whole/weights.safetensors").read_bytes()
    assert train_frames(SMALL, tmp_path / "whole") == tmp_path / "whole/weights.safetensors"
    assert (tmp_path / "whole/weights.safetensors").read_bytes() == before


@pytest.mark.slow
def test_a_run_starts_from_weights(tmp_path: Path) -> None:
    first = train_frames(dataclasses.replace(SMALL, steps=2), tmp_path / "first")
    still = dataclasses.replace(SMALL, steps=1, rate=1e-12)
    more = load_file(train_frames(still, tmp_path / "more", init=first))
    for name, tensor in load_file(first).items():
        torch.testing.assert_close(more[name], tensor, rtol=0, atol=1e-9)
    with pytest.raises(WeightsError, match=r"^weights are of the network rpwc: "):
        train_frames(still, tmp_path / "other", init=entries.resolve("rpwc").file)


@pytest.mark.slow
def test_weights_name_their_network(tmp_path: Path) -> None:
    path = train_frames(dataclasses.replace(SMALL, steps=1), tmp_path)
    entry = entries.resolve(str(path))
    assert (entry.network, entry.settings) == ("videoinr", TINY)
    trained = json.loads(entry.trained)
    assert (trained["step"], trained["batch"]) == (1, 2)
    model = loading.load_as(FrameModel, entry)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["average"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.slow
def test_what_cannot_be_trained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^crop 30 is not a multiple of 4$") as caught:
        train_frames(dataclasses.replace(SMALL, crop=30), tmp_path)
    assert caught.value.hint == "use 28"
    train_frames(dataclasses.replace(SMALL, steps=1), tmp_path)
    with pytest.raises(InputError, match=r"^the run in .* has other options: batch, steps$"):
        train_frames(dataclasses.replace(SMALL, batch=1), tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match=r"^unsafe or damaged checkpoint: "):
        train_frames(SMALL, tmp_path)


@pytest.mark.slow
def test_validation_is_the_mean_of_the_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = load_bank(None)

    class Grey(torch.nn.Module):
        def forward(self, first: torch.Tensor, *asked: object) -> list[torch.Tensor]:
            return [torch.full((len(first), 3, 32, 32), 0.5)]

    psnr = frames.validate(Grey(), Enlarging(bank, SMALL).unseen())  # type: ignore[arg-type]
    truth = _clips(bank, VALIDATION_SEED, range(8), 8, 32, (0.5,)).frames[0].double()
    errors = [float((scene - 0.5).square().mean()) for scene in truth]
    assert psnr == pytest.approx(sum(-10 * math.log10(error) for error in errors) / 8, abs=1e-4)
