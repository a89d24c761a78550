from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flowcli.errors import InputError, OutputError
from flowcli.flowfile import FORMATS, open_flow_sink, read_flow, write_flow
from flowcli.pictures import write_picture
from flowcli.types import FlowField, FlowPair, Frame


def _random(height: int = 65, width: int = 97) -> np.ndarray:
    return (np.random.default_rng(height).normal(0, 30, (2, height, width))).astype(np.float32)


def _refusal(path: Path) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        read_flow(path)
    return caught.value.message, caught.value.hint


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


def test_kitti_values_are_those_of_the_development_kit(tmp_path: Path) -> None:
    uv = np.array([[[0, 1, -1.5, 0.0078, 0.0079, 600]], [[0, -2, 3.25, -0.0078, -0.0079, -600]]], np.float32)
    write_flow(tmp_path / "a.png", uv)
    image = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert image.dtype == np.uint16
    assert image[0, :, 2].tolist() == [32768, 32832, 32672, 32768, 32769, 65535]
    assert image[0, :, 1].tolist() == [32768, 32640, 32976, 32768, 32767, 0]
    assert image[0, :, 0].tolist() == [1] * 6


def test_kitti_pixels_without_truth_are_not_valid(tmp_path: Path) -> None:
    write_flow(tmp_path / "a.png", np.array([[[1, np.nan]], [[2, 3]]], np.float32))
    uv, valid = read_flow(tmp_path / "a.png")
    assert valid is not None
    assert valid.tolist() == [[True, False]]
    assert uv.tolist() == [[[1, 0]], [[2, 0]]]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (65, 97)])
@pytest.mark.parametrize("masked", [False, True])
def test_every_format_gives_back_what_it_got(
    tmp_path: Path, suffix: str, height: int, width: int, masked: bool
) -> None:
    uv, mask = _random(height, width), None
    if masked:
        mask = np.random.default_rng(1).random((height, width)) < 0.5
        mask[0, 0] = False
    path = tmp_path / f"ü {suffix}"
    write_flow(path, uv, mask)
    back, valid = read_flow(path)
    assert back.dtype == np.float32
    assert back.shape == uv.shape
    assert back.flags.writeable
    assert (valid is None) == (mask is None)
    known = np.ones((height, width), bool) if mask is None else mask
    if valid is not None:
        np.testing.assert_array_equal(valid, known)
    # KITTI stores steps of 1/64 pixel.
    np.testing.assert_allclose(back[:, known], uv[:, known], atol=0 if suffix == ".flo" else 1 / 128, rtol=0)
    assert not back[:, ~known].any()


@pytest.mark.parametrize("suffix", FORMATS)
def test_suffixes_in_capitals_are_known(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix.upper()}"
    write_flow(path, np.ones((2, 3, 4), np.float32))
    assert read_flow(path)[0].tolist() == np.ones((2, 3, 4)).tolist()


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
    assert _refusal(path) == (what.format(path=path), "get the file again")


def test_pictures_that_are_not_flow_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for image in (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5, 4), np.uint16)):
        write_picture(path, image)
        assert _refusal(path) == (f"a picture, but not a flow (16-bit RGB): {path}", "give a KITTI flow file")


def test_missing_files_and_unknown_suffixes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "none.flo"
    assert _refusal(path) == (f"cannot read {path}: No such file or directory", "check the name and the permissions")
    assert _refusal(tmp_path / "a.xyz") == (
        f"unknown kind of flow file: {tmp_path}/a.xyz",
        "flow is read from .flo .png",
    )
    with pytest.raises(OutputError) as caught:
        write_flow(tmp_path / "a.xyz", np.zeros((2, 1, 1), np.float32))
    assert caught.value.message == f"unknown kind of flow file: {tmp_path}/a.xyz"
    assert caught.value.hint == "flow is written to .flo .png"


@pytest.mark.parametrize("suffix", FORMATS)
@given(st.data())
def test_damaged_files_never_give_anything_but_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
    write_flow(path, _random(5, 7))
    content = bytearray(path.read_bytes())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)
    ):
        content[place] = value
    path.write_bytes(data.draw(st.sampled_from([bytes(content), bytes(content[: data.draw(st.integers(0, 300))])])))
    try:
        uv, valid = read_flow(path)
    except InputError:
        return
    assert uv.dtype == np.float32
    assert np.isfinite(uv).all()
    assert valid is None or valid.shape == uv.shape[1:]


