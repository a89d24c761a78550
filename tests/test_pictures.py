from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcli.errors import InputError, OutputError
from flowcli.pictures import (
    ALPHA_SUFFIXES,
    PICTURE_SUFFIXES,
    draw_line,
    draw_text,
    heat,
    read_picture,
    read_unscaled,
    write_picture,
)

LOSSLESS = (".png", ".tif", ".tiff", ".bmp", ".ppm", ".webp")


def _smooth(height: int = 33, width: int = 41) -> np.ndarray:
    """A picture whose channels differ and that every format can keep nearly as it is."""
    y, x = np.mgrid[:height, :width]
    return np.stack((x * 5, y * 6, 200 - x - y), axis=-1).astype(np.uint8)


def _png(width: int, height: int, depth: int, kind: int, rows: bytes, palette: bytes = b"") -> bytes:
    """A PNG file made by hand: kind 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    colours = chunk(b"PLTE", palette) if palette else b""
    return b"\x89PNG\r\n\x1a\n" + header + colours + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(_png(2, 1, 8, 0, b"\0\x07\xf0"), [[7] * 3, [240] * 3], id="grey"),
        pytest.param(_png(2, 1, 8, 2, b"\0\x01\x02\x03\xfa\xfb\xfc"), [[1, 2, 3], [250, 251, 252]], id="rgb"),
        pytest.param(
            _png(2, 1, 8, 3, b"\0\1\0", b"\x0a\x14\x1e\xc8\x64\x32"), [[200, 100, 50], [10, 20, 30]], id="palette"
        ),
        pytest.param(_png(2, 1, 8, 4, b"\0\x07\x80\xf0\0"), [[7] * 3, [240] * 3], id="grey and alpha"),
        pytest.param(_png(2, 1, 8, 6, b"\0\1\2\3\x80\4\5\6\0"), [[1, 2, 3], [4, 5, 6]], id="rgba"),
        pytest.param(_png(2, 1, 16, 2, b"\0\1\1\2\2\3\3\xff\xff\x80\x80\0\0"), [[1, 2, 3], [255, 128, 0]], id="16 bit"),
        pytest.param(_png(2, 1, 1, 0, b"\0\x40"), [[0] * 3, [255] * 3], id="1 bit"),
    ],
)
def test_every_kind_of_png_becomes_rgb(tmp_path: Path, data: bytes, expected: list[list[int]]) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    image = read_picture(path)
    assert image.dtype == np.uint8
    assert image.tolist() == [expected]


def _with_orientation(jpeg: bytes, orientation: int) -> bytes:
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    data = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + jpeg[2:]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, turns: int) -> None:
    path = tmp_path / "a.jpg"
    write_picture(path, _smooth())
    upright = read_picture(path)
    path.write_bytes(_with_orientation(path.read_bytes(), orientation))
    np.testing.assert_array_equal(read_picture(path), np.rot90(upright, turns))


@pytest.mark.parametrize("suffix", [suffix for suffix in PICTURE_SUFFIXES if suffix != ".pgm"])
def test_every_format_keeps_the_order_of_the_channels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, _smooth())
    difference = np.abs(read_picture(path).astype(int) - _smooth())
    assert difference.max() <= (0 if suffix in LOSSLESS else 12)


@pytest.mark.parametrize("suffix", ALPHA_SUFFIXES)
def test_transparency_is_kept(tmp_path: Path, suffix: str) -> None:
    image = np.dstack((_smooth(), np.full((33, 41), 255, np.uint8)))
    image[:10, :, 3] = 0
    path = tmp_path / f"a{suffix}"
    write_picture(path, image)
    stored = read_unscaled(path)
    # What is fully transparent may lose its colour.
    difference = np.abs(stored.astype(int) - image)
    assert max(difference[..., 3].max(), difference[12:].max()) <= (0 if suffix in LOSSLESS else 12)


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    image = np.arange(5 * 7 * 3, dtype=np.uint16).reshape(5, 7, 3) * 600
    write_picture(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read_unscaled(tmp_path / "a.png"), image)


def test_reading_does_not_depend_on_the_suffix_or_the_name(tmp_path: Path) -> None:
    path = tmp_path / "Bewegung → 動き; 'x'.PNG"
    write_picture(path, _smooth())
    np.testing.assert_array_equal(read_picture(path), _smooth())
    np.testing.assert_array_equal(read_picture(path.rename(tmp_path / "-x.jpg")), _smooth())


@pytest.mark.parametrize("cut", [0, 1, 8, 60, -30])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_damaged_pictures_are_refused(tmp_path: Path, cut: int, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, np.random.default_rng(0).integers(0, 255, (33, 41, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError) as caught:
        read_picture(path)
    assert caught.value.message == f"not a picture, or a damaged one: {path}"
    assert caught.value.hint == "remove it, or convert it to PNG"
    assert capfd.readouterr() == ("", "")


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_picture(tmp_path / "none.png")
    assert caught.value.message == f"cannot read {tmp_path}/none.png: No such file or directory"
    with pytest.raises(InputError) as caught:
        read_picture(tmp_path)
    assert caught.value.message == f"cannot read {tmp_path}: Is a directory"


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"BM", b"P6 9 9 ", b"II*\0"]),
)
def test_random_bytes_are_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: bytes, start: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random"
    path.write_bytes(start + data)
    try:
        image = read_picture(path)
    except InputError:
        return
    assert image.dtype == np.uint8
    assert image.shape[2:] == (3,)


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def message(name: str, image: np.ndarray) -> str:
        with pytest.raises(OutputError) as caught:
            write_picture(tmp_path / name, image)
        return caught.value.message

    transparent = np.zeros((2, 3, 4), np.uint8)
    assert message("a.jpg", transparent) == f".jpg cannot hold transparency: {tmp_path}/a.jpg"
    assert message("a.xyz", _smooth()) == f"unknown kind of picture: {tmp_path}/a.xyz"
    assert message("a.pgm", _smooth()) == f"cannot write a picture of 41x33 as .pgm: {tmp_path}/a.pgm"
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_failed_write_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_picture(tmp_path / "none" / "a.png", _smooth())
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full to stand for a full disk")
    (tmp_path / "a.png").symlink_to(full)
    with pytest.raises(OSError, match="No space left"):
        write_picture(tmp_path / "a.png", _smooth())


@pytest.mark.parametrize("channels", [3, 4])
def test_draw_text_is_white_on_black_and_only_there(channels: int) -> None:
    image = np.full((40, 120, channels), 100, np.uint8)
    before = image.copy()
    drawn = draw_text(image, "12.5 px", 10, 30, 14)
    np.testing.assert_array_equal(image, before)
    changed = (drawn != image).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.min() >= 12
    assert rows.max() <= 37
    assert columns.min() >= 8
    assert drawn[changed][:, :3].max() > 240
    assert drawn[changed][:, :3].min() < 15
    if channels == 4:
        assert drawn[changed][:, 3].max() == 255


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 300), (60, 20)])
def test_draw_text_fits_into_any_picture(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    drawn = draw_text(image, "12.5 px", 4, height - 2, 12)
    assert drawn.shape == image.shape
    if width == 20:
        columns = np.nonzero(drawn.any(axis=(0, 2)))[0]
        assert columns.max() >= 12


def test_opencv_is_silent() -> None:
    assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_SILENT


def test_heat_grows_brighter_and_is_cut_at_both_ends() -> None:
    colours = heat(np.array([[-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 9.0]]))
    assert colours.shape == (1, 7, 3)
    brightness = colours.astype(int).sum(2)[0]
    assert (np.diff(brightness)[[1, 2, 3, 4]] > 60).all()
    assert brightness[0] == brightness[1] < 10
    assert brightness[5] == brightness[6]
    red, _, blue = colours[0, 3]
    assert red > blue, "orange, not blue"


def test_a_line_goes_through_its_points() -> None:
    empty = np.zeros((20, 30, 3), np.uint8)
    drawn = draw_line(empty, [(2, 3), (25, 3), (25, 15)], (250, 10, 20))
    assert not empty.any()
    for x, y in ((2, 3), (14, 3), (25, 3), (25, 9), (25, 15)):
        assert drawn[y, x].tolist() == [250, 10, 20]
    assert not drawn[8:, :20].any()
