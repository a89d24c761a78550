from __future__ import annotations

import zlib

import numpy as np
import pytest

from flowcli.view.coding import PackedFlow, coarser_flow, pack_flow, unpack_flow
from tests.view.looks import noisy


def read_by_loops(packed: PackedFlow) -> np.ndarray:
    """(2, H, W): the flow, pixel by pixel as the page reads it."""
    halves = zlib.decompress(packed.data)
    count = 2 * packed.height * packed.width
    assert len(halves) == 2 * count
    levels = np.zeros((2, packed.height, packed.width), int)
    for place in range(count):
        folded = halves[place] + 256 * halves[count + place]
        change = folded // 2 if folded % 2 == 0 else -(folded + 1) // 2
        plane, row, column = np.unravel_index(place, levels.shape)
        before = levels[plane, row, column - 1] if column else levels[plane, row - 1, 0] if row else 0
        levels[plane, row, column] = (before + change + 32768) % 65536 - 32768
    return np.where(levels == -32768, np.nan, levels * packed.step)


@pytest.mark.parametrize("size", [(65, 97), (1, 1), (1, 7), (9, 1)])
def test_packed_flow_is_at_most_half_a_step_off(size: tuple[int, int]) -> None:
    uv = np.random.default_rng(3).normal(0, 20, (2, *size)).astype(np.float32)
    uv[:, -1, -1] = np.nan
    packed = pack_flow(uv, 0.04)
    assert packed.step == 0.04
    for read in (unpack_flow(packed), read_by_loops(packed)):
        assert np.array_equal(np.isnan(read), np.isnan(uv))
        assert np.nanmax(np.abs(read - uv), initial=0) <= 0.02 + 1e-5


def test_one_unknown_component_makes_both_unknown() -> None:
    uv = np.zeros((2, 3, 4), np.float32)
    uv[0, 1, 2] = np.inf
    assert np.isnan(unpack_flow(pack_flow(uv, 0.04))).sum(axis=(1, 2)).tolist() == [1, 1]


def test_huge_flow_has_a_step_that_holds_it() -> None:
    uv = np.array([[[-5000.0, 3.0]], [[0.0, 4999.0]]], np.float32)
    packed = pack_flow(uv, 0.04)
    assert packed.step == pytest.approx(0.36)
    assert np.abs(unpack_flow(packed) - uv).max() <= 0.18 + 1e-3


@pytest.mark.parametrize("spacing", [1, 2])
def test_coarser_flow_is_as_exact_as_if_it_had_been_packed_so(spacing: int) -> None:
    uv = noisy(1)
    coarse = coarser_flow(pack_flow(uv, 0.04), spacing, 0.12)
    assert coarse.step == pytest.approx(0.12)
    kept = uv[:, ::spacing, ::spacing]
    assert (coarse.height, coarse.width) == kept.shape[1:]
    assert np.array_equal(np.isnan(unpack_flow(coarse)), np.isnan(kept))
    assert np.nanmax(np.abs(unpack_flow(coarse) - kept)) <= 0.06 + 1e-5


def test_coarser_flow_keeps_a_step_that_is_larger_already() -> None:
    packed = pack_flow(np.full((2, 4, 6), 5000, np.float32), 0.04)
    assert coarser_flow(packed, 2, 0.12).step == packed.step


def test_smooth_flow_takes_little_room() -> None:
    y, x = np.mgrid[:65, :97] / 10
    smooth = np.stack((3 * np.sin(x), y)).astype(np.float32)
    assert len(pack_flow(smooth, 0.04).data) < smooth.nbytes / 8
