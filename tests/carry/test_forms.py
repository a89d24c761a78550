from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flowcli.carry.forms import read_form, read_mask, write_mask
from flowcli.errors import InputError

SHAPE = (65, 97)
PALETTE = [0, 0, 0, 200, 10, 30, 5, 250, 60, 90, 90, 90]


def palette_png(path: Path, bits: int) -> np.ndarray:
    """Writes indices by hand, with as few colours as there are."""
    indices = np.random.default_rng(0).integers(0, min(1 << bits, 4), SHAPE, dtype=np.uint8)
    planes = (indices[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(planes.reshape(SHAPE[0], -1).astype(bool), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", SHAPE[1], SHAPE[0], bits, 3, 0, 0, 0)
    palette = bytes(PALETTE[: 3 * min(1 << bits, 4)])
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks))
    return indices


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def stored(path: Path) -> tuple[str, bytes, int, bytes]:
    """Mode, pixels, bit depth and palette, by Pillow and by the file's own header."""
    with Image.open(path) as image:
        return image.mode, image.tobytes(), path.read_bytes()[24], bytes(image.getpalette() or ())


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_keep_indices_colours_and_depth(tmp_path: Path, bits: int) -> None:
    indices = palette_png(tmp_path / "in.png", bits)
    form, size = read_form(tmp_path / "in.png")
    values = read_mask(tmp_path / "in.png", form)
    assert size == SHAPE
    assert np.array_equal(values, indices)
    write_mask(tmp_path / "out.png", values, form)
    mode, pixels, depth, palette = stored(tmp_path / "out.png")
    given = stored(tmp_path / "in.png")
    assert given[:3] == ("P", indices.tobytes(), bits)
    assert (mode, pixels, depth) == given[:3]
    assert palette[: len(given[3])] == given[3]


@pytest.mark.parametrize(
    ("mode", "most", "dtype"), [("L", 255, np.uint8), ("I;16", 65535, np.uint16), ("1", 1, np.bool_)]
)
def test_greys_keep_every_number(tmp_path: Path, mode: str, most: int, dtype: Any) -> None:
    given = np.random.default_rng(1).integers(0, most + 1, SHAPE).astype(dtype)
    given[0, :2] = 0, most
    Image.fromarray(given).save(tmp_path / "in.png")
    form, _ = read_form(tmp_path / "in.png")
    values = read_mask(tmp_path / "in.png", form)
    assert form.mode == mode
    assert np.array_equal(values, given.astype(np.int32) * (255 if mode == "1" else 1))
    write_mask(tmp_path / "out.png", values, form)
    assert stored(tmp_path / "out.png") == stored(tmp_path / "in.png")


def test_colours_become_labels_and_black_is_none(tmp_path: Path) -> None:
    colours = np.array([[128, 64, 0], [0, 0, 0], [250, 170, 30], [1, 2, 3]], np.uint8)
    given = colours[np.random.default_rng(2).integers(0, 4, SHAPE)]
    Image.fromarray(given).save(tmp_path / "in.png")
    form, _ = read_form(tmp_path / "in.png")
    values = read_mask(tmp_path / "in.png", form)
    assert np.array_equal(values == 0, (given == 0).all(axis=-1))
    assert np.array_equal(form.table()[values], given)
    write_mask(tmp_path / "out.png", values, form)
    assert stored(tmp_path / "out.png") == stored(tmp_path / "in.png")


def test_more_colours_than_labels_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)).save(path)
    form, _ = read_form(path)
    with pytest.raises(InputError) as caught:
        read_mask(path, form)
    assert caught.value.message == f"more than 256 colours in masks up to {path}"


def test_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match=r"^cannot read mask .*text\.png: not a picture, or damaged$"):
        read_form(tmp_path / "text.png")
    Image.new("RGBA", (4, 3)).save(tmp_path / "alpha.png")
    with pytest.raises(InputError, match=r"^not a mask, but PNG with RGBA: "):
        read_form(tmp_path / "alpha.png")
    Image.new("RGB", (4, 3)).save(tmp_path / "jpeg.png", "JPEG")
    with pytest.raises(InputError, match=r"^not a mask, but JPEG with RGB: "):
        read_form(tmp_path / "jpeg.png")


def test_a_file_cut_short_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "short.png"
    palette_png(path, 8)
    path.write_bytes(path.read_bytes()[:400])
    form, _ = read_form(path)
    with pytest.raises(InputError, match=r"^damaged mask: .*short\.png$"):
        read_mask(path, form)


def test_sizes_are_checked_before_pixels_are_read(tmp_path: Path) -> None:
    """A header that speaks of more pixels than there are bytes of memory."""
    path = tmp_path / "huge.png"
    palette_png(path, 8)
    data = bytearray(path.read_bytes())
    data[16:24] = (200000).to_bytes(4, "big") * 2
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"^cannot read mask .*huge\.png"):
        read_form(path)
