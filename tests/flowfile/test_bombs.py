"""Small files that promise large flows: refused at once, in little memory."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import OpenEXR
import pytest

from flowcli.environment import max_pixels
from flowcli.flowfile import FORMATS, write_flow

HEIGHT, WIDTH = 30_000, 40_000
MEGABYTES = 64
"""What refusing one may take; a flow of that size would take 9600."""

_PROBE = """
import json, resource, sys, time
from flowcli.errors import InputError
from flowcli.flowfile import read_flow, write_flow
import numpy as np
good, bad = sys.argv[1:]
read_flow(good)
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
try:
    read_flow(bad)
    message = "it was read"
except InputError as error:
    message = error.message
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([message, (after - before) // 1024, time.monotonic() - began]))
"""


def flo(path: Path) -> None:
    path.write_bytes(struct.pack("<4sii", b"PIEH", WIDTH, HEIGHT))


def png(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", WIDTH, HEIGHT)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


def png_chunk(path: Path) -> None:
    """The second chunk says that it has 4 GB."""
    data = bytearray(path.read_bytes())
    data[33:37] = struct.pack(">I", 0xFFFFFF00)
    path.write_bytes(data)


def pfm(path: Path) -> None:
    path.write_bytes(b"PF\n%d %d\n-1.0\n" % (WIDTH, HEIGHT) + bytes(1200))


def flo5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("flow", (HEIGHT, WIDTH, 2), "<f4", chunks=(1000, 1000, 2), compression="gzip")


def flo5_chunk(path: Path) -> None:
    with h5py.File(path, "w") as file:
        shape = (5, 7, 2)
        flow = file.create_dataset("flow", shape, "<f4", chunks=(HEIGHT, 10_000, 2), maxshape=(None, None, 2))
        flow.id.write_direct_chunk((0, 0, 0), bytes(10))


def npy(path: Path) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (2, {HEIGHT}, {WIDTH}), }}\n".encode()
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(1000))


def npz(path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        npy(path)
        archive.writestr("flow.npy", path.read_bytes())
    data = bytearray(buffer.getvalue())
    place = data.index(b"PK\1\2")
    data[place + 24 : place + 28] = struct.pack("<I", 0xFFFFFF00)
    path.write_bytes(data)


def exr(path: Path) -> None:
    data = path.read_bytes()
    window = struct.pack("<4i", 0, 0, 6, 4)
    assert data.count(window) == 2
    path.write_bytes(data.replace(window, struct.pack("<4i", 0, 0, WIDTH - 1, HEIGHT - 1)))


def exr_display(path: Path) -> None:
    """A small data window in a large picture."""
    plane = np.zeros((5, 7), np.float32)
    header = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIPS_COMPRESSION}
    corners = np.array([0, 0], np.int32), np.array([WIDTH - 1, HEIGHT - 1], np.int32)
    header |= {"displayWindow": corners, "dataWindow": (corners[0], np.array([6, 4], np.int32))}
    OpenEXR.File(header, {"forward.u": plane, "forward.v": plane}).write(str(path))


def jpg(path: Path) -> None:
    data = bytearray(path.read_bytes())
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", HEIGHT, WIDTH)
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    "bomb",
    [flo, png, png_chunk, pfm, flo5, flo5_chunk, npy, npz, exr, exr_display, jpg],
    ids=lambda bomb: bomb.__name__,
)
def test_a_small_file_that_promises_a_large_flow_is_refused(tmp_path: Path, bomb: Callable[[Path], None]) -> None:
    suffix = f".{bomb.__name__.split('_')[0]}"
    good, bad = (tmp_path / f"flow_x_{name}{suffix}" for name in ("good", "bad"))
    for path in (good, bad):
        write_flow(path, np.ones((2, 5, 7), np.float32))
    bomb(bad)
    assert bad.stat().st_size < 20_000
    command = [sys.executable, "-c", _PROBE, str(good), str(bad)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    message, megabytes, seconds = json.loads(done.stdout)
    # An .exr may be a picture too, and what its header promises is held against the limit of pictures first.
    said = f"picture of more than {max_pixels()} pixels: {bad}" if suffix == ".exr" else f"damaged {suffix} file: {bad}"
    assert message.startswith(said)
    assert megabytes < MEGABYTES
    assert seconds < 10


def test_there_is_one_for_every_format() -> None:
    assert {f".{bomb.__name__}" for bomb in (flo, png, pfm, flo5, npy, npz, exr, jpg)} == set(FORMATS)
