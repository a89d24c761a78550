from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowcli.errors import InputError
from flowcli.flowfile import open_stack, read_flow, write_flow

UV = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_flow(path)
    return caught.value.message


def test_numpy_reads_what_is_written(tmp_path: Path) -> None:
    mask = UV[0] > 0
    write_flow(tmp_path / "a.npy", UV, mask)
    array = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert (array.shape, array.dtype.str) == ((2, 3, 4), "<f4")
    np.testing.assert_array_equal(array, np.where(mask, UV, np.nan))
    write_flow(tmp_path / "a.npz", UV, mask)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["flow", "valid"]
        np.testing.assert_array_equal(arrays["flow"], np.where(mask, UV, np.nan))
        np.testing.assert_array_equal(arrays["valid"], mask)
    write_flow(tmp_path / "b.npz", UV)
    with np.load(tmp_path / "b.npz", allow_pickle=False) as arrays:
        assert list(arrays) == ["flow"]


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8"])
@pytest.mark.parametrize("layout", ["planar", "interleaved", "fortran", "stack"])
def test_what_others_write(tmp_path: Path, dtype: str, layout: str) -> None:
    array = {
        "planar": UV,
        "interleaved": UV.transpose(1, 2, 0),
        "fortran": np.asfortranarray(UV.transpose(1, 2, 0)),
        "stack": UV[None],
    }[layout].astype(dtype)
    np.save(tmp_path / "a.npy", array)
    uv, valid = read_flow(tmp_path / "a.npy")
    assert valid is None
    np.testing.assert_array_equal(uv, UV)
    if layout != "stack":
        np.savez(tmp_path / "a.npz", flow=array)
        np.testing.assert_array_equal(read_flow(tmp_path / "a.npz")[0], UV)


def test_flow_of_viper(tmp_path: Path) -> None:
    u, v = UV.astype(np.float16)
    u[0, 0], v[2, 3] = 600, np.nan
    np.savez_compressed(tmp_path / "a.npz", u=u, v=v)
    uv, valid = read_flow(tmp_path / "a.npz")
    assert valid is not None
    assert np.argwhere(~valid).tolist() == [[0, 0], [2, 3]]
    np.testing.assert_array_equal(uv[:, valid], UV[:, valid])


@pytest.mark.parametrize("interleaved", [False, True])
def test_flows_of_a_stack_come_one_by_one(tmp_path: Path, interleaved: bool) -> None:
    flows = np.stack([UV, UV + 100, -UV])
    np.save(tmp_path / "a.npy", flows.transpose(0, 2, 3, 1) if interleaved else flows)
    stack = open_stack(tmp_path / "a.npy")
    assert len(stack) == 3
    for flow, expected in zip(stack, flows, strict=True):
        np.testing.assert_array_equal(flow, expected)
    assert refusal(tmp_path / "a.npy") == f"{tmp_path}/a.npy holds 3 flows, not one"


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (np.zeros((2, 3, 4), np.int32), "has int32 (2, 3, 4)"),
        (np.zeros((3, 4), np.float32), "has float32 (3, 4)"),
        (np.zeros((3, 4, 5), np.float32), "has float32 (3, 4, 5)"),
        (np.zeros((0, 2, 4, 5), np.float32), "has float32 (0, 2, 4, 5)"),
    ],
)
def test_arrays_that_are_not_flow_are_refused(tmp_path: Path, array: Any, what: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, array)
    assert refusal(path) == f"not a flow (2, height, width): {path} {what}"


@pytest.mark.parametrize("array", [np.array([{"a": 1}], object), np.zeros(3, [("a", "f4")]), np.array(["x"])])
def test_nothing_is_unpickled(tmp_path: Path, array: Any) -> None:
    path = tmp_path / "a.npy"
    np.save(path, array, allow_pickle=True)
    assert refusal(path) == f"damaged .npy file: {path} has a strange header"


def test_archives_that_are_not_flow_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, depth=UV)
    assert refusal(path) == f"no flow in {path}"
    np.savez(path, flow=UV, valid=np.ones((3, 3)))
    assert refusal(path) == f"damaged .npz file: {path} has flow (2, 3, 4) and valid (3, 3)"
    np.savez(path, u=UV[0], v=UV[1, :2])
    assert refusal(path) == f"damaged .npz file: {path} has u (3, 4) and v (2, 4)"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("flow.npy", b"")
    assert refusal(path) == f"damaged .npz file: {path} has flow.npy compressed in a way that NumPy does not know"


def test_a_stack_in_another_order_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.asfortranarray(np.stack([UV, UV])))
    with pytest.raises(InputError, match=r"^flows in Fortran's order: "):
        open_stack(path)
