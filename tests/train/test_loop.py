from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flowcli import models
from flowcli.errors import InputError, WeightsError
from flowcli.evaluation.datasets import find_examples
from flowcli.models.flow.rpwc import Rpwc
from flowcli.train import loop, textures, validation
from flowcli.train.data import rendered_batches
from flowcli.train.loop import Progress, schedule, train
from flowcli.train.options import TrainOptions
from flowcli.train.start import start_from
from flowcli.train.validation import Errors
from flowcli.weights import entries, loading
from tests.pairs import write_pair

SMALL = TrainOptions(steps=4, batch=2, crop=(64, 64), scenes=3, easy=1, rate=1e-3, precision="fp32")


@pytest.fixture(autouse=True)
def small_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textures, "PROCEDURAL", 3)
    for name in ("PATTERNS", "SMOOTH"):
        monkeypatch.setattr(textures, name, 8)
    monkeypatch.setattr(validation, "SCENES", 2)
    monkeypatch.setattr(validation, "HARD_SCENES", 4)


def test_rate_rises_then_falls() -> None:
    rates = [schedule(step, 1000) for step in range(1001)]
    assert rates[0] == rates[1000] == 0
    assert max(rates) == rates[50] == 1
    assert rates[25] == pytest.approx(0.5)
    assert rates[525] == pytest.approx(0.5)
    assert rates[:51] == sorted(rates[:51])
    assert rates[50:] == sorted(rates[50:], reverse=True)


def test_rate_stays_level_between_its_rise_and_its_fall() -> None:
    rates = [schedule(step, 1000, warm=0.1, hold=0.7) for step in range(1001)]
    assert rates[50] == pytest.approx(0.5)
    assert set(rates[100:701]) == {1.0}
    assert rates[850] == pytest.approx(0.5)
    assert rates[1000] == 0
    assert schedule(0, 10, warm=0, hold=1) == schedule(9, 10, warm=0, hold=1) == 1


