"""Small files that say they hold huge pictures are refused before there is memory for them."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flowcli import environment
from flowcli.cli.main import main
from flowcli.errors import InputError, UsageError
from flowcli.pictures import read_picture, write_picture
from flowcli.video import open_source
from tests.tiny import ROOT

SIDE = 60_000
LIMIT = 178_956_970


def png(path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))))


def jpg(path: Path) -> None:
    write_picture(path, np.zeros((16, 16, 3), np.uint8))
    data = bytearray(path.read_bytes())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", SIDE, SIDE)
    path.write_bytes(data)


def bmp(path: Path) -> None:
    write_picture(path, np.zeros((16, 16, 3), np.uint8))
    data = bytearray(path.read_bytes())
    data[18:26] = struct.pack("<ii", SIDE, SIDE)
    path.write_bytes(data)


def ppm(path: Path) -> None:
    path.write_bytes(b"P6 %d %d 255\n" % (SIDE, SIDE) + bytes(1000))


def tif(path: Path) -> None:
    write_picture(path, np.zeros((16, 16, 3), np.uint8))
    data = bytearray(path.read_bytes())
    for tag in (256, 257):
        for size in (3, 4):
            entry = struct.pack("<HHI", tag, size, 1)
            if entry in data:
                place = data.index(entry)
                data[place : place + 12] = struct.pack("<HHII", tag, 4, 1, SIDE)
    path.write_bytes(data)


def jp2(path: Path) -> None:
    write_picture(path, np.zeros((64, 64, 3), np.uint8))
    data = bytearray(path.read_bytes())
    place = data.index(b"ihdr") + 4
    data[place : place + 8] = struct.pack(">II", SIDE, SIDE)
    # Of the code stream, too: after the marker, its length and its capabilities.
    place = data.index(b"\xff\x51") + 6
    data[place : place + 8] = struct.pack(">II", SIDE, SIDE)
    data[place + 16 : place + 24] = struct.pack(">II", SIDE, SIDE)
    path.write_bytes(data)


BOMBS: list[Callable[[Path], None]] = [png, jpg, bmp, ppm, tif, jp2]


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_picture_of_too_many_pixels(tmp_path: Path, bomb: Callable[[Path], None]) -> None:
    path = tmp_path / f"a.{bomb.__name__}"
    bomb(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as caught:
        read_picture(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    assert caught.value.message == f"picture of more than {LIMIT} pixels: {path}"
    assert caught.value.hint == "--max-pixels N or FLOWCLI_MAX_PIXELS=N allows more"


def test_a_video_of_too_many_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.y4m"
    path.write_bytes(b"YUV4MPEG2 W%d H%d F25:1 C420\nFRAME\n" % (SIDE, SIDE) + bytes(1000))
    with pytest.raises(InputError):
        open_source(str(path))


@pytest.mark.slow
def test_the_option_raises_and_lowers_it(tmp_path: Path) -> None:
    for name in "ab":
        write_picture(tmp_path / f"{name}.png", np.zeros((20, 30, 3), np.uint8))
    for limit, status in ((599, 1), (600, 0)):
        arguments = ["a.png", "b.png", "-o", "ab.flo", "-m", "dis", "--max-pixels", str(limit)]
        done = subprocess.run(
            [sys.executable, "-m", "flowcli", "estimate", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status
        assert ("picture of more than 599 pixels: a.png" in done.stderr) == bool(status)


def test_the_option_ends_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def look(*arguments: object) -> None:
        seen.append(environment.max_pixels())
        raise InputError("enough")

    monkeypatch.setattr("flowcli.cli.estimate.open_input", look)
    assert main(["estimate", "x", "-o", str(tmp_path / "x.mp4"), "-m", "dis", "--max-pixels", "12345"]) == 1
    assert seen == [12345]
    assert environment.max_pixels() == LIMIT


@pytest.mark.slow
def test_the_limit_can_be_raised_and_lowered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    write_picture(path, np.zeros((20, 30, 3), np.uint8))
    program = (
        "import sys; from pathlib import Path; from flowcli.pictures import read_picture as r; r(Path(sys.argv[1]))"
    )
    for limit, word in ((599, "picture of more than 599 pixels"), (600, "")):
        given = {"PYTHONPATH": str(ROOT), environment.PIXELS: str(limit)}
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)], env=given, capture_output=True, text=True, check=False
        )
        assert word in done.stderr
        assert (done.returncode == 0) == (not word), done.stderr
    for text in ("many", "-1", "0", "1.5", "9" * 30):
        monkeypatch.setenv(environment.PIXELS, text)
        with pytest.raises(UsageError):
            environment.max_pixels()
