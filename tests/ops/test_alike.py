"""Elections among cells that are alike: every kernel against loops in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from flowcli.ops import alike
from flowcli.ops.alike import COLOUR, MOTION, RINGS, Neighbourhood, elect, neighbourhood

HEIGHT, WIDTH = 23, 37


def cells_of(device: str, seed: int = 0) -> tuple[Tensor, Neighbourhood]:
    """Labels of which one in four is wrong, and a picture of things that look and move differently, with noise."""
    dice = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    thing = (x // 13 + y // 9) % 3
    labels = np.where(dice.random(thing.shape) < 0.25, dice.integers(0, 9, thing.shape), thing) * 7001
    flow = np.stack((thing * 4.0, -2.0 * thing)) + dice.normal(0, 0.5, (2, HEIGHT, WIDTH))
    colour = 60.0 * thing + dice.normal(0, 8, (3, HEIGHT, WIDTH))
    known = np.where(dice.random(thing.shape) < 0.1, 0, dice.random(thing.shape))
    planes = [torch.from_numpy(each.astype(np.float32)).to(device) for each in (flow, colour, known)]
    return torch.from_numpy(labels.astype(np.int32)).to(device), neighbourhood(*planes)


def votes_for(labels: Tensor, cell: int, own: float, around: Neighbourhood) -> dict[int, float]:
    """All the votes of all neighbours, by loops, in double precision."""
    looks = around.looks.double().cpu().numpy()
    known = around.known.double().cpu().numpy()
    row, column = divmod(cell, WIDTH)
    votes = {int(labels[row, column]): own}
    allowed = MOTION[0] + MOTION[1] * math.hypot(*looks[cell, :2])
    for ring in RINGS:
        for x, y in ring.offsets:
            there_y, there_x = row + y, column + x
            if 0 <= there_y < HEIGHT and 0 <= there_x < WIDTH:
                difference = looks[there_y * WIDTH + there_x] - looks[cell]
                unlike = (difference[:2] ** 2).sum() * 0.5 / allowed**2 + (difference[2:] ** 2).sum()
                label = int(labels[there_y, there_x])
                weight = math.exp(-unlike) * known[there_y, there_x] / ring.radius
                votes[label] = votes.get(label, 0.0) + weight
    return votes


def test_it_is_the_loop(device: str) -> None:
    """Whoever is elected has the most of all votes, although those far away are mostly not asked."""
    labels, around = cells_of(device)
    cells = torch.arange(0, HEIGHT * WIDTH, 5, device=device)
    own = torch.linspace(0.01, 3, len(cells), device=device)
    elected = elect(labels, cells, own, around)
    assert elected.dtype == torch.int32
    changed = 0
    for cell, weight, label in zip(cells.tolist(), own.tolist(), elected.tolist(), strict=True):
        votes = votes_for(labels.cpu(), cell, weight, around)
        assert votes[label] > max(votes.values()) - 1e-4
        changed += label != int(labels.flatten()[cell])
    assert changed > 20


def test_colour_counts_as_the_docstring_says() -> None:
    """Cells of a thing differ by COLOUR in each channel: then three squares over 6 COLOUR^2 are 1/2."""
    flow, known = torch.zeros(2, 1, 2), torch.ones(1, 2)
    colour = torch.tensor([0.0, COLOUR]).expand(3, 1, 2)
    (right,) = [ring for ring in RINGS if ring.radius == 1]
    found = list(neighbourhood(flow, colour, known).ring(torch.tensor([0]), right))
    there = [each.weight.item() for each in found if each.index.item() == 1]
    assert there == pytest.approx([math.exp(-0.5)] * len(there))
    assert there


@pytest.mark.slow
def test_many_labels_are_counted_in_parts(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, around = cells_of(device)
    cells = torch.arange(HEIGHT * WIDTH, device=device)
    own = torch.full(cells.shape, 0.5, device=device)
    whole = elect(labels, cells, own, around)
    monkeypatch.setattr(alike, "_MOST", 100)
    assert torch.equal(elect(labels, cells, own, around), whole)


def test_sums_are_those_of_the_loop(device: str) -> None:
    _, around = cells_of(device)
    values = torch.randn(2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(5)).to(device)
    cells = torch.tensor([0, 5, HEIGHT * WIDTH // 2, HEIGHT * WIDTH - 1], device=device)
    looks, known, flat = around.looks.double().cpu(), around.known.double().cpu(), values.double().cpu()
    for mine in (around.looks[cells], around.looks[cells.flip(0)]):
        total, weight = around.sums(values, cells, mine)
        for k, (cell, like) in enumerate(zip(cells.tolist(), mine.double().cpu(), strict=True)):
            motion = 0.5 / (MOTION[0] + MOTION[1] * math.hypot(*like[:2].tolist())) ** 2
            expected = [0.0, 0.0, 0.0]
            for ring in RINGS:
                for x, y in ring.offsets:
                    row, column = cell // WIDTH + y, cell % WIDTH + x
                    if 0 <= row < HEIGHT and 0 <= column < WIDTH:
                        apart = (looks[row * WIDTH + column] - like) ** 2
                        unlike = float(apart[:2].sum()) * motion + float(apart[2:].sum())
                        share = math.exp(-unlike) * float(known[row, column]) / ring.radius
                        at = (*flat[:, row, column].tolist(), 1.0)
                        expected = [sum_ + share * each for sum_, each in zip(expected, at, strict=True)]
            found = [*total[:, k].tolist(), weight[k].item()]
            assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    total, weight = around.sums(values, cells[:0])
    assert (total.shape, weight.shape) == ((2, 0), (0,))


def test_one_label_and_no_cell(device: str) -> None:
    labels, around = cells_of(device)
    none = torch.zeros(0, dtype=torch.int64, device=device)
    assert elect(labels, none, none.float(), around).shape == (0,)
    cells = torch.tensor([0, 5], device=device)
    same = torch.full_like(labels, 40000)
    assert elect(same, cells, torch.ones(2, device=device), around).tolist() == [40000, 40000]


def test_wrong_input_is_refused() -> None:
    labels, around = cells_of("cpu")
    cells, own = torch.arange(4), torch.ones(4)
    for wrong in ((labels[1:], cells, own), (labels, cells[None], own), (labels, cells, own[:3])):
        with pytest.raises(ValueError, match=r"^labels \(.*\), cells \(.*\) and weights \(.*\) do not fit to cells of"):
            elect(*wrong, around)


def test_native_kernel_checks_too(library: object) -> None:
    labels, around = cells_of("cpu")
    good = [labels, torch.arange(4), torch.ones(4), around.looks, around.known, alike._OFFSETS]
    for place, wrong, message in (
        (0, labels.long(), "labels is"),
        (1, torch.tensor([0, 1, 2, HEIGHT * WIDTH]), "a cell lies outside of 23x37"),
        (1, torch.tensor([0, 1, 2, -1]), "a cell lies outside of 23x37"),
        (2, torch.ones(3), "own is"),
        (3, around.looks[:-1], "looks is"),
        (4, around.known.double(), "known is"),
        (5, alike._OFFSETS[:, :2], "offsets is"),
    ):
        given = list(good)
        given[place] = wrong
        with pytest.raises(RuntimeError, match=message):
            torch.ops.flowcli.elect(*given, *MOTION)


@pytest.mark.slow
def test_opcheck(device: str) -> None:
    labels, around = cells_of(device)
    given = (labels, torch.arange(9, device=device), torch.ones(9, device=device), around.looks, around.known)
    torch.library.opcheck(torch.ops.flowcli.elect, (*given, alike._OFFSETS, *MOTION))
