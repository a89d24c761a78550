from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from flowcli.errors import InputError
from flowcli.types import Frame, StreamInfo
from flowcli.video import open_source

PAIR = "give a video alone, or two pictures; flowcli batch takes many videos"


def picture(path: Path, value: int = 0, shape: tuple[int, ...] = (5, 7, 3)) -> Path:
    """A picture file of one value."""
    assert cv2.imwrite(str(path), np.full(shape, value, np.uint8))
    return path


def read(*arguments: object, **selection: object) -> list[Frame]:
    with open_source(*map(str, arguments), **selection) as frames:  # type: ignore[arg-type]
        return list(frames)


def check_error(error: str, hint: str, *arguments: object, **selection: object) -> None:
    with pytest.raises(InputError) as caught:
        read(*arguments, **selection)
    assert (caught.value.message, caught.value.hint) == (error, hint)


def test_folder_in_natural_order(tmp_path: Path) -> None:
    names = ["frame1.png", "frame2.PNG", "frame10.png", "Frame11.bmp", "z.png"]
    for value, name in enumerate(names):
        picture(tmp_path / name, value)
    picture(tmp_path / ".hidden.png", 99)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    with open_source(str(tmp_path)) as source:
        assert source.info == StreamInfo(5, 7, Fraction(25), 5)
        frames = list(source)
        assert [frame.name for frame in source] == ["frame1", "frame2", "frame10", "Frame11", "z"]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 1, 2, 3, 4]
    assert [(frame.index, frame.time) for frame in frames] == [(index, Fraction(index, 25)) for index in range(5)]


def test_names_that_would_collide_are_not_used(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "b.png"):
        picture(tmp_path / name)
    assert [frame.name for frame in read(tmp_path)] == [None, None, None]


def test_glob(tmp_path: Path) -> None:
    for name in ("a1.png", "a10.png", "a2.png", "b1.png"):
        picture(tmp_path / name)
    assert [frame.name for frame in read(tmp_path / "a*.png")] == ["a1", "a2", "a10"]
    picture(tmp_path / "[a].png", 9)
    (frame,) = read(tmp_path / "[a].png")
    assert frame.image[0, 0, 0] == 9
    check_error(f"no file matches: {tmp_path}/c?.png", "check the pattern", tmp_path / "c?.png")
    (tmp_path / "a3.txt").write_text("text")
    check_error(
        f"not a picture file: {tmp_path}/a3.txt",
        PAIR,
        tmp_path / "a*",
    )


def test_two_pictures(tmp_path: Path) -> None:
    first, second = picture(tmp_path / "z.png", 1), picture(tmp_path / "a.png", 2)
    assert [int(frame.image[0, 0, 0]) for frame in read(first, second)] == [1, 2]
    check_error(f"no such file: {tmp_path}/b.png", "check the name", first, tmp_path / "b.png")
    check_error(f"two pictures are needed, this is a folder: {tmp_path}", "pass a folder alone", first, tmp_path)
    (tmp_path / "my clip.mp4").touch()
    quote = f"quote a name with spaces: '{tmp_path}/my clip.mp4'"
    check_error(f"no such file: {tmp_path}/my", quote, tmp_path / "my", "clip.mp4")
    plate = tmp_path / "f.0001.CIN"
    plate.touch()
    check_error(f"pictures of this kind are not read: {plate}", "convert it to PNG first", plate, plate)
    video = tmp_path / "a.mp4"
    video.touch()
    check_error(
        f"not a picture file: {video}",
        PAIR,
        video,
        second,
    )


def test_selection_reads_no_other_picture(tmp_path: Path) -> None:
    for value in range(10):
        path = picture(tmp_path / f"{value}.png", value)
        if value in (0, 1, 3, 5, 7, 8, 9):
            path.write_text("unreadable")
    frames = read(tmp_path, start=2, stop=Fraction(7, 25), every=2)
    assert [(frame.index, frame.name, int(frame.image[0, 0, 0])) for frame in frames] == [
        (2, "2", 2), (4, "4", 4), (6, "6", 6),
    ]  # fmt: skip
    hint = "choose an earlier start or a later stop"
    check_error("nothing is left of 10 pictures", hint, tmp_path, start=10)


