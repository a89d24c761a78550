"""Settings in a file of weights cannot ask for more memory than its tensors take."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flowcli import models
from flowcli.errors import WeightsError
from flowcli.weights import entries, loading

SIZES = [{"width": 100_000}, {"width": 2**40}, {"width": 2**70}, {"width": -1}, {"width": [1]}]


@pytest.mark.parametrize("settings", SIZES)
def test_a_width_that_no_tensor_has(tmp_path: Path, settings: dict[str, object]) -> None:
    path = tmp_path / "bomb.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"network": "rpwc", "settings": json.dumps(settings)})
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(WeightsError):
        loading.load(entries.resolve(str(path)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", models.names())
def test_every_network_can_be_built_without_memory(name: str) -> None:
    with torch.device("meta"):
        model = models.create(name)
    assert {tensor.device.type for tensor in model.parameters()} <= {"meta"}
