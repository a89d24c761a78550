from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from flowcli.errors import InputError
from flowcli.flowfile import read_flow, write_flow


def test_a_flo_file_is_laid_out_as_middlebury_says(tmp_path: Path) -> None:
    uv = np.array([[[1.5, 2, 3], [4, 5, 6]], [[-1, -2, -3], [-4, -5, -6.25]]], np.float32)
    write_flow(tmp_path / "a.flo", uv)
    expected = struct.pack("<fii12f", 202021.25, 3, 2, 1.5, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6.25)
    assert (tmp_path / "a.flo").read_bytes() == expected


def test_unknown_flow_is_written_as_1e10(tmp_path: Path) -> None:
    uv = np.array([[[1, np.nan, 3]], [[1, 2, 3]]], np.float32)
    write_flow(tmp_path / "a.flo", uv, np.array([[True, True, False]]))
    numbers = struct.unpack("<6f", (tmp_path / "a.flo").read_bytes()[12:])
    assert numbers == (1, 1, 1e10, 1e10, 1e10, 1e10)


def test_values_that_mean_unknown_are_not_valid(tmp_path: Path) -> None:
    path = tmp_path / "a.flo"
    path.write_bytes(struct.pack("<fii10f", 202021.25, 5, 1, 1, 2, 1e10, 1e10, 0, -2e9, float("nan"), 0, 1e9, 7))
    uv, valid = read_flow(path)
    assert valid is not None
    assert valid.tolist() == [[True, False, False, False, True]]
    assert uv.tolist() == [[[1, 0, 0, 0, 1e9]], [[2, 0, 0, 0, 7]]]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not a .flo file: {path}"),
        (b"PIEH\1\0\0\0", "not a .flo file: {path}"),
        (b"PIEK" + bytes(16), "not a .flo file: {path}"),
        (struct.pack("<4sii", b"PIEH", 99999, 99999), "damaged .flo file: {path} says 99999x99999 and has 12 bytes"),
        (struct.pack("<4sii", b"PIEH", 0, 5), "damaged .flo file: {path} says 0x5 and has 12 bytes"),
        (struct.pack("<4sii", b"PIEH", -1, -1) + bytes(8), "damaged .flo file: {path} says -1x-1 and has 20 bytes"),
        (struct.pack("<4sii", b"PIEH", 100000, 1), "damaged .flo file: {path} says 100000x1 and has 12 bytes"),
        (struct.pack("<4sii", b"PIEH", 2, 1) + bytes(15), "damaged .flo file: {path} says 2x1 and has 27 bytes"),
        (struct.pack("<4sii", b"PIEH", 2, 1) + bytes(17), "damaged .flo file: {path} says 2x1 and has 29 bytes"),
    ],
)
def test_damaged_flo_files_are_refused(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "a.flo"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_flow(path)
    assert (caught.value.message, caught.value.hint) == (what.format(path=path), "get the file again")
