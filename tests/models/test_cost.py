from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from flowcli import models
from flowcli.models.cost import counting, multiply_adds
from flowcli.models.flavours import Download, downloads
from flowcli.ops import deform_conv
from flowcli.weights.entries import Entry, entries

LISTED: dict[str, tuple[str, Mapping[str, Any], Entry | Download]] = {
    **{entry.name: (entry.network, entry.settings, entry) for entry in entries()},
    **{download.name: (flavour.network, flavour.settings, download) for flavour, download in downloads()},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LISTED)
def test_costs_that_are_listed_are_those_of_the_networks(name: str) -> None:
    network, settings, stated = LISTED[name]
    assert stated.gmacs == pytest.approx(multiply_adds(network, **settings), abs=0.06)
    with torch.device("meta"):
        parameters = models.find(network)(**settings).parameters()
    assert stated.parameters == sum(parameter.numel() for parameter in parameters)


def test_multiply_adds_of_a_deformable_convolution() -> None:
    features, offsets, mask = (torch.zeros(2, channels, 5, 7, device="meta") for channels in (8, 36, 18))
    weight, bias = torch.zeros(3, 8, 3, 3, device="meta"), torch.zeros(3, device="meta")
    with counting() as counter:
        deform_conv(features, offsets, mask, weight, bias)
    assert counter.get_total_flops() == 2 * (2 * 3 * 5 * 7) * (8 * 3 * 3)


def test_multiply_adds_of_a_network_that_one_can_count_by_hand() -> None:
    # Six 7x7 convolutions on 1024x448 and four levels of a quarter each, on two smaller ones.
    per_pixel = 49 * (8 * 32 + 32 * 64 + 64 * 32 + 32 * 16 + 16 * 2)
    pixels = sum((1024 >> level) * (448 >> level) for level in range(6))
    assert multiply_adds("spynet") == pytest.approx(per_pixel * pixels / 1e9, rel=1e-6)
