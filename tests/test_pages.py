"""Files with several pictures: TIFFs and headers put together by hand, and files of OpenCV's."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcli.pages import is_animation, mapped, picture_pages


def tiff(order: str, big: bool, kinds: list[int | None], ring: bool = False) -> bytes:
    """A TIFF without pixels: each page has its width, and before it NewSubfileType if that is not None."""
    mark = {"<": b"II", ">": b"MM"}[order]
    data = mark + struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, 16) if big else (42, 8)))
    for number, kind in enumerate(kinds):
        tags = [(254, kind)] if kind is not None else []
        tags.append((256, 48))
        data += struct.pack(order + ("Q" if big else "H"), len(tags))
        for tag, value in tags:
            data += struct.pack(order + ("HHQI4x" if big else "HHII"), tag, 4, 1, value)
        size = 8 if big else 4
        following = len(data) + size if number + 1 < len(kinds) else 16 if ring and big else 8 if ring else 0
        data += struct.pack(order + ("Q" if big else "I"), following)
    return data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_pages_of_a_tiff(order: str, big: bool) -> None:
    assert picture_pages(tiff(order, big, [None])) == [0]
    assert picture_pages(tiff(order, big, [0, 0, None, 2])) == [0, 1, 2, 3]
    # Thumbnails, and masks.
    assert picture_pages(tiff(order, big, [1, 0, 4, 5])) == [1]
    assert picture_pages(tiff(order, big, [1])) == [0]


def test_a_ring_of_pages_ends() -> None:
    assert picture_pages(tiff("<", False, [None, None], ring=True)) == [0, 1]


def test_pages_upon_each_other_end() -> None:
    """Each page has 60,000 entries, and the next one begins a byte later."""
    data = bytearray(b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 60_000) * 800_000)
    for place in range(8, 400_000, 2):
        struct.pack_into("<I", data, place + 2 + 12 * 60_000, place + 2)
    assert 0 < len(picture_pages(bytes(data))) < 30


@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"II*\0", b"MM\0+", b"II+\0", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBPVP8X"]),
)
def test_any_bytes_have_an_answer(data: bytes, start: bytes) -> None:
    assert picture_pages(start + data)
    assert is_animation(start + data) in (True, False)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + b"\0\0\0\0"


@pytest.mark.parametrize(
    ("chunks", "animated"),
    [
        ([(b"IHDR", bytes(13)), (b"IDAT", b"x")], False),
        ([(b"IHDR", bytes(13)), (b"iCCP", bytes(9999)), (b"acTL", struct.pack(">II", 2, 0)), (b"IDAT", b"x")], True),
        ([(b"IHDR", bytes(13)), (b"acTL", struct.pack(">II", 1, 0)), (b"IDAT", b"x")], False),
        ([(b"IHDR", bytes(13)), (b"IDAT", b"x"), (b"acTL", struct.pack(">II", 2, 0))], False),
        ([(b"IHDR", bytes(13)), (b"tEXt", b"acTL")], False),
    ],
)
def test_animated_png(chunks: list[tuple[bytes, bytes]], animated: bool) -> None:
    assert is_animation(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)) is animated


def test_animated_webp_and_avif() -> None:
    webp = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0"
    assert is_animation(webp + b"\x12")
    assert not is_animation(webp + b"\x10")
    assert not is_animation(webp.replace(b"VP8X", b"VP8 ") + b"\x12")
    avif = struct.pack(">I", 20) + b"ftyp%bmif1" + bytes(4)
    assert is_animation(avif.replace(b"%b", b"avis"))
    assert not is_animation(avif.replace(b"%b", b"avif") + b"avis")


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".avif"])
def test_files_of_opencv(tmp_path: Path, suffix: str) -> None:
    images = [np.full((32, 48, 3), value, np.uint8) for value in (50, 100, 150)]
    one, several = tmp_path / f"one{suffix}", tmp_path / f"several{suffix}"
    assert cv2.imwrite(str(one), images[0])
    assert (is_animation(mapped(one)), picture_pages(mapped(one))) == (False, [0])
    if suffix == ".tif":
        assert cv2.imwritemulti(str(several), images)
        assert picture_pages(mapped(several)) == [0, 1, 2]
    else:
        animation = cv2.Animation()
        animation.frames, animation.durations = images, [100, 100, 100]
        assert cv2.imwriteanimation(str(several), animation)
        assert is_animation(mapped(several))


def test_what_is_no_file_has_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert bytes(mapped(tmp_path / "empty")) == bytes(mapped(tmp_path)) == b""
