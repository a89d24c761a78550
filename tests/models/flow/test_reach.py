"""Motion carried over the whole picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.models.flow import _reach
from flowcli.models.flow._reach import HEADS, Reach
from flowcli.models.flow.rpwc import Rpwc
from flowcli.weights import entries, loading


def reach(channels: int = 8) -> Reach:
    torch.manual_seed(0)
    return Reach(channels, 5)


def given(height: int, width: int, channels: int = 8, count: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden, flow = (2 * torch.randn(count, channels + 2, height, width, generator=generator)).split((channels, 2), 1)
    return hidden, flow


def loop(part: Reach, hidden: Tensor, flow: Tensor, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """The same, one cell and one head at a time, with keys that are means of factor x factor cells."""
    moves = flow[0].double().numpy()
    known = torch.cat([hidden, flow / 4], 1)[0].numpy().astype(np.float64)
    numbers = {name: tensor.double().numpy() for name, tensor in part.state_dict().items()}
    matrix, bias = numbers["look.weight"][..., 0, 0], numbers["look.bias"]
    query, key, value = np.split(np.einsum("oc,chw->ohw", matrix, known) + bias[:, None, None], 3)
    height, width = known.shape[1:]
    shares = np.exp(_reach.QUICK * numbers["nearness"])
    cells = [
        (slice(y, min(y + factor, height)), slice(x, min(x + factor, width)))
        for y in range(0, height, factor)
        for x in range(0, width, factor)
    ]
    told, carried = np.zeros((8, height, width)), np.zeros((HEADS, 2, height, width))
    for head in range(HEADS):
        part_of = slice(head * 8 // HEADS, (head + 1) * 8 // HEADS)
        for y in range(height):
            for x in range(width):
                logits = []
                for rows, columns in cells:
                    near_y, near_x = (rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2
                    alike = query[part_of, y, x] @ key[part_of, rows, columns].mean((1, 2)) / math.sqrt(8 / HEADS)
                    logits.append(alike - shares[head] * ((y - near_y) ** 2 + (x - near_x) ** 2))
                share = np.exp(np.array(logits) - max(logits))
                for target, source in ((told[part_of], value[part_of]), (carried[head], moves)):
                    values = np.stack([source[:, rows, columns].mean((1, 2)) for rows, columns in cells], 1)
                    target[:, y, x] = values @ share / share.sum()
    result: np.ndarray = np.einsum("oc,chw->ohw", numbers["tell.weight"][..., 0, 0], told)
    result += numbers["tell.bias"][:, None, None]
    return result, carried


@pytest.mark.parametrize(("most", "factor"), [(1024, 1), (12, 2)])
@torch.inference_mode()
def test_against_a_loop(most: int, factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reach, "MOST_KEYS", most)
    part, (hidden, flow) = reach(), given(5, 7)
    for found, expected in zip(part(hidden, flow), loop(part, hidden, flow, factor), strict=True):
        np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_what_a_head_carries_is_taken_as_far_as_it_is_trusted() -> None:
    part, (hidden, flow) = reach(), given(5, 7)
    _, carried = part(hidden, flow)
    torch.nn.init.zeros_(part.trust.weight)
    bias = part.trust.bias
    assert bias is not None
    for head in range(HEADS):
        bias.copy_(torch.full((HEADS + 1,), -50.0))
        bias[head] = 50
        torch.testing.assert_close(flow + part.taken(carried, flow, hidden), carried[:, head])
    bias.copy_(torch.tensor([-50.0] * HEADS + [50.0]))
    assert part.taken(carried, flow, hidden).abs().max() < 1e-6


@torch.inference_mode()
def test_each_picture_is_worked_on_alone() -> None:
    """Bit for bit, with as many channels as the default network has: frames are worked on several at once."""
    part, (hidden, flow) = reach(64), given(14, 32, 64, count=3)
    together = part(hidden, flow)
    for number in range(3):
        one = slice(number, number + 1)
        for alone, all_of_them in zip(part(hidden[one], flow[one]), together, strict=True):
            assert torch.equal(alone, all_of_them[one])


@pytest.mark.parametrize(("size", "halvings"), [((14, 32), 0), ((28, 64), 1), ((68, 120), 2), ((1, 1025), 1)])
def test_keys_are_few_in_large_pictures(size: tuple[int, int], halvings: int) -> None:
    assert _reach._halvings(*size) == halvings


def grown(levels: int = 4) -> Rpwc:
    """The network with the weights that flowcli carries, and new parts as they are before training."""
    torch.manual_seed(0)
    model = Rpwc(reach=True, levels=levels)
    state = loading.load(entries.resolve("rpwc"), levels=4, reach=False).state_dict()
    model.load_state_dict(model.state_dict() | state)
    return model.eval()


def moved(height: int, width: int) -> tuple[Tensor, Tensor]:
    """A picture of coarse noise, and the same moved by (6, -4) pixels."""
    noise = torch.rand(1, 3, height // 8 + 4, width // 8 + 4, generator=torch.Generator().manual_seed(2))
    large = torch.nn.functional.interpolate(noise, scale_factor=8, mode="bilinear")
    return large[..., 10 : 10 + height, 10 : 10 + width], large[..., 14 : 14 + height, 4 : 4 + width]


@torch.inference_mode()
def test_before_training_it_changes_little() -> None:
    plain = loading.load(entries.resolve("rpwc"), levels=4, reach=False)
    assert (grown()(*moved(96, 160))[-1] - plain(*moved(96, 160))[-1]).norm(dim=1).median() < 0.1


@pytest.mark.slow
@torch.inference_mode()
def test_tiles_give_the_flow_of_the_whole() -> None:
    model = grown(levels=5)
    assert model.reach is not None
    torch.nn.init.normal_(model.reach.tell.weight, std=0.02)
    whole = model(*moved(256, 384))[-1]
    model.tile = 64
    tiled = model(*moved(256, 384))[-1]
    assert (whole - torch.tensor([6.0, -4.0])[:, None, None]).norm(dim=1).median() < 3, "no flow"
    assert (tiled - whole).norm(dim=1).mean() < 3e-4
