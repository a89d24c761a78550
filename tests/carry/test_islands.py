from __future__ import annotations

import pytest
import torch

from flowcli.carry.islands import drown_islands


def two_parts(label: int = 9) -> torch.Tensor:
    """(60, 80): a thing of 600 cells, and 4 cells of it apart, on ground of two labels."""
    labels = torch.zeros(60, 80, dtype=torch.int32)
    labels[:, 60:] = 3
    labels[10:30, 10:40] = label
    labels[50:52, 70:72] = label
    return labels


def test_a_speck_that_nothing_vouches_for_gets_the_label_around_it() -> None:
    labels = two_parts()
    trust = torch.ones(60, 80)
    trust[45:58, 65:78] = 0
    expected = labels.clone()
    expected[50:52, 70:72] = 3
    assert torch.equal(drown_islands(labels, trust), expected)


@pytest.mark.parametrize("label", [0, 9])
def test_what_a_key_frame_shows_stays_and_so_does_ground(label: int) -> None:
    labels = two_parts(label)
    assert torch.equal(drown_islands(labels, torch.full((60, 80), 0.9 if label else 0.0)), labels)


def test_large_parts_stay_though_nothing_vouches_for_them() -> None:
    labels = two_parts()
    labels[50:55, 70:75] = 9
    assert torch.equal(drown_islands(labels, torch.zeros(60, 80)), labels)
