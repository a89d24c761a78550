from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from flowcli import models, weights
from flowcli.errors import InputError, WeightsError
from flowcli.train import loop, textures
from flowcli.train.data import rendered_batches
from flowcli.train.loop import Progress, TrainOptions, one_cycle, train

SMALL = TrainOptions(steps=4, batch=2, crop=64, scenes=3, easy=1, rate=1e-3, precision="fp32")


@pytest.fixture(autouse=True)
def small_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textures, "PROCEDURAL", 3)
    monkeypatch.setattr(loop, "VALIDATION_SCENES", 2)


def test_rate_rises_then_falls() -> None:
    rates = [one_cycle(step, 1000) for step in range(1001)]
    assert rates[0] == rates[1000] == 0
    assert max(rates) == rates[50] == 1
    assert rates[25] == pytest.approx(0.5)
    assert rates[525] == pytest.approx(0.5)
    assert rates[:51] == sorted(rates[:51])
    assert rates[50:] == sorted(rates[50:], reverse=True)


def test_a_run_leaves_weights_that_load(tmp_path: Path) -> None:
    seen: list[Progress] = []
    path = train(SMALL, tmp_path / "run", workers=0, report=seen.append)
    assert path == tmp_path / "run/weights.safetensors"
    entry = weights.resolve(str(path))
    assert entry.network == "rpwc"
    assert '"step": 4' in entry.trained
    model = weights.load(entry)
    assert entry.parameters == sum(p.numel() for p in model.parameters())
    assert [p.step for p in seen] == [4]
    assert seen[0].validation_epe is not None
    assert 0 < seen[0].validation_epe < 100
    with (tmp_path / "run/log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["validation_epe"]) for row in rows] == [seen[0].validation_epe]
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "cache", "checkpoint.pt", "log.csv", "weights.safetensors",
    ]  # fmt: skip


def test_a_run_that_was_stopped_takes_the_same_course(tmp_path: Path) -> None:
    whole = load_file(train(SMALL, tmp_path / "whole", workers=0))
    for _ in range(4):
        parts = train(SMALL, tmp_path / "parts", minutes=0, workers=0)
    steps = torch.load(tmp_path / "parts/checkpoint.pt", weights_only=True)["step"]
    assert steps == 4
    resumed = load_file(parts)
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=1e-6)


def test_training_changes_every_parameter(tmp_path: Path) -> None:
    start = dataclasses.replace(SMALL, steps=1)
    first = train(start, tmp_path / "first", workers=0)
    more = load_file(train(SMALL, tmp_path / "more", workers=0, init=first))
    untouched = [name for name, tensor in load_file(first).items() if torch.equal(tensor, more[name])]
    assert untouched == []


def test_steps_lower_the_loss(tmp_path: Path) -> None:
    bank = textures.load_bank(None)
    batch = next(rendered_batches(bank, seed=1, batch=2, start=0, crop=64, easy=1))
    torch.manual_seed(0)
    model = models.create("rpwc").train()
    optimizer = torch.optim.AdamW(model.parameters())
    losses = [loop._train_step(model, optimizer, batch, 1e-3, "fp32")[0].item() for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


def test_other_options_need_another_folder(tmp_path: Path) -> None:
    train(dataclasses.replace(SMALL, steps=1), tmp_path, workers=0)
    with pytest.raises(InputError) as caught:
        train(dataclasses.replace(SMALL, rate=1.0), tmp_path, workers=0)
    assert caught.value.message == f"the run in {tmp_path} has other options: rate, steps"
    assert caught.value.hint == "train in another folder, or with the same"


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04cos\nsystem\n."])
def test_a_damaged_checkpoint_is_not_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        train(SMALL, tmp_path, workers=0)
    assert caught.value.message.startswith(f"unsafe or damaged checkpoint: {path}: ")
    assert caught.value.hint == "train in another folder, or remove it"
    assert path.read_bytes() == content


def test_weights_to_start_from_are_checked(tmp_path: Path) -> None:
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"junk")
    with pytest.raises(WeightsError, match=r"^not a safetensors file, or a damaged one: "):
        train(SMALL, tmp_path / "run", workers=0, init=junk)
    assert not (tmp_path / "run").exists()