@pytest.mark.slow
def test_a_run_leaves_weights_that_load(tmp_path: Path) -> None:
    seen: list[Progress] = []
    path = train(SMALL, tmp_path / "run", workers=0, report=seen.append)
    assert path == tmp_path / "run/weights.safetensors"
    entry = entries.resolve(str(path))
    assert entry.network == "rpwc"
    assert '"step": 4' in entry.trained
    model = loading.load(entry)
    assert entry.parameters == sum(p.numel() for p in model.parameters())
    assert [p.step for p in seen] == [4]
    found = seen[0].validation
    assert found is not None
    assert all(0 < error < 200 for error in (found.epe, found.flat))
    with (tmp_path / "run/log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["validation_epe"]) for row in rows] == [found.epe]
    assert [float(row["validation_flat"]) for row in rows] == [found.flat]
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "cache", "checkpoint.pt", "curve.png", "log.csv", "weights.safetensors",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_run_that_was_stopped_takes_the_same_course(tmp_path: Path) -> None:
    train(SMALL, tmp_path / "whole", workers=0)
    for _ in range(4):
        train(SMALL, tmp_path / "parts", minutes=0, workers=0)
    whole, parts = (torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 4
    for state in ("model", "average"):
        assert whole[state].keys() == parts[state].keys()
        for name, tensor in whole[state].items():
            torch.testing.assert_close(parts[state][name], tensor, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_run_that_is_asked_to_stop_keeps_the_step_and_goes_on(tmp_path: Path) -> None:
    train(SMALL, tmp_path / "whole", workers=0)
    said: list[str] = []
    train(SMALL, tmp_path / "parts", workers=0, stop=lambda: True, announce=said.append)
    assert said == [f"rendering {validation.SCENES + validation.HARD_SCENES} scenes to validate on, once"]
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["cache", "checkpoint.pt", "log.csv"]
    train(SMALL, tmp_path / "parts", workers=0, announce=said.append)
    assert len(said) == 1
    whole, parts = (torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 4
    for name, tensor in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], tensor, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_run_that_is_done_stays_as_it_is(tmp_path: Path) -> None:
    train(SMALL, tmp_path, workers=0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert train(SMALL, tmp_path, workers=0) == tmp_path / "weights.safetensors"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_the_weights_that_are_kept_did_best_on_unseen_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = iter([5.0, 3.0, 4.0])
    monkeypatch.setattr(loop, "validate", lambda *given: Errors(next(errors), 1.5, 60.0))
    three = dataclasses.replace(SMALL, steps=3)
    kept = []
    for _ in range(3):
        path = train(three, tmp_path, minutes=0, workers=0)
        kept.append(path.read_bytes())
    assert kept[0] != kept[1]
    assert kept[1] == kept[2]
    trained = json.loads(entries.resolve(str(path)).trained)
    assert (trained["step"], trained["validation_epe"], trained["validation_fast"]) == (2, 3.0, 60.0)


@pytest.mark.slow
def test_real_pairs_are_reported(tmp_path: Path) -> None:
    examples = find_examples(write_pair(tmp_path / "real set"))
    seen: list[Progress] = []
    train(dataclasses.replace(SMALL, steps=2), tmp_path / "run", workers=0, real=examples, report=seen.append)
    with (tmp_path / "run/real.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["step"], row["set"], row["pairs"]) == ("2", "real set", "1")
    assert seen[-1].real == {"real set": float(row["epe"])}


def test_parts_that_do_not_fit_start_anew(tmp_path: Path) -> None:
    model = models.create("rpwc")
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("fine_")}
    state["up.detail.bias"] = torch.zeros(1)
    save_file(state, tmp_path / "old.safetensors", {"network": "rpwc"})
    fresh = models.create("rpwc")
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    start_from(tmp_path / "old.safetensors", "rpwc", fresh)
    for name, tensor in fresh.state_dict().items():
        new = name.startswith("fine_") or name == "up.detail.bias"
        assert torch.equal(tensor, before[name] if new else state[name]), name
    save_file({"other": torch.zeros(1)}, tmp_path / "none.safetensors", {"network": "rpwc"})
    with pytest.raises(WeightsError, match=r"^no part of rpwc is in the weights "):
        start_from(tmp_path / "none.safetensors", "rpwc", fresh)


@pytest.mark.slow
def test_training_changes_every_parameter(tmp_path: Path) -> None:
    start = dataclasses.replace(SMALL, steps=1)
    first = train(start, tmp_path / "first", workers=0)
    more = load_file(train(SMALL, tmp_path / "more", workers=0, init=first))
    untouched = [name for name, tensor in load_file(first).items() if torch.equal(tensor, more[name])]
    assert untouched == []


@pytest.mark.slow
def test_settings_of_the_network_go_with_the_weights(tmp_path: Path) -> None:
    grown = dataclasses.replace(SMALL, steps=1, settings={"levels": 5, "fine_hidden": 40}, vary=True)
    path = train(grown, tmp_path, workers=0, init=entries.resolve("rpwc").file)
    entry = entries.resolve(str(path))
    model = loading.load(entry)
    assert isinstance(model, Rpwc)
    assert len(model.iterations) == 5
    assert model.fine_matching.weight.shape[0] == 40
    assert entry.settings == grown.settings


@pytest.mark.slow
def test_a_branch_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    """With the weights as trained and the optimizer's state, at another rate."""
    train(SMALL, tmp_path / "trunk", workers=0)
    still = dataclasses.replace(SMALL, steps=1, rate=1e-12)
    train(still, tmp_path / "branch", workers=0, init=tmp_path / "trunk/checkpoint.pt")
    trunk, branch = (torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("trunk", "branch"))
    for name, tensor in trunk["model"].items():
        torch.testing.assert_close(branch["model"][name], tensor, rtol=0, atol=1e-6)
    assert branch["optimizer"]["state"][0]["step"] == SMALL.steps + 1


@pytest.mark.slow
def test_steps_lower_the_loss(tmp_path: Path) -> None:
    bank = textures.load_bank(None)
    batch = next(rendered_batches(bank, seed=1, batch=2, start=0, crop=(64, 64), easy=1))
    torch.manual_seed(0)
    model = models.create("rpwc").train()
    optimizer = torch.optim.AdamW(model.parameters())
    losses = [loop._train_step(model, optimizer, batch, 1e-3, "fp32")[0].item() for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.slow
def test_other_options_need_another_folder(tmp_path: Path) -> None:
    train(dataclasses.replace(SMALL, steps=1), tmp_path, workers=0)
    with pytest.raises(InputError) as caught:
        train(dataclasses.replace(SMALL, rate=1.0), tmp_path, workers=0)
    assert caught.value.message == f"the run in {tmp_path} has other options: rate, steps"
    assert caught.value.hint == "train in another folder, or with the same"


@pytest.mark.slow
def test_a_run_that_began_before_an_option_was_there_goes_on(tmp_path: Path) -> None:
    train(SMALL, tmp_path, workers=0)
    path = tmp_path / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    del state["options"]["kinds"]
    torch.save(state, path)
    assert train(SMALL, tmp_path, workers=0) == tmp_path / "weights.safetensors"
    with pytest.raises(InputError, match="has other options: kinds"):
        train(dataclasses.replace(SMALL, kinds=("walls",)), tmp_path, workers=0)


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
