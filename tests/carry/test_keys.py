from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flowcli.carry.keys import check_size, check_used, find_content, find_masks
from flowcli.errors import InputError
from flowcli.types import Frame


def put(folder: Path, *names: str, values: np.ndarray | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.fromarray(np.zeros((5, 7), np.uint8) if values is None else values).save(folder / f"{name}.png")
    return folder


def frame(index: int, name: str | None = None) -> Frame:
    return Frame(np.zeros((5, 7, 3), np.uint8), index, Fraction(index, 25), name)


def test_masks_belong_to_frames_of_their_name_or_number(tmp_path: Path) -> None:
    masks = find_masks(str(put(tmp_path / "keys", "shot_0010", "7", "000012", "notes")))

    def found(frame: Frame) -> str | None:
        path = masks.find(frame, first=False)
        return None if path is None else path.stem

    assert found(frame(3, "shot_0010")) == "shot_0010"
    assert found(frame(7)) == "7"
    assert found(frame(12)) == "000012"
    assert found(frame(0, "notes")) == "notes"
    # Names of frames have numbers of their own: their places do not count.
    assert found(frame(7, "a3")) is None
    assert found(frame(3, "b07")) == "7"
    assert found(frame(4)) is None


def test_one_file_is_the_mask_of_the_first_frame(tmp_path: Path) -> None:
    file = put(tmp_path / "keys", "anything") / "anything.png"
    masks = find_masks(str(file))
    assert masks.find(frame(30), first=True) == file
    assert masks.find(frame(31, "anything"), first=False) is None


def test_no_masks(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "a.txt").touch()
    with pytest.raises(InputError) as caught:
        find_masks(str(tmp_path / "keys"))
    assert caught.value.message == f"no masks in {tmp_path / 'keys'}"


def test_masks_are_alike(tmp_path: Path) -> None:
    folder = put(tmp_path / "keys", "1")
    put(folder, "2", values=np.zeros((7, 5), np.uint8))
    with pytest.raises(InputError) as caught:
        find_masks(str(folder))
    assert caught.value.message == f"{folder / '2.png'} is 5x7, but {folder / '1.png'} is 7x5"
    put(folder, "2", values=np.zeros((5, 7), np.uint16))
    with pytest.raises(InputError) as caught:
        find_masks(str(folder))
    assert caught.value.message == f"{folder / '2.png'} is stored as I;16, but {folder / '1.png'} as L"


def test_sizes_of_masks_and_frames_are_named(tmp_path: Path) -> None:
    masks = find_masks(str(put(tmp_path / "keys", "1")))
    check_size(masks, 5, 7, "in.mp4")
    with pytest.raises(InputError) as caught:
        check_size(masks, 6, 7, "in.mp4")
    assert caught.value.message == f"masks in {tmp_path / 'keys'} are 7x5, but frames of in.mp4 are 7x6"


def test_a_mask_without_a_frame(tmp_path: Path) -> None:
    folder = put(tmp_path / "keys", "1", "40")
    masks = find_masks(str(folder))
    check_used(masks, [folder / "1.png", folder / "40.png"], 41)
    with pytest.raises(InputError) as caught:
        check_used(masks, [folder / "1.png"], 12)
    assert caught.value.message == f"no frame for mask {folder / '40.png'}, there are 12 frames"


def matte(levels: int) -> np.ndarray:
    """Black and white, with a ramp of so many greys between."""
    values = np.zeros((5, 400), np.uint8)
    values[:, 200:] = 255
    values[:, 180 : 180 + levels] = np.linspace(0, 255, levels + 2)[1:-1]
    return values


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (matte(30), "soft"),
        (matte(0), "labels"),
        (matte(2), "labels"),
        (np.arange(2000, dtype=np.uint8).reshape(5, 400) % 34, "labels"),
        (np.where(np.arange(400) < 250, 0, np.arange(400) % 21).astype(np.uint8)[None].repeat(5, 0), "labels"),
    ],
)
def test_what_grey_masks_hold(tmp_path: Path, values: np.ndarray, expected: str) -> None:
    masks = find_masks(str(put(tmp_path / "keys", "1", values=values)))
    assert find_content(masks) == expected


def test_values(tmp_path: Path) -> None:
    values = matte(30)
    masks = find_masks(str(put(tmp_path / "keys", "1", values=values)))
    file = tmp_path / "keys" / "1.png"
    assert torch.equal(masks.read(file, "labels"), torch.from_numpy(values.astype(np.int32)))
    assert torch.allclose(masks.read(file, "soft")[0] * 255, torch.from_numpy(values.astype(np.float32)))
