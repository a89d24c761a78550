from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from flowcli.errors import InputError, OutputError
from flowcli.flowfile import read_flow, write_flow


def levels(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert image.ndim == 2, "grey"
    return image


@pytest.mark.parametrize(
    ("bound", "value", "level"),
    [
        (20, 0, 128),
        (20, 20, 255),
        (20, -20, 0),
        (20, 99, 255),
        (20, -99, 0),
        (20, 10, 191),
        (32, 16, 191),
        (20, -1, 121),
    ],
)
def test_levels_are_those_of_dense_flow(tmp_path: Path, bound: float, value: float, level: int) -> None:
    # A picture of one colour comes through JPEG as it was.
    uv = np.stack([np.full((16, 16), value), np.zeros((16, 16))]).astype(np.float32)
    write_flow(tmp_path / "flow_x_00001.jpg", uv, bound=bound)
    assert levels(tmp_path / "flow_x_00001.jpg").tolist() == [[level] * 16] * 16
    assert levels(tmp_path / "flow_y_00001.jpg").tolist() == [[128] * 16] * 16
    back, valid = read_flow(tmp_path / "flow_x_00001.jpg", bound=bound)
    assert valid is None
    np.testing.assert_allclose(back[0], np.clip(value, -bound, bound), atol=bound / 255 + 1e-6)


def test_smooth_flow_loses_little(tmp_path: Path) -> None:
    y, x = np.mgrid[:240, :320]
    uv = np.stack([x / 16 - 10, 8 * np.sin(y / 40)]).astype(np.float32)
    write_flow(tmp_path / "flow_x_1.jpg", uv)
    assert np.abs(read_flow(tmp_path / "flow_x_1.jpg")[0] - uv).max() < 0.25


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_flow(path)
    return caught.value.message


def test_what_is_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "flow_x_00001.jpg", tmp_path / "flow_y_00001.jpg"
    grey, colour = np.full((16, 16), 99, np.uint8), np.full((16, 16, 3), (9, 99, 199), np.uint8)
    cv2.imwrite(str(path), grey)
    assert refusal(path) == f"cannot read {other}: No such file or directory"
    cv2.imwrite(str(other), colour)
    assert refusal(path) == f"a picture in colours, but not of flow: {other}"
    cv2.imwrite(str(other), grey[:8])
    assert refusal(path) == f"different sizes: {path} and {other}"
    cv2.imwrite(str(tmp_path / "a.jpg"), grey)
    assert refusal(tmp_path / "a.jpg") == f"a picture, but not of flow: {tmp_path}/a.jpg"
    other.write_bytes(b"\xff\xd8 no picture")
    assert refusal(path) == f"damaged .jpg file: {other} says 0x0"
    with pytest.raises(OutputError, match=r"^flow as \.jpg takes two files, not b\.jpg$"):
        write_flow(tmp_path / "b.jpg", np.zeros((2, 3, 4), np.float32))
