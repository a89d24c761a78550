from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flowcli import models
from flowcli.models.flavours import renamed
from flowcli.models.flow import _flownet, pwcnet
from flowcli.models.flow.published import _mmflow, flownet2
from flowcli.models.flow.published import pwcnet as published_pwcnet
from flowcli.ops import correlation

KEYS = Path(__file__).parent / "keys"


def weights_of(name: str) -> dict[str, Tensor]:
    """Random weights by the names of that list, of a size that keeps activations about as large as they were."""
    torch.manual_seed(0)
    state = {}
    for key, shape in json.loads((KEYS / f"{name}.json").read_text())["keys"]:
        scale = 0.1 if len(shape) == 1 else torch.tensor(shape[1:]).prod().item() ** -0.5
        state[key] = scale * torch.randn(shape)
    return state


def summed(first: Tensor, second: Tensor, radius: int, dilation: int = 1) -> Tensor:
    """The cost volume as MMFlow has it."""
    return first.shape[1] * correlation(first, second, radius, dilation)


CASES: dict[str, tuple[str, dict[str, Any], Any, Any]] = {
    "mmflow-pwcnet": ("pwcnet", {}, published_pwcnet.MMFLOW, published_pwcnet.from_mmflow),
    "mmflow-flownetc": ("flownetc", {"bias": True}, _mmflow.flownet_rules(1), _mmflow.flownet),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_weights_for_sums_over_channels_are_right_for_means(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, settings, rules, rename = CASES[name]
    prefix = "net." if network == "flownetc" else ""
    state = weights_of(name)
    images = torch.rand(2, 1, 3, 128, 192)

    def flow(named: dict[str, Tensor]) -> Tensor:
        model = models.create(network, **settings).eval()
        model.load_state_dict({prefix + key: tensor for key, tensor in named.items()})
        last: Tensor = model(*images)[-1]
        return last

    ours = flow(rename(state))
    unchanged = renamed(state, rules)
    for module in (pwcnet, _flownet):
        monkeypatch.setattr(module, "correlation", summed)
    theirs = flow(unchanged)
    assert theirs.std() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    monkeypatch.undo()
    assert (flow(unchanged) - theirs).abs().max() > 100 * (ours - theirs).abs().max(), "the channels count"


@pytest.mark.slow
def test_fusion_takes_the_flow_of_small_displacements_times_400() -> None:
    state = weights_of("mmflow-flownet2")
    full = flownet2.from_mmflow(state)
    alone = _mmflow.flownet(
        {key.removeprefix("flownetSD."): value for key, value in state.items() if key.startswith("flownetSD.")}
    )
    for key, value in alone.items():
        factor = 400 if key.startswith("predict_flow2.") else 1
        assert torch.equal(full[f"flownets_d.{key}"], factor * value)


def test_what_is_given_is_not_changed() -> None:
    state = weights_of("mmflow-pwcnet")
    before = {key: tensor.clone() for key, tensor in state.items()}
    published_pwcnet.from_mmflow(state)
    assert all(torch.equal(tensor, before[key]) for key, tensor in state.items())


def test_old_names_of_pytorch_pwc() -> None:
    state = weights_of("sniklaus-pwcnet")
    old = {key.replace("net", "module"): tensor for key, tensor in state.items()}
    new, earlier = published_pwcnet.from_pytorch_pwc(state), published_pwcnet.from_pytorch_pwc(old)
    assert new.keys() == earlier.keys() == models.create("pwcnet").state_dict().keys()
