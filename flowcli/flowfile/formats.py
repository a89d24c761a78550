"""The table of flow file formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np

from flowcli.errors import InputError, OutputError
from flowcli.flowfile import arrays, exr, kitti, middlebury, pfm, spring, tsn
from flowcli.flowfile.base import Flow
from flowcli.packing import TSN_BOUND
from flowcli.types import mark_unknown


@dataclass(frozen=True)
class Format:
    """How one kind of flow file is read and written.

    write is called with the path and uv, (2, H, W), which is NaN where unknown.
    """

    read: Callable[..., Flow]
    write: Callable[..., None]
    bounded: bool = False
    """Whether read and write take the `bound`, in pixels, which the file does not state."""

    def bind(self, bound: float | None) -> Format:
        """This format with that bound, None for the default."""
        if not self.bounded or bound is None:
            return self
        return Format(partial(self.read, bound=bound), partial(self.write, bound=bound))


FORMATS = {
    ".flo": Format(middlebury.read, middlebury.write),
    ".png": Format(kitti.read, kitti.write),
    ".pfm": Format(pfm.read, pfm.write),
    ".flo5": Format(spring.read, spring.write),
    ".npy": Format(arrays.read, arrays.write),
    ".npz": Format(arrays.read_archive, arrays.write_archive),
    ".exr": Format(exr.read, exr.write),
    ".jpg": Format(tsn.read, tsn.write, bounded=True),
}
"""The formats by suffix, lower case."""


def read_flow(path: str | PathLike[str], *, bound: float = TSN_BOUND) -> Flow:
    """The flow in the file, whose suffix names the format; from an .exr with both directions, the forward flow.

    bound: for flow_x_*.jpg, beside which flow_y_*.jpg lies: the speed, in pixels, that black and white stand for.
    Raises InputError if the file is missing, damaged or not a flow, FlowcliError if a package for it is missing.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"unknown kind of flow file: {path}", f"flow is read from {' '.join(FORMATS)}")
    return FORMATS[suffix].bind(bound).read(path)


def write_flow(
    path: str | PathLike[str], uv: np.ndarray, valid: np.ndarray | None = None, *, bound: float = TSN_BOUND
) -> None:
    """Writes the flow in the format that the suffix names. uv: (2, H, W) pixels, NaN where unknown; valid: (H, W) bool.

    An .exr gets the channels of Nuke and the forward flow alone. bound: as in `read_flow`.
    Raises OutputError for an unknown suffix, OSError if the file cannot be written, FlowcliError as `read_flow`.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(f"unknown kind of flow file: {path}", f"flow is written to {' '.join(FORMATS)}")
    FORMATS[suffix].bind(bound).write(path, mark_unknown(uv, valid))
