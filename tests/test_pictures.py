from __future__ import annotations

import math
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
    dimmed,
    draw_arrows,
    draw_line,
    draw_text,
    draw_trails,
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


def test_dimmed_pictures_are_darker_and_greyer() -> None:
    image = np.array([[(200, 100, 50), (255, 255, 255), (0, 0, 0)]], np.uint8)
    np.testing.assert_array_equal(dimmed(image, 0), image)
    np.testing.assert_array_equal(dimmed(image, 1), 0 * image)
    # Half as bright, and half as far from grey: 0.299 R + 0.587 G + 0.114 B is 124.2.
    expected = [(81, 56, 44), (127.5,) * 3, (0,) * 3]
    np.testing.assert_allclose(dimmed(image, 0.5)[0], expected, atol=1)
    assert dimmed(np.broadcast_to(np.uint8(90), (4, 5, 3)), 0.5).tolist() == np.full((4, 5, 3), 45).tolist()


def _arrow(x: float, y: float, thickness: float = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An arrow from the middle of a grey picture: (N, 2) x, y of its pixels, how full they are, and those darker."""
    image = np.full((121, 121, 3), 100, np.uint8)
    colour = np.array([(0, 250, 0)], np.uint8)
    drawn = draw_arrows(image, np.full((1, 2), 60.0), np.array([(x, y)], float), colour, thickness)
    assert (image == 100).all()
    full = (drawn[..., 1].astype(float) - drawn[..., 0]) / 250
    places, dark = (np.argwhere(mask)[:, ::-1] - 60 for mask in (full > 0.2, drawn[..., 1] < 90))
    return places, full[full > 0.2], dark


@pytest.mark.parametrize("angle", range(0, 360, 15))
@pytest.mark.parametrize("length", [12, 40])
def test_an_arrow_points_where_it_should(angle: int, length: int) -> None:
    ahead = np.array((math.cos(math.radians(angle)), math.sin(math.radians(angle))))
    places, full, dark = _arrow(*(length * ahead))
    along, across = places @ ahead, places @ (-ahead[1], ahead[0])
    assert -2 <= along.min() <= 1
    assert length - 2 <= along.max() <= length + 1.5
    assert abs(np.average(across, weights=full)) < 0.3
    widest = np.abs(across).max()
    assert widest > 1.5 * np.abs(across[along < length / 6]).max(), "the tail is thin"
    assert length / 4 < along[np.abs(across) > 0.9 * widest].mean() < length
    # The outline lies around it.
    assert (dark @ ahead).min() < 0
    assert (dark @ ahead).max() > length
    assert np.abs(dark @ (-ahead[1], ahead[0])).max() > np.abs(across).max()


def test_no_move_is_a_dot() -> None:
    places, full, dark = _arrow(0, 0, thickness=9)
    assert np.hypot(*places.T).max() < 5
    assert np.abs(np.average(places, axis=0, weights=full)).max() < 0.3
    assert 2 < np.hypot(*dark.T).max() < 8


def test_no_arrows_are_no_change() -> None:
    image = _smooth()
    none = np.zeros((0, 2))
    np.testing.assert_array_equal(draw_arrows(image, none, none, np.zeros((0, 3), np.uint8), 3), image)
    paths = np.full((5, 2, 2), np.nan, np.float32)
    np.testing.assert_array_equal(draw_trails(image, paths, np.full((4, 2, 3), 9, np.uint8), 3), image)


def test_trails_fade_towards_their_older_ends() -> None:
    x = np.arange(5, 106, 10, dtype=np.float32)
    going = np.stack((x, np.full_like(x, 10)), axis=1)
    ended = going + np.array((0, 20))
    ended[-3:] = np.nan
    begun = going + np.array((0, 40))
    begun[:-3] = np.nan
    colours = np.tile(np.array([(250, 100, 0), (0, 250, 100), (100, 0, 250)], np.uint8), (10, 1, 1))
    drawn = draw_trails(np.zeros((60, 120, 3), np.uint8), np.stack((going, ended, begun), axis=1), colours, 1.5)
    line = drawn[10, :, 0].astype(int)
    assert (np.diff(line[5:105]) >= -2).all()
    assert line[8] < 15 < line[40] < line[70] < 240 < line[103]
    np.testing.assert_allclose(drawn[10, 40:100] / line[40:100, None], np.tile((1, 0.4, 0), (60, 1)), atol=0.02)
    # A path that has ended keeps its place in time, and has no dot.
    np.testing.assert_allclose(drawn[30, 8:70, 1], line[8:70], atol=2)
    assert not drawn[30, 78:].any()
    assert drawn[27:34, 72:80].max() <= drawn[30, 70].max()
    assert not drawn[50, :83].any()
    assert (drawn[50, 90:104, 2] > 150).all()
    # A dot is wider than the line before it.
    assert (drawn[7:14, 105, 0] > 150).sum() > (drawn[7:14, 90, 0] > 150).sum() > 0
    assert not drawn[15:25].any()


def test_floats_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    assert cv2.imwrite(str(path), np.zeros((3, 4, 3), np.float32))
    with pytest.raises(InputError) as caught:
        read_picture(path)
    assert caught.value.message == f"a picture of float32 values: {path}"
    assert caught.value.hint == "convert it to 8 or 16 bits, as PNG"
    assert read_unscaled(path).dtype == np.float32
