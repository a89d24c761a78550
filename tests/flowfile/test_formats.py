"""Every format of the table, by the same tests."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcli.errors import FlowcliError, InputError, OutputError
from flowcli.flowfile import FORMATS, read_flow, write_flow

NAME = "flow_x_00001"
"""The name that .jpg asks for; to the others all are alike."""
ERRORS = {".flo": 0, ".png": 1 / 128, ".pfm": 0, ".flo5": 0, ".npy": 0, ".npz": 0, ".exr": 0, ".jpg": 0.5}
"""Pixels that a value may be off, on flow within 20 pixels; .jpg loses more than its half step of 0.08."""
WITHOUT_MASK = {".exr", ".jpg"}
PACKAGES = {".flo5": "h5py", ".exr": "OpenEXR"}


def smooth(height: int = 65, width: int = 97) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / max(height, width)
    return np.stack((19 * np.sin(2 * x + y), 15 * x - 18 * y)).astype(np.float32)


def refusal(path: Path) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        read_flow(path)
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (5, 2), (65, 97)])
@pytest.mark.parametrize("masked", [False, True])
def test_every_format_gives_back_what_it_got(
    tmp_path: Path, suffix: str, height: int, width: int, masked: bool
) -> None:
    uv, mask = smooth(height, width), None
    if masked:
        mask = np.random.default_rng(1).random((height, width)) < 0.5
        mask[0, 0] = False
    path = tmp_path / f"{NAME} ü{suffix}"
    write_flow(path, uv, mask)
    back, valid = read_flow(path)
    assert back.dtype == np.float32
    assert back.shape == uv.shape
    assert back.flags.writeable
    known = np.ones((height, width), bool) if mask is None else mask
    if suffix in WITHOUT_MASK:
        assert valid is None
    else:
        assert (valid is None) == (mask is None)
        np.testing.assert_array_equal(known if valid is None else valid, known)
        assert not back[:, ~known].any()
    if not (masked and suffix == ".jpg"):
        np.testing.assert_allclose(back[:, known], uv[:, known], atol=ERRORS[suffix], rtol=0)


@pytest.mark.parametrize("suffix", FORMATS)
def test_suffixes_in_capitals_are_known(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"{NAME}{suffix.upper()}"
    write_flow(path, np.ones((2, 3, 4), np.float32))
    np.testing.assert_allclose(read_flow(path)[0], np.ones((2, 3, 4)), atol=0.1)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_flow_makes_the_same_file(tmp_path: Path, suffix: str) -> None:
    files = [tmp_path / name / f"{NAME}{suffix}" for name in "ab"]
    for file in files:
        file.parent.mkdir()
        write_flow(file, smooth(), smooth()[0] > 0)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_missing_files_and_unknown_suffixes_are_named(tmp_path: Path) -> None:
    for suffix in FORMATS:
        path = tmp_path / f"{NAME}{suffix}"
        expected = f"cannot read {path}: No such file or directory"
        assert refusal(path) == (expected, "check the name and the permissions")
    known = ".flo .png .pfm .flo5 .npy .npz .exr .jpg"
    assert refusal(tmp_path / "a.xyz") == (f"unknown kind of flow file: {tmp_path}/a.xyz", f"flow is read from {known}")
    with pytest.raises(OutputError) as caught:
        write_flow(tmp_path / "a.xyz", np.zeros((2, 1, 1), np.float32))
    assert caught.value.message == f"unknown kind of flow file: {tmp_path}/a.xyz"
    assert caught.value.hint == f"flow is written to {known}"


@pytest.mark.parametrize("suffix", PACKAGES)
def test_a_package_that_is_missing_is_named(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package, path = PACKAGES[suffix], tmp_path / f"a{suffix}"
    write_flow(path, smooth(2, 3))
    monkeypatch.setitem(sys.modules, package, None)
    for call in (lambda: read_flow(path), lambda: write_flow(path, smooth(2, 3))):
        with pytest.raises(FlowcliError) as caught:
            call()
        assert caught.value.message == f"{package} is needed for {suffix} files: {path}"
        assert caught.value.hint == "pip install 'flowcli[formats]'"


def test_only_these_formats_need_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in PACKAGES.values():
        monkeypatch.setitem(sys.modules, package, None)
    for suffix in FORMATS.keys() - PACKAGES:
        write_flow(tmp_path / f"{NAME}{suffix}", smooth(2, 3))
        assert read_flow(tmp_path / f"{NAME}{suffix}")[0].shape == (2, 2, 3)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", FORMATS)
@given(st.data())
def test_damaged_files_never_give_anything_but_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / f"{NAME}_fuzz{suffix}"
    write_flow(path, smooth(5, 7), smooth(5, 7)[0] > 1)
    content = bytearray(path.read_bytes())
    # Headers are in the first bytes.
    places = st.one_of(st.integers(0, min(len(content), 400) - 1), st.integers(0, len(content) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
        content[place] = value
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(content))))
    path.write_bytes(bytes(content[:cut]))
    try:
        uv, valid = read_flow(path)
    except InputError:
        return
    assert uv.dtype == np.float32
    assert np.isfinite(uv).all()
    assert valid is None or valid.shape == uv.shape[1:]


@pytest.mark.slow
@given(st.binary(max_size=100))
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    for suffix in FORMATS:
        path = tmp_path_factory.getbasetemp() / f"{NAME}_random{suffix}"
        path.write_bytes(data)
        refusal(path)
