"""Costs far around each cell."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from flowcli.models.flow._wide import FACTOR, far_costs
from flowcli.models.flow.rpwc import Rpwc

RADIUS = 2


@pytest.mark.parametrize(("height", "width"), [(12, 16), (7, 9), (3, 2)])
def test_against_products_of_all_pairs(height: int, width: int) -> None:
    """All products are computed, and the volume is sampled around where each cell goes."""
    generator = torch.Generator().manual_seed(height)
    first, second = torch.randn(2, 3, 8, height, width, generator=generator)
    flow = 5 * torch.randn(3, 2, height, width, generator=generator)
    small = F.avg_pool2d(second, FACTOR, ceil_mode=True)
    volume = torch.einsum("nchw,ncyx->nhwyx", first, small).flatten(0, 2)[:, None] / 8
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = (torch.stack((x, y)) + flow + 0.5) / FACTOR
    near = torch.arange(-RADIUS, RADIUS + 1)
    around = torch.stack(torch.meshgrid(near, near, indexing="ij")[::-1], -1)
    places = (place.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2) + around) / torch.tensor(small.shape[:1:-1])
    sampled = F.grid_sample(volume, 2 * places - 1, align_corners=False)
    expected = sampled.reshape(3, height, width, -1).permute(0, 3, 1, 2)
    torch.testing.assert_close(far_costs(first, second, flow, RADIUS), expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_before_training_it_changes_nothing() -> None:
    torch.manual_seed(0)
    wide = Rpwc(wide=True).eval()
    plain = Rpwc().eval()
    plain.load_state_dict({name: tensor for name, tensor in wide.state_dict().items() if name in plain.state_dict()})
    pictures = torch.rand(2, 1, 3, 64, 96)
    assert torch.equal(wide(*pictures)[-1], plain(*pictures)[-1])
    assert wide.wide is not None
    torch.nn.init.normal_(wide.wide.weight)
    assert not torch.equal(wide(*pictures)[-1], plain(*pictures)[-1])


def test_what_heads_carry_is_judged_in_training() -> None:
    """At full size 64x96 the coarse levels have 2 iterations at 1/32 and 1/16, of 4 heads each."""
    model = Rpwc(reach=True)
    pictures = torch.rand(2, 1, 3, 64, 96)
    counts = {}
    for training in (True, False):
        counts[training] = len(model.train(training)(*pictures))
    assert counts[True] - counts[False] == 4 * 2 * 2
