"""Where flow goes as files: one file, a folder of them, or one array for all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from flowcli.atomic import Part, write_error
from flowcli.errors import OutputError
from flowcli.flowfile import tsn
from flowcli.flowfile.base import Flow
from flowcli.flowfile.exr import Motion, write_motion
from flowcli.flowfile.formats import FORMATS
from flowcli.packing import to_i3d
from flowcli.types import FlowPair, Frame, Layout, Sink


def open_flow_sink(
    target: Path,
    *,
    folder: bool,
    suffix: str = ".flo",
    tag: str = "",
    overwrite: bool = False,
    bound: float | None = None,
) -> Sink[FlowPair]:
    """Writes forward flows: one to the file `target`, or each to `target`/<name of the earlier frame><tag><suffix>.

    suffix: in a folder; files of .jpg are called flow_x_00001.jpg, flow_y_00001.jpg and so on. bound: for them, in
    pixels, 20 if None. Nothing appears under the final names before `close`. Raises OutputError if the target is taken
    or cannot be made.
    """
    suffix = suffix if folder else target.suffix.lower()
    write = FORMATS[suffix].bind(bound).write
    return _FlowSink(_Files(Part(target, overwrite, folder)), suffix, tag, write)


def open_exr_sink(
    target: Path, *, folder: bool, layout: Layout = "nuke", tag: str = "", overwrite: bool = False
) -> Sink[FlowPair]:
    """Writes motion vectors: one .exr for each frame that any flow lives on, called like that frame.

    With backward flow in the pairs, the files in a folder hold both ways from their frame; an STMap, and a single file,
    holds the forward flow of its pair. Otherwise as `open_flow_sink`.
    """
    return _ExrSink(_Files(Part(target, overwrite, folder)), layout, tag)


def open_stack_sink(target: Path, *, overwrite: bool = False, bound: float | None = None) -> Sink[FlowPair]:
    """Writes all forward flows to one .npy: (N, 2, H, W) float32, NaN where unknown.

    bound: writes (N, H, W, 2) for I3D instead, clipped there and scaled to -1...1, rest where unknown.
    Raises OutputError, also for flows of unlike size.
    """
    return _StackSink(Part(target, overwrite), bound)


class _Files:
    """One file or a folder of them, which appear when it is closed."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self.folder = part.folder

    def store(self, name: str, write: Callable[[Path], None]) -> None:
        """Has `write` make the file; name: in a folder."""
        path = self._part.path / name if self.folder else self._part.path
        target = self._part.target
        if path.exists():
            if self.folder:
                raise OutputError(f"two frames have the same name: {name} in {target}", "rename one of them")
            raise OutputError(f"{target} holds one flow, but there are more", "give a folder instead")
        try:
            write(path)
        except OSError as error:
            raise write_error(target, error) from error

    def close(self) -> None:
        if not self._part.path.exists():
            raise OutputError(f"no flow for {self._part.target}: there is only one frame", "flow needs two frames")
        self._part.publish()

    def abort(self) -> None:
        self._part.discard()


class _FlowSink:
    def __init__(self, files: _Files, suffix: str, tag: str, write: Callable[..., None]) -> None:
        self._files = files
        self._suffix = suffix
        self._tag = tag
        self._write = write
        self._count = 0

    def write(self, pair: FlowPair) -> None:
        self._count += 1
        name = f"{pair.at.stem}{self._tag}{self._suffix}"
        if self._suffix == ".jpg":
            name = tsn.name(self._count, self._tag)
        uv = pair.forward.numpy()
        self._files.store(name, lambda path: self._write(path, uv))

    def close(self) -> None:
        self._files.close()

    def abort(self) -> None:
        self._files.abort()


class _ExrSink:
    def __init__(self, files: _Files, layout: Layout, tag: str) -> None:
        self._files = files
        self._layout = layout
        self._tag = tag
        self._both = files.folder and layout != "stmap"
        self._held: tuple[Frame, Flow] | None = None
        """The backward flow of the pair before, and the frame it lives on, whose forward flow is to come."""
        self._last: Frame | None = None

    def write(self, pair: FlowPair) -> None:
        frame, flow = pair.first, (pair.forward.numpy(), None)
        if pair.backward is None or not self._both:
            if pair.second.index < frame.index:
                self._store(frame, Motion(None, flow))
            # The last frame paired with itself has its file already, if the flow leads back.
            elif self._last is None or self._last.index != frame.index:
                self._store(frame, Motion(flow, None))
            return
        backward = None
        if self._held is not None and self._held[0].index == frame.index:
            backward = self._held[1]
        else:
            self._flush()
        self._held = None
        self._store(frame, Motion(flow, backward))
        if pair.second.index != frame.index:
            self._held = (pair.second, (pair.backward.numpy(), None))

    def close(self) -> None:
        self._flush()
        self._files.close()

    def abort(self) -> None:
        self._files.abort()

    def _flush(self) -> None:
        if self._held is not None:
            frame, flow = self._held
            self._store(frame, Motion(None, flow))
        self._held = None

    def _store(self, frame: Frame, motion: Motion) -> None:
        self._last = frame
        self._files.store(f"{frame.stem}{self._tag}.exr", lambda path: write_motion(path, motion, self._layout))


class _StackSink:
    def __init__(self, part: Part, bound: float | None) -> None:
        self._part = part
        self._bound = bound
        self._count = 0
        self._shape: tuple[int, ...] = ()
        try:
            self._file: BinaryIO = part.path.open("xb")
        except OSError as error:
            part.discard()
            raise write_error(part.target, error) from error

    def write(self, pair: FlowPair) -> None:
        uv = pair.forward.numpy()
        flow = uv if self._bound is None else to_i3d(uv, self._bound).transpose(1, 2, 0)
        flow = flow.astype("<f4", order="C")
        if self._count and flow.shape != self._shape:
            raise OutputError(f"flows of unlike size for {self._part.target}", "give a folder instead")
        self._shape = flow.shape
        try:
            if not self._count:
                self._write_header()
            self._file.write(flow.data)
        except OSError as error:
            raise write_error(self._part.target, error) from error
        self._count += 1

    def close(self) -> None:
        if not self._count:
            raise OutputError(f"no flow for {self._part.target}: there is only one frame", "flow needs two frames")
        try:
            self._write_header()
            self._file.close()
        except OSError as error:
            raise write_error(self._part.target, error) from error
        self._part.publish()

    def abort(self) -> None:
        # What is left to be written may not fit on the disk either.
        with suppress(OSError):
            self._file.close()
        self._part.discard()

    def _write_header(self) -> None:
        """Writes the header for the flows written so far; NumPy leaves room in it for the first number to grow."""
        self._file.seek(0)
        header = {"descr": "<f4", "fortran_order": False, "shape": (self._count, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, header)
