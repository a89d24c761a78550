from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from flowcli.errors import InputError
from flowcli.flowfile import read_flow, write_flow


def test_it_is_laid_out_as_spring_says(tmp_path: Path) -> None:
    uv = np.array([[[1.5, np.nan, 3]], [[-1, 2, -3]]], np.float32)
    write_flow(tmp_path / "a.flo5", uv)
    with h5py.File(tmp_path / "a.flo5") as file:
        assert list(file) == ["flow"]
        flow = file["flow"]
        assert (flow.shape, flow.dtype.str, flow.compression, flow.compression_opts) == ((1, 3, 2), "<f4", "gzip", 5)
        np.testing.assert_array_equal(flow[()], [[[1.5, -1], [np.nan, np.nan], [3, -3]]])


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8"])
@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"compression": "lzf", "shuffle": True}])
def test_what_others_write(tmp_path: Path, dtype: str, options: dict[str, Any]) -> None:
    numbers = np.array([[[1, 2], [3, 4.5]], [[np.nan, 0], [-7, 1e9 if dtype != "<f2" else np.inf]]])
    with h5py.File(tmp_path / "a.flo5", "w") as file:
        file.create_dataset("flow", data=numbers.astype(dtype), **options)
    uv, valid = read_flow(tmp_path / "a.flo5")
    assert valid is not None
    assert valid.tolist() == [[True, True], [False, dtype != "<f2"]]
    assert uv[:, :1].tolist() == [[[1, 3]], [[2, 4.5]]]


def test_doubles_that_no_float_can_hold_are_unknown(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.flo5", "w") as file:
        file.create_dataset("flow", data=np.array([[[1e300, 1.0], [2.0, 3.0]]]))
    uv, valid = read_flow(tmp_path / "a.flo5")
    assert valid is not None
    assert (valid.tolist(), uv.tolist()) == ([[False, True]], [[[0, 2]], [[0, 3]]])


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_flow(path)
    return caught.value.message


@pytest.mark.parametrize(
    ("shape", "dtype"), [((3, 4, 3), "f4"), ((3, 4), "f4"), ((3, 4, 2), "i4"), ((2, 3, 4, 2), "f4")]
)
def test_data_that_is_no_flow_is_refused(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    path = tmp_path / "a.flo5"
    with h5py.File(path, "w") as file:
        file.create_dataset("flow", shape, dtype)
    assert refusal(path).startswith(f"not a flow (height, width, 2): {path} has ")


def test_files_without_the_dataset_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.flo5"
    with h5py.File(path, "w") as file:
        file.create_group("flow")
    assert refusal(path) == f"damaged .flo5 file: {path} has no dataset `flow`"
    with h5py.File(path, "w") as file:
        file["disparity"] = np.zeros((3, 4, 2))
    assert refusal(path) == f"damaged .flo5 file: {path} has no dataset `flow`"


def test_no_other_file_is_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret.flo5"
    write_flow(secret, np.ones((2, 3, 4), np.float32))
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(96))
    path = tmp_path / "a.flo5"
    with h5py.File(path, "w") as file:
        file["flow"] = h5py.ExternalLink("secret.flo5", "flow")
    assert refusal(path) == f"damaged .flo5 file: {path} has no dataset `flow`"
    with h5py.File(path, "w") as file:
        file.create_dataset("flow", (3, 4, 2), "<f4", external=[(str(raw), 0, 96)])
    assert refusal(path) == f"damaged .flo5 file: {path} takes its data from other files"
    layout = h5py.VirtualLayout((3, 4, 2), "<f4")
    layout[:] = h5py.VirtualSource(str(secret), "flow", (3, 4, 2))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("flow", layout)
    assert refusal(path) == f"damaged .flo5 file: {path} takes its data from other files"
