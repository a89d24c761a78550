"""The ffmpeg command that decodes: which stream, which frames, and in which form they come."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import ffmpeg

from flowcli.environment import for_children, max_pixels
from flowcli.video.ffmpeg import every_frame, ffmpeg_path
from flowcli.video.formats import SELF_CONTAINED
from flowcli.video.selection import Selection
from flowcli.video.streams import Hdr

PIPE = "pipe:0"
WHITE = 203
"""Candelas per square metre that white paper has in HDR. Source: ITU-R BT.2408, table 1."""


@dataclass(frozen=True)
class Pixels:
    """The form in which ffmpeg delivers pictures: (H, W, 3) arrays."""

    codec: str
    formats: str
    """ffmpeg's names, of which it takes the one that loses least and is smallest."""
    dtypes: Mapping[bytes, str]
    """By the third line of each picture's header."""


RGB24 = Pixels("ppm", "rgb24", {b"255\n": "u1"})
RGB48 = Pixels("ppm", "rgb48be", {b"65535\n": ">u2"})
DEEP = Pixels("ppm", "rgb24|rgb48be", {**RGB24.dtypes, **RGB48.dtypes})
"""16 bits for a video of more than 8, otherwise 8."""
FLOATS = Pixels("pfm", "gbrpf32le", {b"-1.000000\n": "<f4"})


@dataclass(frozen=True)
class Reading:
    """How a video is read. stream: by its number in the file, None for the first real one."""

    selection: Selection = field(default_factory=Selection)
    pixels: Pixels = RGB24
    deinterlace: bool = False
    stream: int | None = None
    hdr: Hdr | None = None
    """The colours to map to those of BT.709."""


def decoder(url: str | bytes, reading: Reading) -> Any:
    """The command: PPM or PFM pictures on stdout; on stderr a line for each frame, two if it is selected.

    reinit_filter=0 keeps the filters' frame numbers running when the size changes in mid-stream; `scale` then scales.
    After them the times are renumbered, since the muxer complains of times that repeat. The conversion to RGB is the
    fast one, up to two levels off: flags=accurate_rnd would cost 9 ms per frame of 1920x1080 (measured).
    """
    # Whatever a file says: it opens no other one.
    trust = {
        "format_whitelist": SELF_CONTAINED,
        "protocol_whitelist": "pipe" if url == PIPE else "file",
        "max_pixels": str(max_pixels()),
    }
    source = ffmpeg.input(url, reinit_filter=0, **trust)
    chain = [
        # The filter takes no frames of other sizes.
        *(("scale", "bwdif=mode=send_frame") if reading.deinterlace else ()),
        "showinfo@all=checksum=0",
        f"select='{reading.selection.expression()}'",
        "showinfo@kept=checksum=0",
        "scale",
        *(_tone_mapping(reading.hdr, "gbrp" if reading.pixels == RGB24 else "gbrp16") if reading.hdr else ()),
        f"format={reading.pixels.formats}",
        "settb=1/25",
        "setpts=N",
    ]
    picture = {"c:v": reading.pixels.codec, "f": "image2pipe"}
    timing = {"enc_time_base": "1/25", **every_frame()}
    stream = source["V:0" if reading.stream is None else str(reading.stream)]
    return ffmpeg.output(stream, "pipe:1", vf=",".join(chain), **picture, **timing)


@cache
def can_map_tones() -> bool:
    """Whether ffmpeg has the filters for it."""
    done = subprocess.run(
        [ffmpeg_path(), "-hide_banner", "-filters"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env=for_children(),
    )
    return {b"zscale", b"tonemap"} <= set(done.stdout.split())


def _tone_mapping(hdr: Hdr, pixels: str) -> tuple[str, ...]:
    """Filters from HDR to BT.709: up to white nearly as it is, and what is brighter ever less so.

    pixels: ffmpeg's name of the format that comes out.
    """
    missing = {"colorspace": "bt2020nc"} if hdr.matrix == "unknown" else {}
    missing |= {"color_primaries": "bt2020"} if hdr.primaries == "unknown" else {}
    said = ":".join(f"{name}={value}" for name, value in missing.items())
    return (
        *((f"setparams={said}",) if said else ()),
        f"zscale=transfer=linear:npl={WHITE}",
        "format=gbrpf32le",
        "zscale=primaries=bt709",
        "tonemap=mobius:desat=0",
        "zscale=transfer=bt709",
        f"format={pixels}",
    )
