"""Large pictures in tiles: the same flow in less memory, with the weights that flowcli carries on a clip that moves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from flowcli.engine.engine import Engine
from flowcli.models.flow.rpwc import UPDATE_REACH
from flowcli.options import EngineOptions
from flowcli.run import open_engine
from flowcli.types import FlowPair, Frame
from flowcli.video import open_source
from flowcli.weights import entries
from tests import sample


@pytest.fixture(scope="module")
def clip() -> list[Frame]:
    with open_source(str(sample.PATH), stop=4) as source:
        return [Frame(frame.image[:243, :371], frame.index, frame.time) for frame in source]


def engine(**settings: Any) -> Engine:
    return open_engine(entries.resolve("rpwc"), EngineOptions(device="cpu", **settings))


def flows(pairs: list[FlowPair]) -> torch.Tensor:
    return torch.stack([field.uv for pair in pairs for field in (pair.forward, pair.backward) if field is not None])


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "most"), [("fp32", 3e-4), pytest.param("bf16", 0.01, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("tile", "batch"),
    [pytest.param(64, 1, marks=pytest.mark.slow), (100, 2), pytest.param(250, 3, marks=pytest.mark.slow)],
)
def test_flow_in_tiles_is_that_of_whole_frames(
    clip: list[Frame], tile: int, batch: int, precision: str, most: float, library: Path
) -> None:
    whole, tiled = engine(tile=0, precision=precision), engine(tile=tile, precision=precision, batch=batch)
    expected, got = (flows(list(each.pairs(clip, "both"))) for each in (whole, tiled))
    assert expected.shape == (6, 2, 243, 371)
    assert expected.norm(dim=1).mean() > 1, "nothing moves"
    assert (got - expected).norm(dim=1).mean() < most


@pytest.mark.slow
@pytest.mark.parametrize(("tile", "cells"), [(0, 96), (384, 96), (64, 16), (41, 11), (13, 4)])
def test_cells_that_are_worked_on_at_once(clip: list[Frame], tile: int, cells: int) -> None:
    tiled = engine(tile=tile)
    sides: list[int] = []
    for name in ("update", "fine_update", "fine_encoder", "up"):
        part = tiled.model.get_submodule(name)
        part.register_forward_pre_hook(lambda module, given: sides.append(max(given[0].shape[2:])))
    list(tiled.pairs(Frame(frame.image[:64], frame.index, frame.time) for frame in clip[:2]))
    assert max(sides) == min(cells + 2 * UPDATE_REACH, 96)


def peak(tile: int, folder: Path) -> int:
    """Bytes of all tensors at once, at most, while a pair is estimated."""
    model = engine(tile=tile, precision="fp32").model
    image = torch.rand(1, 3, 256, 384)
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        first, second = model.encode(image), model.encode(image)
        model.decode(first, second)
    file = folder / "trace.json"
    record.export_chrome_trace(str(file))
    events = json.loads(file.read_text())["traceEvents"]
    return max(int(event["args"]["Total Allocated"]) for event in events if event["name"] == "[memory]")


@pytest.mark.slow
def test_tiles_take_less_memory(tmp_path: Path, library: Path) -> None:
    assert peak(64, tmp_path) < 0.8 * peak(0, tmp_path)
