from __future__ import annotations

import numpy as np
import pytest
import torch

from flowcli.train.loss import robust_loss


def test_one_flow_by_hand() -> None:
    truth = torch.zeros(1, 2, 2, 2)
    flow = torch.tensor([3.0, 4.0])[None, :, None, None].expand(1, 2, 2, 2)
    assert robust_loss([flow], truth).item() == pytest.approx(5.01**0.5, abs=1e-5)


def test_flows_of_several_sizes_against_numpy() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(2, 2, 16, 24, generator=generator) * 5
    flows = [torch.randn(2, 2, 16 // scale, 24 // scale, generator=generator) for scale in (8, 4, 1, 1)]
    total = weights = 0.0
    for place, flow in enumerate(flows):
        scale = 16 // flow.shape[2]
        target = truth.numpy().reshape(2, 2, 16 // scale, scale, 24 // scale, scale).mean((3, 5))
        error = np.hypot(*np.moveaxis(scale * flow.numpy() - target, 1, 0))
        weight = 0.85 ** (len(flows) - 1 - place)
        total += weight * ((error + 0.01) ** 0.5).mean()
        weights += weight
    assert robust_loss(flows, truth).item() == pytest.approx(total / weights, rel=1e-5)


def test_endless_flows_do_not_count() -> None:
    truth = torch.zeros(1, 2, 2, 2)
    truth[0, 0, 0, 0] = 1e6
    assert robust_loss([torch.zeros(1, 2, 2, 2)], truth).item() == pytest.approx(0.75 * 0.01**0.5, rel=0.01)


def test_gradient_of_a_perfect_flow_is_finite() -> None:
    flow = torch.zeros(1, 2, 4, 4, requires_grad=True)
    robust_loss([flow], torch.zeros(1, 2, 4, 4)).backward()
    assert flow.grad is not None
    assert flow.grad.abs().max() < 1e-3
