"""Clips made and read by ffmpeg itself: the oracle beside flowcli.video."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np

from flowcli.video import ffmpeg_path
from flowcli.video.selection import Selection

SIZE = (48, 64)
"""Height and width of the small clips."""


def ffmpeg(*arguments: object, data: bytes | None = None) -> bytes:
    """What ffmpeg writes to its stdout, given `data` on its stdin."""
    command = [str(ffmpeg_path()), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=data or b"", stdout=subprocess.PIPE, check=True, timeout=60).stdout


def lavfi(path: Path, source: str, *options: object) -> Path:
    """Writes a file with the output of one of ffmpeg's test sources."""
    ffmpeg("-f", "lavfi", "-i", source, *options, f"file:{path}")
    return path


def numbered(count: int, height: int = SIZE[0], width: int = SIZE[1]) -> np.ndarray:
    """(N, H, W, 3) uint8: the nth picture is grey with `brightness(n)` plus a small pattern."""
    ramp = np.arange(height * width).reshape(height, width, 1) % 7
    return np.stack([np.broadcast_to(brightness(n) + ramp, (height, width, 3)) for n in range(count)]).astype(np.uint8)


def brightness(number: int) -> int:
    return 16 + 9 * (number % 25)


def number(image: np.ndarray) -> int:
    """The number of a picture, for the first 25 of the numbered ones."""
    return round((float(image.mean()) - 16 - 3) / 9)


def write(path: Path, frames: np.ndarray, *options: object, rate: object = 10) -> Path:
    """Writes `frames` to a file, lossless unless `options` say otherwise."""
    _, height, width, channels = frames.shape
    pixels = "rgba" if channels == 4 else "rgb24"
    raw = ("-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{width}x{height}", "-r", rate, "-i", "-")
    ffmpeg(*raw, *(options or ("-c:v", "png")), f"file:{path}", data=frames.tobytes())
    return path


def vfr(path: Path, frames: np.ndarray, times: list[Fraction], *options: object, rate: object = 10) -> Path:
    """Writes `frames` at the given times, which are whole milliseconds."""
    pieces = "+".join(f"eq(N,{n})*{int(time * 1000)}" for n, time in enumerate(times))
    timing = ("-vf", f"settb=1/1000,setpts='{pieces}'", "-fps_mode", "passthrough", "-enc_time_base", "1/1000")
    return write(path, frames, *timing, *(options or ("-c:v", "png")), rate=rate)


def times(path: Path) -> list[Fraction]:
    """Presentation times of the frames according to ffmpeg, in the time base of the file."""
    timing = ("-map", "0:V:0", "-fps_mode", "passthrough", "-enc_time_base", "demux")
    lines = ffmpeg("-i", f"file:{path}", *timing, "-f", "framemd5", "-").decode().splitlines()
    clock = next(Fraction(line.split(": ")[1]) for line in lines if line.startswith("#tb 0"))
    return [int(line.split(",")[2]) * clock for line in lines if not line.startswith("#")]


def wanted(selection: Selection, times: list[Fraction]) -> list[int]:
    """Indices of the selected frames, found frame by frame: from `start`, before the first at `stop`, every nth,
    or the first of each instant."""
    kept = []
    for index, time in enumerate(times):
        start, stop = selection.start, selection.stop
        if stop is not None and (time if isinstance(stop, Fraction) else index) >= stop:
            break
        if start is None or (time if isinstance(start, Fraction) else index) >= start:
            kept.append(index)
    if selection.rate is None:
        return kept[:: selection.every]
    # In quarters of a period, since a frame may come one of them too early.
    instants = [(4 * times[index] * selection.rate + 1) // 4 for index in kept]
    return [index for place, index in enumerate(kept) if not place or instants[place] != instants[place - 1]]


def durations(path: Path) -> list[Fraction]:
    """Durations of the packets, in the time base of the file."""
    lines = ffmpeg("-i", f"file:{path}", "-map", "0:V:0", "-c", "copy", "-f", "framemd5", "-").decode().splitlines()
    clock = next(Fraction(line.split(": ")[1]) for line in lines if line.startswith("#tb 0"))
    return [int(line.split(",")[3]) * clock for line in lines if not line.startswith("#")]


def planes(path: Path, pixels: str, dtype: str, *shapes: tuple[int, int]) -> list[list[np.ndarray]]:
    """The planes of each frame as ffmpeg decodes them, for a file with the pixel format `pixels`."""
    output = ("-map", "0:V:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixels, "-")
    raw = np.frombuffer(ffmpeg("-i", f"file:{path}", *output), dtype)
    ends = np.cumsum([height * width for height, width in shapes])
    frames = raw.reshape(-1, int(ends[-1]))
    return [
        [part.reshape(shape) for part, shape in zip(np.split(frame, ends[:-1]), shapes, strict=True)]
        for frame in frames
    ]


def rgb(path: Path, height: int, width: int, pixels: str = "rgb24", rotate: bool = True) -> np.ndarray:
    """(N, H, W, C): the frames as ffmpeg converts them to RGB."""
    output = ("-map", "0:V:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixels, "-")
    raw = ffmpeg(*(() if rotate else ("-noautorotate",)), "-i", f"file:{path}", *output)
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 4 if pixels == "rgba" else 3)


def yuv_to_rgb(y: np.ndarray, u: np.ndarray, v: np.ndarray, matrix: str, full: bool, bits: int = 8) -> np.ndarray:
    """(H, W, 3) float in 0...255. Source: ITU-T H.273, equations for Kr and Kb, full and limited range."""
    kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    unit = 2.0 ** (bits - 8)
    black, luma, chroma = (0, 255, 255) if full else (16, 219, 224)
    height, width = y.shape
    y = (y - black * unit) / (luma * unit)
    u, v = (_upsampled((each - 128 * unit) / (chroma * unit), height, width) for each in (u, v))
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.asarray(255 * np.clip(np.stack([red, green, blue], -1), 0, 1))


def _upsampled(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = -(-height // plane.shape[0]), -(-width // plane.shape[1])
    return plane.repeat(rows, 0).repeat(columns, 1)[:height, :width]


def banner(path: Path) -> str:
    """What ffmpeg prints about a file."""
    done = subprocess.run([ffmpeg_path(), "-hide_banner", "-i", f"file:{path}"], capture_output=True, check=False)
    return done.stderr.decode()


def comment(path: Path) -> str | None:
    """The file's `comment` tag."""
    match = re.search(r"^ *comment *: (.*)$", banner(path), re.MULTILINE | re.IGNORECASE)
    return match and match[1]
