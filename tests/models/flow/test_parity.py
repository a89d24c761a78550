"""Published networks against the outputs of their authors' code, under weights that a formula defines.

The pictures, the formula and the flows lie beside the repository, in ../shared/goldens, whose README says how they
were made and how far off each typical mistake lands: the nearest one 0.007 px in the mean.
"""

from __future__ import annotations

import gc
import importlib
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from flowcli import models
from flowcli.engine.engine import Engine
from flowcli.models.flavours import flavours
from flowcli.types import Frame

pytestmark = pytest.mark.slow

SINGLE = (1e-4, 1e-3)
"""Mean and largest difference, pixels, that another order of additions may make; stacks pass it on and on."""
STACK = (1e-3, 1e-2)
CASES: dict[str, tuple[str, dict[str, Any], tuple[str, ...], tuple[float, float]]] = {
    "flownets": ("flownets", {}, ("", "_250x180"), SINGLE),
    "flownets-bn": ("flownets", {"norm": True}, ("",), SINGLE),
    "flownetc": ("flownetc", {}, ("", "_250x180"), SINGLE),
    "flownet2-c": ("flownet2", {"variant": "c"}, ("",), SINGLE),
    "flownet2-s": ("flownet2", {"variant": "s"}, ("",), SINGLE),
    "flownet2-sd": ("flownet2", {"variant": "sd"}, ("",), SINGLE),
    "flownet2-cs": ("flownet2", {"variant": "cs"}, ("",), STACK),
    "flownet2-css": ("flownet2", {"variant": "css"}, ("",), STACK),
    "flownet2": ("flownet2", {"variant": "full"}, ("",), STACK),
    "pwcnet": ("pwcnet", {}, ("", "_250x180"), STACK),
    "spynet": ("spynet", {}, ("", "_250x180", "_640x96"), SINGLE),
}


@pytest.fixture(scope="module")
def goldens(shared: Path) -> Path:
    folder = shared / "goldens"
    assert folder.is_dir()
    return folder


@pytest.fixture(scope="module")
def formula(goldens: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("formula", goldens / "formula.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, goldens: Path, formula: ModuleType) -> Iterator[tuple[str, Engine]]:
    """The name of a published network, and it, with the formula's weights under their published names."""
    name, settings, _, _ = CASES[request.param]
    shapes = dict(json.loads((goldens / "synthetic" / f"{request.param}.keys.json").read_text()))
    arrays = formula.formula_state_dict(shapes, formula.GAINS[request.param], formula.PEAKS.get(request.param))
    flavour = next(each for each in flavours() if each.name == request.param)
    model = models.create(name, **settings)
    state = {key: torch.from_numpy(array) for key, array in arrays.items()}
    model.load_state_dict(flavour.rename(state))
    yield request.param, Engine(model, device="cpu", precision="fp32")
    del model, state, arrays
    gc.collect()


def estimated(engine: Engine, golden: Any) -> np.ndarray:
    frames = (Frame(golden[name], index, Fraction(index)) for index, name in enumerate(("first", "second")))
    return next(engine.pairs(frames)).forward.uv.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("pictures", ["real", "synthetic"])
def test_flow_is_that_of_the_authors_code(case: tuple[str, Engine], pictures: str, device: str, goldens: Path) -> None:
    if device != "cpu":
        pytest.skip("the goldens were made on a CPU")
    name, engine = case
    _, _, sizes, (mean, largest) = CASES[name]
    for size in sizes:
        golden = np.load(goldens / pictures / f"{name}{size}.npz")
        # PWC-Net's own script resizes bytes; in floating point, as here, it gives flow_float.
        expected = golden["flow_float"] if "flow_float" in golden else golden["flow"]
        difference = estimated(engine, golden) - expected
        assert np.linalg.norm(difference, axis=2).mean() <= mean, size
        assert np.abs(difference).max() <= largest, size


@pytest.mark.parametrize("name", CASES)
def test_number_of_parameters(name: str, goldens: Path) -> None:
    network, settings, _, _ = CASES[name]
    shapes = dict(json.loads((goldens / "synthetic" / f"{name}.keys.json").read_text()))
    with torch.device("meta"):
        state = models.create(network, **settings).state_dict()
    unused = {"pwcnet": ("deconv2.weight", "deconv2.bias")}.get(name, ())
    published = sum(int(np.prod(shape)) for key, shape in shapes.items() if key not in unused)
    assert sum(tensor.numel() for tensor in state.values()) == published


def test_official_spynet_weights_have_their_published_errors(shared: Path, goldens: Path) -> None:
    from flowcli.models.flow.published import spynet

    state = torch.load(shared / "weights" / "spynet-sintel-final.pth", weights_only=True)
    model = models.create("spynet")
    model.load_state_dict(spynet.remap(state))
    engine = Engine(model, device="cpu", precision="fp32")
    for pair in ("chairs", "venus", "sintel"):
        golden = np.load(goldens / "real" / f"spynet_real_{pair}.npz")
        flow = estimated(engine, golden)
        assert np.linalg.norm(flow - golden["flow"], axis=2).mean() <= SINGLE[0]
        error = np.linalg.norm(flow - golden["ground_truth"], axis=2).mean()
        assert error == pytest.approx(json.loads(str(golden["meta"]))["epe"], abs=0.01)
