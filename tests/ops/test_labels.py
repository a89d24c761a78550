"""Labels where a flow leads: every kernel against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.ops import sample_labels
from flowcli.ops.labels import elect_of_four

HEIGHT, WIDTH = 65, 97


def random_labels(most: int, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, most, (height, width), dtype=np.int32))


def loops(labels: np.ndarray, flow: np.ndarray) -> np.ndarray:
    height, width = labels.shape
    result = np.zeros_like(labels)
    for y in range(height):
        for x in range(width):
            column = min(max(x + float(flow[0, y, x]), 0), width - 1)
            row = min(max(y + float(flow[1, y, x]), 0), height - 1)
            left, top = math.floor(column), math.floor(row)
            votes: dict[int, float] = {}
            for i, j in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                label = int(labels[min(i, height - 1), min(j, width - 1)])
                votes[label] = votes.get(label, 0) + (1 - abs(row - i)) * (1 - abs(column - j))
            result[y, x] = max(votes, key=lambda label: votes[label])
    return result


@pytest.mark.parametrize("size", [(9, 13), (1, 1), (1, 7), (41, 3)])
def test_it_is_the_loop(device: str, size: tuple[int, int]) -> None:
    labels = random_labels(4, *size)
    flow = torch.from_numpy(np.random.default_rng(4).normal(0, 3, (2, *size)).astype(np.float32))
    found = sample_labels(labels.to(device), flow.to(device))
    assert found.dtype == torch.int32
    assert np.array_equal(found.cpu().numpy(), loops(labels.numpy(), flow.numpy()))


def test_slices_and_strides(device: str) -> None:
    labels = random_labels(3, 20, 30).to(device)[::2, 3:16]
    flow = torch.linspace(-3, 3, 10 * 13 * 2, device=device).view(10, 13, 2).permute(2, 0, 1)
    assert np.array_equal(sample_labels(labels, flow).cpu().numpy(), loops(labels.cpu().numpy(), flow.cpu().numpy()))


def test_labels_are_never_mixed(device: str) -> None:
    given = torch.zeros(HEIGHT, WIDTH, dtype=torch.int32, device=device)
    given[:, 40:] = 1000
    flow = torch.full((2, HEIGHT, WIDTH), 0.4, device=device)
    found = sample_labels(given, flow)
    assert set(found.unique().tolist()) == {0, 1000}
    expected = torch.zeros(WIDTH, dtype=torch.int32, device=device)
    expected[40:] = 1000  # At 39.4 the label of 39 has more weight.
    assert torch.equal(found, expected.expand(HEIGHT, WIDTH))
    flow[0] = 0.6
    expected[39] = 1000
    assert torch.equal(sample_labels(given, flow), expected.expand(HEIGHT, WIDTH))


def test_unknown_and_far_flow_finds_a_label_of_the_map(device: str) -> None:
    given = random_labels(5).to(device)
    for far in (1e9, math.inf):
        flow = torch.full((2, HEIGHT, WIDTH), far, device=device)
        assert torch.equal(sample_labels(given, flow), given[-1, -1].expand(HEIGHT, WIDTH))
        assert torch.equal(sample_labels(given, -flow), given[0, 0].expand(HEIGHT, WIDTH))
    assert torch.equal(sample_labels(given, flow * torch.nan), given)


def test_the_weights_of_equal_candidates_are_added() -> None:
    candidates = torch.tensor([[5, 5], [3, 3], [3, 3], [8, 5]])
    weights = torch.tensor([[0.4, 0.2], [0.3, 0.3], [0.25, 0.15], [0.05, 0.35]])
    assert elect_of_four(candidates, weights).tolist() == [3, 5]


def test_wrong_input_is_refused() -> None:
    labels, flow = random_labels(3), torch.zeros(2, HEIGHT, WIDTH)
    for wrong in ((labels[1:], flow), (labels, flow[:1]), (labels[:0], flow[:, :0]), (labels[None], flow)):
        with pytest.raises(ValueError, match=r"^labels \(.*\) and flow \(.*\) do not fit$"):
            sample_labels(*wrong)


def test_native_kernel_checks_too(library: object) -> None:
    labels, flow = random_labels(3), torch.zeros(2, HEIGHT, WIDTH)
    for wrong, message in (
        ((labels.long(), flow), "labels are"),
        ((labels[:0], flow[:, :0]), "labels are"),
        ((labels, flow.double()), "flow is"),
        ((labels[:, 1:], flow), "flow is"),
    ):
        with pytest.raises(RuntimeError, match=message):
            torch.ops.flowcli.sample_labels(*wrong)


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    labels = random_labels(3, 5, 7).to(device)
    torch.library.opcheck(torch.ops.flowcli.sample_labels, (labels, torch.rand(2, 5, 7, device=device)))