@given(st.binary(max_size=100))
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    for suffix in FORMATS:
        path = tmp_path_factory.getbasetemp() / f"random{suffix}"
        path.write_bytes(data)
        _refusal(path)


def _frame(index: int, name: str | None) -> Frame:
    return Frame(np.zeros((3, 4, 3), np.uint8), index, Fraction(index, 25), name)


def _pair(index: int, first: str | None = None, second: str | None = None, backward: bool = False) -> FlowPair:
    flow = FlowField(torch.full((2, 3, 4), float(index)), torch.arange(12).view(3, 4) > 0)
    frames = _frame(index, first), _frame(index + 1, second)
    return FlowPair(*(frames[::-1] if backward else frames), flow)


def test_a_folder_holds_one_file_for_each_pair_named_after_the_earlier_frame(tmp_path: Path) -> None:
    target = tmp_path / "flows"
    sink = open_flow_sink(target, folder=True, tag="_bwd")
    for pair in (_pair(0, "left", "right"), _pair(7), _pair(8, "a", "b", backward=True)):
        sink.write(pair)
        assert not target.exists()
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["flows"]
    assert sorted(path.name for path in target.iterdir()) == ["000007_bwd.flo", "a_bwd.flo", "left_bwd.flo"]
    uv, valid = read_flow(target / "000007_bwd.flo")
    assert valid is not None
    assert valid.ravel().tolist() == [False] + [True] * 11
    assert uv[:, valid].tolist() == [[7] * 11] * 2


def test_a_single_file_holds_one_pair(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    sink = open_flow_sink(target, folder=False)
    sink.write(_pair(3))
    assert not target.exists()
    sink.close()
    assert list(tmp_path.iterdir()) == [target]
    assert read_flow(target)[0][:, 1, 1].tolist() == [3, 3]


def _output_error(sink_call: object, *arguments: object) -> tuple[str, str]:
    assert callable(sink_call)
    with pytest.raises(OutputError) as caught:
        sink_call(*arguments)
    return caught.value.message, caught.value.hint


def test_a_single_file_refuses_a_second_pair_and_none(tmp_path: Path) -> None:
    target = tmp_path / "a.flo"
    sink = open_flow_sink(target, folder=False)
    assert _output_error(sink.close) == (f"no flow for {target}: there is only one frame", "flow needs two frames")
    sink.write(_pair(0))
    assert _output_error(sink.write, _pair(1)) == (
        f"{target} holds one flow, but there are more",
        "give a folder instead",
    )
    sink.abort()
    assert list(tmp_path.iterdir()) == []


def test_two_frames_of_one_name_are_refused(tmp_path: Path) -> None:
    sink = open_flow_sink(tmp_path / "flows", folder=True)
    sink.write(_pair(0, "a"))
    assert _output_error(sink.write, _pair(1, "a")) == (
        f"two frames have the same name: a.flo in {tmp_path}/flows",
        "rename one of them",
    )
    sink.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [False, True])
def test_taken_targets_are_kept_unless_they_may_be_replaced(tmp_path: Path, folder: bool) -> None:
    target = tmp_path / ("flows" if folder else "a.flo")
    file = target / "old.txt" if folder else target
    file.parent.mkdir(exist_ok=True)
    file.write_text("old")
    with pytest.raises(OutputError, match=r"^output exists already: "):
        open_flow_sink(target, folder=folder)
    sink = open_flow_sink(target, folder=folder, overwrite=True)
    sink.write(_pair(2))
    assert file.read_text() == "old"
    sink.close()
    if folder:
        assert sorted(path.name for path in target.iterdir()) == ["000002.flo", "old.txt"]
    else:
        assert read_flow(target)[0].max() == 2


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_is_one_error_and_leaves_nothing(
    tmp_path: Path, folder: bool, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    target = tmp_path / ("flows" if folder else f"a{suffix}")
    sink = open_flow_sink(target, folder=folder, suffix=suffix)
    assert _output_error(sink.write, _pair(0)) == (
        f"cannot write {target}: No space left on device",
        "check the free space and the permissions",
    )
    sink.abort()
    assert list(tmp_path.iterdir()) == []
