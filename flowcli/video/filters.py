"""Filters of ffmpeg that make frames."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from tempfile import TemporaryFile

import ffmpeg
import numpy as np

from flowcli.errors import FfmpegError
from flowcli.video.ffmpeg import Child, every_frame


def minterpolate(images: Sequence[np.ndarray], factor: int) -> list[np.ndarray]:
    """The `factor` - 1 pictures between the middle two of four, by ffmpeg's minterpolate as it is by default.

    But for its search for cuts, which would find some between frames far apart: there are none here.
    images: (H, W, 3) uint8 RGB, evenly in time. Raises FfmpegError.
    """
    height, width = images[0].shape[:2]
    source = ffmpeg.input("pipe:0", f="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", r=1)
    made = source.filter("minterpolate", fps=factor, scd="none").filter("select", "gt(t,1)*lt(t,2)")
    # A file, since a pipe would fill while this program writes and none reads what comes out.
    with TemporaryFile() as file:
        for image in images:
            file.write(np.ascontiguousarray(image).data)
        file.seek(0)
        child = Child(made.output("pipe:1", f="rawvideo", pix_fmt="rgb24", **every_frame()), file, subprocess.PIPE)
        assert child.process.stdout is not None
        pixels = child.process.stdout.read()
        if child.wait():
            raise FfmpegError(f"minterpolate failed: {child.cause()}", "leave it out")
    return list(np.frombuffer(bytearray(pixels), np.uint8).reshape(-1, height, width, 3))