def test_mixed_sizes(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    picture(tmp_path / "2.png", shape=(7, 5, 3))
    hint = "make all pictures the same size"
    check_error(f"{tmp_path}/2.png is 5x7, but {tmp_path}/1.png is 7x5", hint, tmp_path)


def test_unreadable_picture_in_the_middle(tmp_path: Path) -> None:
    for index in range(3):
        picture(tmp_path / f"{index}.png", index)
    whole = (tmp_path / "1.png").read_bytes()
    hint = "remove it, or convert it to PNG"
    for content in (b"", b"no picture", whole[:20]):
        (tmp_path / "1.png").write_bytes(content)
        with open_source(str(tmp_path)) as source:
            frames = iter(source)
            assert next(frames).index == 0
            with pytest.raises(InputError) as caught:
                next(frames)
        assert caught.value.message == f"not a picture, or a damaged one: {tmp_path}/1.png"
        assert caught.value.hint == hint


def test_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    hint = "it may hold .avif .bmp .dpx .exr .jp2 .jpeg .jpg .pgm .png .pnm .ppm .tif .tiff .webp"
    check_error(f"no pictures in folder: {tmp_path}", hint, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_folder_that_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    try:
        check_error(f"cannot read folder {tmp_path}: Permission denied", "check its permissions", tmp_path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.full((5, 7), 200, np.uint8), (200, 200, 200)),
        (np.full((5, 7, 4), (10, 20, 30, 40), np.uint8), (30, 20, 10)),
        (np.full((5, 7, 3), (0x1000, 0x8000, 0xFF00), np.uint16), (0xFF, 0x80, 0x10)),
        (np.full((5, 7), 0x8000, np.uint16), (0x80, 0x80, 0x80)),
    ],
    ids=["grey", "alpha", "16 bit", "grey 16 bit"],
)
def test_kinds_of_pictures(tmp_path: Path, stored: np.ndarray, expected: tuple[int, int, int]) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), stored)
    (frame,) = read(tmp_path / "a.png")
    assert frame.image.dtype == np.uint8
    assert frame.image.shape == (5, 7, 3)
    assert np.abs(frame.image.astype(int) - expected).max() <= 1


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


HINT = "--gaps skip leaves out flow across gaps, --gaps bridge takes what follows as neighbours; or name one sequence"


def test_gaps_are_cuts_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3, 6, 7):
        picture(tmp_path / f"{number:04d}.png", number)
    said = f"{tmp_path}: a gap: after 0003.png comes 0006.png; "
    assert [(frame.name, frame.index) for frame in read(tmp_path) if frame.cut] == [("0006", 3)]
    assert warnings(caplog) == [f"{said}no flow leads across, unless --gaps bridge"]
    caplog.clear()
    assert not any(frame.cut for frame in read(tmp_path, gaps="bridge"))
    assert warnings(caplog) == [f"{said}flow leads across"]
    check_error(f"no gapless sequence: {said.removesuffix('; ')}", HINT, tmp_path, gaps="error")


@pytest.mark.parametrize(
    ("selected", "cut"),
    [({"every": 2}, [4]), ({"every": 3}, [3]), ({"start": 3}, []), ({"start": 2, "every": 2}, [4]), ({"stop": 3}, [])],
)
def test_a_gap_between_selected_frames_is_a_cut(tmp_path: Path, selected: dict[str, int], cut: list[int]) -> None:
    for number in (1, 2, 3, 6, 7):
        picture(tmp_path / f"{number}.png", number)
    assert [frame.index for frame in read(tmp_path, **selected) if frame.cut] == cut


def stack(path: Path, *values: int) -> Path:
    """A TIFF with a page for each value."""
    assert cv2.imwritemulti(str(path), [np.full((5, 7, 3), value, np.uint8) for value in values])
    return path


def test_pages_of_a_tiff_are_frames(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", 10, 20, 30, 40)
    frames = read(path, start=1, every=2)
    assert [(frame.index, frame.name, int(frame.image[0, 0, 0])) for frame in frames] == [(1, None, 20), (3, None, 40)]


def test_pages_of_unlike_size_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    assert cv2.imwritemulti(str(path), [np.zeros((5, 7, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)])
    error = f"page 2 of {path} is 6x4, but page 1 of {path} is 7x5"
    check_error(error, "make all pictures the same size", path)


def test_several_pictures_are_no_frame_of_a_sequence(tmp_path: Path) -> None:
    picture(tmp_path / "1.tif")
    path = stack(tmp_path / "2.tif", 1, 2)
    error, hint = f"several pictures in one file: {path}", "name it alone; its pictures are then frames"
    check_error(error, hint, tmp_path)
    check_error(error, hint, path, tmp_path / "1.tif")


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_an_animation_is_a_video(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    animation = cv2.Animation()
    animation.frames = [np.full((6, 8, 3), value, np.uint8) for value in (50, 100, 200)]
    animation.durations = [100, 200, 100]
    assert cv2.imwriteanimation(str(path), animation, [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else [])
    frames = read(path)
    assert [(frame.index, frame.time) for frame in frames] == [(0, 0), (1, Fraction(1, 10)), (2, Fraction(3, 10))]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == pytest.approx([50, 100, 200], abs=2)
