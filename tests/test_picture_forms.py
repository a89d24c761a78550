"""Every kind of picture that is read, as Pillow and ffmpeg write it: alpha, grey, palettes, depths, orientation."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

from flowcli.avif import Turn, stored_turn
from flowcli.errors import InputError
from flowcli.headers import brightest, straight, tiff_pages
from flowcli.pictures import PICTURE_SUFFIXES, read_picture
from flowcli.video import ffmpeg_path

FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
    ".ppm": "PPM", ".pgm": "PPM", ".pnm": "PPM", ".jp2": "JPEG2000", ".avif": "AVIF",
}  # fmt: skip
EXACT: dict[str, dict[str, Any]] = {
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"quality": 95},
    "JPEG": {"quality": 95},
}
LOSSY = {"AVIF": 6, "JPEG": 4}
"""Levels by which decoders and quantisation may differ."""
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("L", "LA", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "PPM": ("1", "L", "RGB"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA"),
    "AVIF": ("L", "LA", "P", "RGB", "RGBA"),
}
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: stored[::-1].transpose(1, 0, 2),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: stored.transpose(1, 0, 2)[::-1],
}
"""What makes a picture upright, by the number in EXIF. Source: Exif 2.32, the tag Orientation."""
TURNED = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF")


def _colours(height: int = 31, width: int = 45) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack((x * 5, y * 8, 200 - x - y), axis=-1).astype(np.uint8)


def _picture(mode: str) -> Image.Image:
    """In two thirds of it nothing shows through, in the others some or all."""
    colours = Image.fromarray(_colours())
    if mode == "P":
        return colours.quantize(32)
    made = colours.convert(mode)
    if mode in ("LA", "RGBA"):
        alpha = np.full((31, 45), 255, np.uint8)
        alpha[:6], alpha[6:10] = 100, 0
        made.putalpha(Image.fromarray(alpha))
    return made


def _without_alpha(data: bytes) -> np.ndarray:
    """The stored picture by Pillow: upright, with the colours that are below alpha."""
    stored = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return np.asarray(stored.convert("RGB"))


def _needs(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")


def test_every_declared_suffix_is_tested() -> None:
    assert set(FORMATS) == set(PICTURE_SUFFIXES)


@pytest.mark.parametrize(
    ("suffix", "mode"), [(suffix, mode) for suffix, kind in FORMATS.items() for mode in MODES[kind]]
)
def test_every_mode(tmp_path: Path, suffix: str, mode: str) -> None:
    kind = FORMATS[suffix]
    _needs(kind)
    path = tmp_path / f"a{suffix}"
    _picture(mode).save(path, kind, **EXACT.get(kind, {}))
    found, expected = read_picture(path), _without_alpha(path.read_bytes())
    assert found.dtype == np.uint8
    assert found.shape == (31, 45, 3)
    assert np.abs(found.astype(int) - expected).max() <= LOSSY.get(kind, 1 if mode == "CMYK" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "mode"), [(kind, mode) for kind in TURNED for mode in ("L", "RGB", "RGBA") if mode in MODES[kind]]
)
def test_every_orientation(tmp_path: Path, kind: str, mode: str, orientation: int) -> None:
    """Of EXIF, and for AVIF of the container."""
    _needs(kind)
    tags = Image.Exif()
    tags[0x0112] = orientation
    path = tmp_path / "a"
    Image.fromarray(_colours()).convert(mode).save(path, kind, exif=tags, **EXACT.get(kind, {}))
    expected = UPRIGHT[orientation](np.asarray(Image.fromarray(_colours()).convert(mode).convert("RGB")))
    found = read_picture(path)
    assert found.shape == expected.shape
    # The smooth picture is not what was stored, as far as the format loses something.
    assert np.abs(found.astype(int) - expected).max() <= (12 if kind in LOSSY else 0)


@given(st.binary(max_size=80), st.integers(0, 300), st.integers(0, 255))
def test_any_bytes_have_a_turn(data: bytes, place: int, byte: int) -> None:
    assert stored_turn(b"\0\0\0\x08ftyp" + data) == Turn()
    whole = bytearray(_turned_avif())
    assert stored_turn(bytes(whole)) == Turn(3)
    whole[place] = byte
    assert isinstance(stored_turn(bytes(whole)), Turn)


@cache
def _turned_avif() -> bytes:
    _needs("AVIF")
    tags = Image.Exif()
    tags[0x0112] = 6
    stored = io.BytesIO()
    Image.fromarray(_colours()).save(stored, "AVIF", exif=tags)
    return stored.getvalue()


@pytest.mark.parametrize(
    ("codec", "pixels", "more"),
    [
        ("png", "rgb48be", ()),
        ("png", "rgba64be", ()),
        ("png", "ya16be", ()),
        ("tiff", "rgb48le", ()),
        ("tiff", "rgba64le", ()),
        ("libopenjpeg", "rgb48le", ("-numresolution", "3")),
        ("libopenjpeg", "rgba64le", ("-numresolution", "3")),
        ("libaom-av1", "yuv444p10le", ("-aom-params", "lossless=1", "-cpu-used", "8", "-still-picture", "1")),
        ("libaom-av1", "yuv444p12le", ("-aom-params", "lossless=1", "-cpu-used", "8", "-still-picture", "1")),
    ],
)
def test_many_bits(tmp_path: Path, codec: str, pixels: str, more: tuple[str, ...]) -> None:
    path = tmp_path / "a.bin"
    colours = np.dstack((_colours(), np.full((31, 45), 255, np.uint8)))
    colours[:9, :, 3] = 70
    muxer = "avif" if codec == "libaom-av1" else "image2pipe"
    source = ["-f", "rawvideo", "-pix_fmt", "rgba", "-s", "45x31", "-i", "-"]
    chain = ["-vf", f"scale=out_range=pc,format={pixels}", "-frames:v", "1", "-c:v", codec, *more, "-f", muxer]
    done = subprocess.run([ffmpeg_path(), "-v", "error", *source, *chain, path], input=colours.tobytes(), check=False)
    if done.returncode:
        pytest.skip(f"this ffmpeg does not write {codec}")
    expected = (
        _colours()
        if "rgb" in pixels or "yuv" in pixels
        else np.asarray(Image.fromarray(_colours()).convert("L").convert("RGB"))
    )
    assert np.abs(read_picture(path).astype(int) - expected).max() <= (3 if muxer == "avif" else 1)


@pytest.mark.parametrize("white", [1, 15, 100, 255, 300, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
def test_the_brightest_value_is_white(tmp_path: Path, kind: str, white: int) -> None:
    colours = kind in ("P3", "P6")
    values = np.rint(np.linspace(0, white, 12)).astype(int)
    values = values.reshape(2, 2, 3) if colours else values.reshape(3, 4)
    header = f"{kind}\n# made by hand\n{values.shape[1]} {values.shape[0]} # and\n{white}\n".encode()
    if kind in ("P2", "P3"):
        body = b"\n".join(b" ".join(b"%d" % value for value in row) for row in values.reshape(values.shape[0], -1))
    else:
        body = values.astype(">u2" if white > 255 else "u1").tobytes()
    path = tmp_path / "a.pnm"
    path.write_bytes(header + body + b"\n")
    expected = values * 255 / white
    expected = expected if colours else np.repeat(expected[..., None], 3, axis=2)
    assert np.abs(read_picture(path) - expected).max() <= 1


def test_only_unscaled_files_have_a_brightest_value() -> None:
    assert (
        brightest(b"P6 2 1 255\n") == brightest(b"P3 2 1 100\n") == brightest(b"P5 2 1") == brightest(b"\x89PNG") == 0
    )
    assert brightest(b"P5#c\n2\n#d\n1 1023\n") == 1023


@pytest.mark.parametrize("order", ["<", ">"])
def test_alpha_that_is_apart_stays_so(order: str) -> None:
    """The value is changed where it is, in both orders of bytes."""
    header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    page = struct.pack(order + "HHHIHHI", 1, 338, 3, 1, 2, 0, 0)
    changed = struct.pack(order + "HHHIHHI", 1, 338, 3, 1, 1, 0, 0)
    assert straight(header + page) == header + changed
    assert straight(header + changed) == header + changed
    assert straight(b"RIFF1234WEBP") == b"RIFF1234WEBP"
    assert list(tiff_pages(header + page)) == [{338: 18}]


def test_a_damaged_picture_is_used_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = _damaged_jpeg(tmp_path / "half.jpg")
    assert read_picture(path).shape == (64, 80, 3)
    assert caplog.messages == [f"{path} is damaged (Corrupt JPEG data: premature end of data segment)"]
    assert capfd.readouterr() == ("", "")


def test_what_others_print_meanwhile_appears(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = _damaged_jpeg(tmp_path / "half.jpg")
    done = threading.Event()

    def chat() -> None:
        for number in range(2000):
            os.write(2, f"{number}\n".encode())
        done.set()

    thread = threading.Thread(target=chat)
    thread.start()
    damage: list[str] = []
    while not damage or not done.is_set():
        read_picture(path, None, lambda _, text: damage.append(text))
    thread.join()
    assert sorted(map(int, capfd.readouterr().err.split())) == list(range(2000))
    assert damage
    assert set(damage) == {"Corrupt JPEG data: premature end of data segment"}


def test_a_refused_picture_says_nothing_more(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stored = bytearray(cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8))[1])
    stored[len(stored) // 2] ^= 255
    path = tmp_path / "a.png"
    path.write_bytes(stored)
    with pytest.raises(InputError, match="not a picture, or a damaged one"):
        read_picture(path)
    assert capfd.readouterr() == ("", "")


def test_warnings_about_profiles_are_no_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(_colours()).save(path, icc_profile=b"no profile")
    np.testing.assert_array_equal(read_picture(path), _colours())
    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")


def _damaged_jpeg(path: Path) -> Path:
    """The lower half is gone, but the file ends as it should."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    stored = cv2.imencode(".jpg", pixels)[1].tobytes()
    path.write_bytes(stored[: len(stored) // 2] + b"\xff\xd9")
    return path
