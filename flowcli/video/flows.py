"""Videos that hold the flow itself: float32 in NUT, for pipes, and 16 bits in lossless Matroska."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from flowcli.atomic import Part
from flowcli.errors import InputError, OutputError
from flowcli.packing import KITTI_BOUND, from_uint16, to_uint16
from flowcli.pipeline import Stage
from flowcli.types import Closes, FlowPair, Frame, Sink, StreamInfo
from flowcli.video import nut
from flowcli.video.decoding import FLOATS, RGB48, Reading
from flowcli.video.encoder import REPEATABLE, TICK, Encoding, VideoSink
from flowcli.video.sources import VideoSource, open_video

_NO_ROOM = 0.01
"""Seconds before a full pipe is tried again."""
_FLOATS = "gbrpf32le"
_WHOLE = "gbrp16le"
_FFV1 = {"c:v": "ffv1", "level": "3", "g": "1", "slicecrc": "1", "pix_fmt": _WHOLE}
_COMMENT = "flow: R = 32768 + u * {0}, G = 32768 + v * {0}, B = 1 where known"
_STEPS = re.compile(r"flow: R = 32768 \+ u \* (\d+(?:\.\d+)?(?:e[-+]?\d+)?),")


def open_nut_sink(stream: BinaryIO, info: StreamInfo) -> Sink[FlowPair]:
    """A sink that writes forward flow as a NUT stream of gbrpf32le pictures: G = u, B = v, R = 1 where known, else 0.

    Unknown flow is written as 0. The pictures have the source's own times. Raises OutputError, and BrokenPipeError when
    the reader goes away.
    """
    return _NutSink(stream, info)


def open_flow_video_sink(
    path: Path,
    info: StreamInfo,
    *,
    bound: float | None = None,
    fps: Fraction | None = None,
    overwrite: bool = False,
) -> Sink[FlowPair]:
    """A sink that writes forward flow to a .mkv: 16-bit FFV1, which loses nothing, R = u, G = v, B = 1 where known.

    u and v are rounded to steps of `bound` / 32768 pixels and clamped to plus or minus `bound`; with the default, 512
    pixels, the error is at most 1/128 pixel. The `comment` tag says how to decode them. Times are kept as by
    `open_video_sink`. Raises OutputError.
    """
    bound = bound or KITTI_BOUND
    tag = {"metadata": f"comment={_COMMENT.format(f'{32768 / bound:.10g}')}"}
    encoding = Encoding("matroska", _FFV1 | tag, muxer_options=REPEATABLE)
    sink = VideoSink(Part(path, overwrite), encoding, replace(info, alpha=False, bits=16), fps)
    return Stage(partial(_packed, bound=bound), sink)


@dataclass(frozen=True, eq=False)
class StoredFlow:
    """The flow in one picture of a video. uv: (2, H, W) float32, 0 where unknown; valid: (H, W) bool; time: seconds."""

    uv: np.ndarray
    valid: np.ndarray
    time: Fraction


class FlowVideo(Closes):
    """The flows in a .mkv from `open_flow_video_sink`, or in NUT from `open_nut_sink`: a .nut file, or ("-") stdin.

    Raises InputError for other videos. A context manager: leaving it ends its ffmpeg.
    """

    def __init__(self, source: str) -> None:
        floats = source == "-" or Path(source).suffix.lower() == ".nut"
        self._bound: float | None = None
        self._frames: VideoSource = open_video(source, Reading(pixels=FLOATS if floats else RGB48))
        self.info = self._frames.info
        try:
            match = _STEPS.match(self._frames.comment)
            steps = 0.0 if match is None else float(match[1])
            stored = self._frames.stored
            if stored == _WHOLE and steps and floats:
                raise InputError("16-bit flow on standard input", "name the file, or pipe what --as flow writes")
            if stored != (_FLOATS if floats else _WHOLE) or not (steps or floats):
                hint = "flow comes as .mkv from --as flow, or raw in NUT; flowcli estimate finds that of other videos"
                raise InputError(f"a video, but not of flow: {source}", hint)
            if not floats:
                self._bound = 32768 / steps
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[StoredFlow]:
        for frame in self._frames:
            image = frame.image
            if self._bound is not None:
                uv, valid = from_uint16(image, self._bound)
            else:
                uv = np.ascontiguousarray(image[..., 1:].transpose(2, 0, 1), np.float32)
                valid = (image[..., 0] > 0) & np.isfinite(uv).all(axis=0)
            uv[:, ~valid] = 0
            yield StoredFlow(uv, valid, frame.time)

    def close(self) -> None:
        self._frames.close()


def _packed(pair: FlowPair, bound: float) -> Frame:
    """The forward flow as a 16-bit picture."""
    frame = pair.at
    image = to_uint16(pair.forward.numpy(), bound).astype("<u2", copy=False)
    return Frame(image, frame.index, frame.time, frame.name)


class _NutSink:
    def __init__(self, stream: BinaryIO, info: StreamInfo) -> None:
        stream.flush()
        # Not through the stream's buffer: what is left in it after an error would be written again at exit.
        self._stream: IO[bytes] = getattr(stream, "raw", stream)
        self._size = (info.height, info.width)
        self._muxer = nut.Muxer(nut.GBRPF32LE, info.height, info.width, info.rate, TICK, info.aspect)
        self._last = -1
        self._write(self._muxer.header)

    def write(self, item: FlowPair) -> None:
        flow = item.forward
        if flow.uv.shape != (2, *self._size):
            raise ValueError(f"flow is {tuple(flow.uv.shape)}, the stream {self._size}")
        planes = np.ones((3, *self._size), "<f4")
        planes[:2] = flow.numpy()
        planes[:, np.isnan(planes[0])] = 0
        self._last = max(round(item.at.time / TICK), self._last + 1)
        self._write(self._muxer.frame(self._last, planes.nbytes))
        self._write(planes.data.cast("B"))

    def close(self) -> None:
        """All is written already."""

    def abort(self) -> None:
        """What is on the pipe stays there."""

    def _write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        try:
            while rest:
                # None: a pipe that does not block has no room.
                written = self._stream.write(rest)
                if written is None:
                    time.sleep(_NO_ROOM)
                rest = rest[written or 0 :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write nut: {error.strerror}", "check where standard output goes") from error
