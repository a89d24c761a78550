from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from flowcli.errors import InputError
from flowcli.flowfile import read_flow, write_flow

TOP = (1.0, -2.0, 0.0, 3.0, 4.5, 0.0)
BOTTOM = (5.0, 6.0, 0.0, -7.0, 8.0, 0.0)
UV = [[[1, 3], [5, -7]], [[-2, 4.5], [6, 8]]]
"""Two pixels in two rows, as FlyingThings3D has them: the third number of each is 0."""


def test_it_is_laid_out_as_debevec_says(tmp_path: Path) -> None:
    write_flow(tmp_path / "a.pfm", np.array(UV, np.float32))
    below = struct.pack("<6f", 5, 6, 1, -7, 8, 1)
    above = struct.pack("<6f", 1, -2, 1, 3, 4.5, 1)
    assert (tmp_path / "a.pfm").read_bytes() == b"PF\n2 2\n-1.0\n" + below + above


def test_unknown_flow_is_nan_with_0_behind_it(tmp_path: Path) -> None:
    write_flow(tmp_path / "a.pfm", np.ones((2, 1, 2), np.float32), np.array([[True, False]]))
    numbers = np.frombuffer((tmp_path / "a.pfm").read_bytes()[-24:], "<f4")
    np.testing.assert_array_equal(numbers, np.array([1, 1, 1, np.nan, np.nan, 0], np.float32))


@pytest.mark.parametrize(("scale", "order"), [(b"-1", "<"), (b"-1.000000", "<"), (b"1.0", ">"), (b"-2e0", "<")])
def test_flow_of_flyingthings(tmp_path: Path, scale: bytes, order: str) -> None:
    path = tmp_path / "a.pfm"
    path.write_bytes(b"PF\n2 2\n%s\n" % scale + struct.pack(f"{order}12f", *BOTTOM, *TOP))
    uv, valid = read_flow(path)
    assert valid is None
    assert uv.tolist() == UV


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a .pfm file: {0}"),
        (b"PF\n2 2\n0\n" + bytes(48), "not a .pfm file: {0}"),
        (b"PF\n2 2\n1e\n" + bytes(48), "not a .pfm file: {0}"),
        (b"PF\n-2 2\n-1\n" + bytes(48), "not a .pfm file: {0}"),
        (b"PF\n0 2\n-1\n", "damaged .pfm file: {0} says 0x2"),
        (b"PF\n2 2\n-1\n" + bytes(47), "damaged .pfm file: {0} says 2x2 and has 57 bytes"),
        (b"PF\n2 2\n-1\n" + bytes(49), "damaged .pfm file: {0} says 2x2 and has 59 bytes"),
        (b"PF\n99999 99999\n-1\n", "damaged .pfm file: {0} says 99999x99999 and has 18 bytes"),
        (b"PF\n999999999 999999999\n-1\n", "damaged .pfm file: {0} says 999999999x999999999"),
        (b"Pf\n2 2\n-1\n" + bytes(16), "a .pfm file, but not a flow (one channel): {0}"),
    ],
)
def test_what_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.pfm"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_flow(path)
    assert caught.value.message == message.format(path)
