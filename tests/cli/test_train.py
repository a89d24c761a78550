from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from flowcli.cli.main import main
from flowcli.train import loop, textures, validation, videoinr
from flowcli.train.options import TrainOptions
from flowcli.weights import entries

TINY = ["--steps", "1", "--batch", "2", "--crop", "64", "--scenes", "2", "--workers", "0", "--device", "cpu"]


@pytest.fixture(autouse=True)
def small_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(textures, "PROCEDURAL", 3)
    monkeypatch.setattr(validation, "SCENES", 2)
    monkeypatch.setattr(validation, "HARD_SCENES", 2)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_train_writes_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run", *TINY]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    *lines, wrote = err.splitlines()
    state = " ".join(lines)
    assert state.startswith("rendering 4 scenes to validate on, once step 1, ")
    assert "validation EPE" in state
    assert ", flat " in state
    assert wrote == "wrote run/weights.safetensors"
    assert entries.resolve("run/weights.safetensors").network == "rpwc"


@pytest.mark.slow
def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run", *TINY, "--json", "-q"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"weights": "run/weights.safetensors"}
    assert err == ""


@pytest.mark.slow
def test_ctrl_c_keeps_the_step(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    step = loop._train_step

    def interrupted(*given: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return step(*given)

    several = ["train", "run", *TINY, "--steps", "3"]
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as context:
        context.setattr(loop, "_train_step", interrupted)
        assert main(several) == 130
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "stopped after a step, which is kept: the same command goes on from there",
        "interrupted",
    ]
    assert signal.getsignal(signal.SIGINT) is handler
    assert not Path("run/weights.safetensors").exists()
    assert torch.load("run/checkpoint.pt", weights_only=True)["step"] == 1
    assert main(several) == 0
    assert torch.load("run/checkpoint.pt", weights_only=True)["step"] == 3


@pytest.mark.parametrize(
    ("option", "message"),
    [("--textures", "no such folder of textures: nowhere"), ("--init", "no such weights to start from: nowhere")],
)
def test_missing_inputs(option: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run", option, "nowhere"]) == 1
    assert capsys.readouterr().err == f"error: {message}\nhint: check the name\n"
    assert not Path("run").exists()


@pytest.mark.parametrize(("network", "stride", "near"), [("rpwc", 32, "96 or 128"), ("pwcnet", 64, "64 or 128")])
def test_crop_that_is_no_multiple_of_the_stride(
    network: str, stride: int, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "run", *TINY, "--network", network, "--crop", "100"]) == 1
    assert capsys.readouterr().err == f"error: crop 100 is not a multiple of {stride}\nhint: use {near}\n"


def test_the_defaults_of_a_run_are_those_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[TrainOptions] = []

    def train(options: TrainOptions, folder: Path, **others: object) -> Path:
        runs.append(options)
        return folder

    monkeypatch.setattr(loop, "train", train)
    assert main(["train", "run"]) == 0
    assert runs == [TrainOptions()]


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--crop", "512x", "a side, or WIDTHxHEIGHT, from 64 pixels on (256, 512x384)"),
        ("--crop", "32x96", "a side, or WIDTHxHEIGHT, from 64 pixels on (256, 512x384)"),
        ("--kinds", "walls,doors", "some of mixed,walls,whips,depth,bodies,things,stills"),
        ("--kinds", "walls,walls", "some of mixed,walls,whips,depth,bodies,things,stills"),
        ("--set", "levels", "a setting (levels=5)"),
        ("--set", "levels=five", "a setting (levels=5)"),
    ],
)
def test_values_that_cannot_be_read(option: str, value: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run", option, value]) == 2
    assert f"{value!r} is not {expected}" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_settings_and_a_picture_that_is_no_square() -> None:
    options = [
        "--kinds",
        "walls,whips",
        "--crop",
        "128x64",
        "--set",
        "levels=5",
        "--set",
        "fine=2",
        "--vary",
        "--hold",
        "0.5",
    ]
    assert main(["train", "run", *TINY, *options]) == 0
    trained = json.loads(entries.resolve("run/weights.safetensors").trained)
    assert trained["settings"] == {"levels": 5, "fine": 2}
    assert trained["crop"] == [64, 128]
    assert trained["kinds"] == ["walls", "whips"]


@pytest.mark.slow
def test_a_network_that_makes_frames(
    small_videoinr: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(videoinr, "VALIDATION_SCENES", 2)
    few = ["--steps", "1", "--batch", "1", "--crop", "64", "--device", "cpu"]
    assert main(["train", "run", "--network", "videoinr", "--loss", "mean", *few]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    state, wrote = err.splitlines()
    assert re.fullmatch(r"step 1, \d+\.\d min: loss 0\.\d{4}, validation PSNR \d+\.\d\d dB", state)
    assert wrote == "wrote run/weights.safetensors"
    entry = entries.resolve("run/weights.safetensors")
    assert entry.network == "videoinr"
    options = json.loads(entry.trained)
    # What is not given is not that of networks of flow.
    assert (options["loss"], options["crop"], options["rate"]) == ("mean", 64, 1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--network videoinr --easy 3", "--easy is for networks of flow, videoinr makes frames"),
        ("--network videoinr --precision fp32", "--precision is for networks of flow, videoinr makes frames"),
        ("--network videoinr --kinds walls", "--kinds is for networks of flow, videoinr makes frames"),
        ("--network videoinr --scenes 3", "--scenes is not for videoinr"),
        ("--network videoinr --videos .", "--videos is not for videoinr"),
        ("--loss sum", "--loss is for networks that make frames"),
        ("--videos .", "--videos is for networks that make frames"),
    ],
)
def test_options_of_the_other_kind(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run", *arguments.split()]) == 2
    assert capsys.readouterr().err == f"error: {message}\nhint: leave it out\n"
    assert not Path("run").exists()


def test_frames_that_are_no_squares(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run", "--network", "videoinr", "--crop", "128x64"]) == 2
    assert capsys.readouterr().err == "error: videoinr is trained on squares, not 128x64\nhint: give one side\n"
