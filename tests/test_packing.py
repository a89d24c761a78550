from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from flowcli import packing

FLOWS = arrays.arrays(np.float32, (2, 3, 4), elements=st.floats(-1000, 1000, width=32))
BOUNDS = st.sampled_from([1.0, 20.0, 32.0, 300.0, 512.0, 1024.0])


@given(FLOWS, BOUNDS, arrays.arrays(np.bool_, (3, 4)))
def test_16_bits_are_off_by_half_a_step_and_never_wrap(uv: np.ndarray, bound: float, valid: np.ndarray) -> None:
    image = packing.to_uint16(np.where(valid, uv, np.float32(np.nan)), bound)
    assert image.shape == (3, 4, 3)
    assert image.dtype == np.uint16
    back, known = packing.from_uint16(image, bound)
    np.testing.assert_array_equal(known, valid)
    step = bound / 32768
    expected = np.clip(uv, -bound, bound - step)[:, valid]
    np.testing.assert_allclose(back[:, valid], expected, atol=step / 2 * 1.001, rtol=1e-6)
    assert not image[~valid].any()


@given(FLOWS, BOUNDS)
def test_8_bits_are_off_by_half_a_step(uv: np.ndarray, bound: float) -> None:
    back = packing.from_uint8(packing.to_uint8(uv, bound), bound)
    np.testing.assert_allclose(back, np.clip(uv, -bound, bound), atol=bound / 255 * 1.001, rtol=1e-6)


@given(FLOWS, BOUNDS)
def test_values_for_i3d_are_off_by_half_a_step(uv: np.ndarray, bound: float) -> None:
    values = packing.to_i3d(uv, bound)
    assert values.dtype == np.float32
    assert np.abs(values).max() <= 2 * 256 / 255 - 1 + 1e-6
    back = packing.from_i3d(values, bound)
    np.testing.assert_allclose(back, np.clip(uv, -bound, bound), atol=bound / 255 * 1.001, rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "stored"), [(0, 32768), (1, 32832), (-1, 32704), (511.99, 65535), (-512, 0), (9e9, 65535)]
)
def test_16_bits_are_those_of_kitti(value: float, stored: int) -> None:
    image = packing.to_uint16(np.full((2, 1, 1), value, np.float32))
    assert image[0, 0].tolist() == [stored, stored, 1]


def test_unknown_flow_is_rest_where_a_format_has_no_word_for_it() -> None:
    uv = np.array([[[np.nan, 5]], [[7, 5]]], np.float32)
    assert packing.to_uint8(uv)[0, 0, 0] == 128
    assert packing.to_i3d(uv)[0, 0, 0] == pytest.approx(1 / 255, abs=1e-6)


@pytest.mark.parametrize(("value", "level"), [(0, 128), (20, 255), (-20, 0), (21, 255), (0.08, 128), (-0.08, 127)])
def test_8_bits_are_those_of_dense_flow(value: float, level: int) -> None:
    assert packing.to_uint8(np.full((2, 1, 1), value, np.float32)).ravel().tolist() == [level] * 2
