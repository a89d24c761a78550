"""Where carried arrays go: a folder with a file for each frame, or how sure they are as pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import TextIO

import numpy as np

from flowcli.carry.arrayfiles import ArrayFiles, ArrayFolder
from flowcli.carry.naming import Target
from flowcli.carry.outputs import draw_confidence
from flowcli.carry.stream import Carried
from flowcli.carry.tensors import Known
from flowcli.output.opening import Writer, open_frames
from flowcli.output.options import FrameOptions
from flowcli.pipeline import Background, Stage, Stopwatch
from flowcli.types import Sink, StreamInfo


def open_array_target(
    target: Target, info: StreamInfo, options: FrameOptions, stdout: TextIO, files: ArrayFiles
) -> Writer[Carried[Known]]:
    """A sink for carried arrays, in the types that the files of key frames have. info: of the frames.

    Raises OutputError.
    """
    if target.what == "confidence" or target.output.path is None:
        frames = open_frames(target.output, replace(info, alpha=False, bits=8), options, stdout.buffer)
        drawn: Sink[Carried[Known]] = Stage(draw_confidence, frames.thread)
        return Writer(target.output, drawn, frames.watch)
    watch = Stopwatch()
    folder = Background(ArrayFolder(target.output.path, options.overwrite), watch=watch)
    return Writer(target.output, _Known(folder, files), watch)


class _Known:
    """Writes the arrays of frames that something is known of."""

    def __init__(self, sink: Sink[tuple[str, dict[str, np.ndarray]]], files: ArrayFiles) -> None:
        self._sink = sink
        self._files = files

    def write(self, carried: Carried[Known]) -> None:
        if carried.value is not None:
            arrays = {name: each.cpu().numpy() for name, each in carried.value.arrays().items()}
            self._sink.write((carried.frame.stem, {name: self._stored(name, each) for name, each in arrays.items()}))

    def close(self) -> None:
        self._sink.close()

    def abort(self) -> None:
        self._sink.abort()

    def _stored(self, name: str, array: np.ndarray) -> np.ndarray:
        """In the shape and the type that was given; 64 bits are stored in 32."""
        dtype, shape = self._files.kinds[name]
        return array.reshape(shape).astype(np.float32 if dtype == np.float64 else dtype)
