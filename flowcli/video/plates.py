"""Frames of film and rendering, OpenEXR and DPX, as pictures for a screen."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import ffmpeg
import numpy as np

from flowcli.environment import max_pixels
from flowcli.errors import InputError
from flowcli.openexr import Channels, open_channels
from flowcli.pictures import in_bytes
from flowcli.video.decoding import DEEP
from flowcli.video.ffmpeg import Child, file_url


def read_plate(path: Path, on_damage: Callable[[Path, str], None], *, deep: bool = False) -> np.ndarray:
    """The picture as (H, W, 3) uint8 RGB, or with `deep` uint16 if the file has more than 8 bits; alpha is dropped.

    An .exr is taken for linear light, and goes through `on_screen`; it is the whole display window, black where there
    are no pixels. Of several layers the one without a name is taken, else Blender's Combined, else the first. A .dpx
    has the values that are stored: film densities stay logarithmic. on_damage: called if it is damaged but gives a
    picture. Raises InputError.
    """
    if path.suffix.lower() == ".dpx":
        return _read_dpx(path, on_damage, deep)
    with open_channels(path) as file:
        shown = on_screen(_linear(file))
    image: np.ndarray = np.rint(shown * (65535 if deep else 255))
    return image.astype(np.uint16 if deep else np.uint8)


def on_screen(linear: np.ndarray) -> np.ndarray:
    """Linear light of any shape as values for a screen, 0 to 1: cut off below 0 and above 1, then the curve of sRGB.

    Unknown is black. The primaries are left as they are. Source: IEC 61966-2-1.
    """
    light = np.clip(np.nan_to_num(linear, posinf=1), 0, 1)
    shown: np.ndarray = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return shown


def _linear(file: Channels) -> np.ndarray:
    """(H, W, 3) float32."""
    if file.said:
        raise InputError(f"flow, not a picture: {file.path}", "flowcli convert reads it")
    for names in (("R", "G", "B"), ("r", "g", "b"), ("Y", "Y", "Y")):
        if file.holds(names):
            return np.ascontiguousarray(file.planes(names).transpose(1, 2, 0))
    raise InputError(
        f"no red, green and blue in {file.path}: it has {' '.join(file.names)}",
        "give the picture; flowcli convert reads motion",
    )


def _read_dpx(path: Path, on_damage: Callable[[Path, str], None], deep: bool) -> np.ndarray:
    trust = {"format_whitelist": "dpx_pipe", "protocol_whitelist": "file", "max_pixels": str(max_pixels())}
    picture = {"c:v": DEEP.codec, "f": "image2pipe", "vf": f"scale,format={DEEP.formats}"}
    command = ffmpeg.output(ffmpeg.input(file_url(path), f="dpx_pipe", **trust)["V:0"], "pipe:1", vframes=1, **picture)
    errors: list[str] = []

    def note(_: str, level: str, text: str) -> None:
        if level in ("error", "fatal"):
            errors.append(text)

    child = Child(command, subprocess.DEVNULL, subprocess.PIPE, note)
    try:
        stdout = child.process.stdout
        assert stdout is not None
        header = [stdout.readline() for _ in range(3)]
        data = stdout.read()
        child.wait()
    finally:
        child.stop()
    dtype = DEEP.dtypes.get(header[2])
    if dtype is None:
        raise InputError(f"not a picture, or a damaged one: {path}: {child.cause()}", "get the file again")
    width, height = map(int, header[1].split())
    if errors:
        on_damage(path, errors[0])
    image = np.frombuffer(data, dtype).reshape(height, width, 3)
    image = image.astype(image.dtype.newbyteorder("="))
    # Rounded here: ffmpeg's own way to 8 bits is up to two levels off.
    return image if deep else in_bytes(image)
