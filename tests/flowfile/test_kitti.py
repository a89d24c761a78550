from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from flowcli.errors import InputError
from flowcli.flowfile import read_flow, write_flow
from flowcli.pictures import write_picture


def stored(path: Path) -> np.ndarray:
    """(H, W, 3) in OpenCV's order: valid, v, u."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert image.dtype == np.uint16
    return image


def test_kitti_values_are_those_of_the_development_kit(tmp_path: Path) -> None:
    uv = np.array([[[0, 1, -1.5, 0.0078, 0.0079, 600]], [[0, -2, 3.25, -0.0078, -0.0079, -600]]], np.float32)
    write_flow(tmp_path / "a.png", uv)
    image = stored(tmp_path / "a.png")
    assert image[0, :, 2].tolist() == [32768, 32832, 32672, 32768, 32769, 65535]
    assert image[0, :, 1].tolist() == [32768, 32640, 32976, 32768, 32767, 0]
    assert image[0, :, 0].tolist() == [1] * 6


@pytest.mark.parametrize(
    ("value", "least"), [(511.99, -511.984375), (512.0, -512), (513.0, -512), (1024.5, -512), (5e8, -512)]
)
def test_flow_that_is_too_long_is_clamped_not_wrapped(tmp_path: Path, value: float, least: float) -> None:
    write_flow(tmp_path / "a.png", np.array([[[value]], [[-value]]], np.float32))
    uv, valid = read_flow(tmp_path / "a.png")
    assert valid is None
    assert uv.ravel().tolist() == [511.984375, least]


def test_kitti_pixels_without_truth_are_not_valid(tmp_path: Path) -> None:
    write_flow(tmp_path / "a.png", np.array([[[1, np.nan]], [[2, 3]]], np.float32))
    assert stored(tmp_path / "a.png")[0, 1].tolist() == [0, 0, 0]
    uv, valid = read_flow(tmp_path / "a.png")
    assert valid is not None
    assert valid.tolist() == [[True, False]]
    assert uv.tolist() == [[[1, 0]], [[2, 0]]]


def test_pictures_that_are_not_flow_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for image in (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5, 4), np.uint16), np.zeros((4, 5), np.uint16)):
        write_picture(path, image)
        with pytest.raises(InputError) as caught:
            read_flow(path)
        assert caught.value.message == f"a picture, but not a flow (16-bit RGB): {path}"
        assert caught.value.hint == "give a KITTI flow file"


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_flow(path, np.ones((2, 30, 40), np.float32))
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(InputError) as caught:
        read_flow(path)
    assert caught.value.message == f"damaged .png file: {path} is cut off, or its chunks are"
