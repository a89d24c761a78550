"""Pictures painted over key frames: which they are, and where they go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import numpy as np

from flowcli.carry.frames import by_number, find_for
from flowcli.carry.naming import Target
from flowcli.carry.outputs import draw_confidence
from flowcli.carry.sheets import Laid, over, straight
from flowcli.carry.stream import Carried
from flowcli.errors import InputError
from flowcli.output.opening import Writer, open_frames
from flowcli.output.options import FrameOptions
from flowcli.pictures import read_unscaled
from flowcli.pipeline import Stage
from flowcli.types import Frame, Sink, StreamInfo


@dataclass(frozen=True, eq=False)
class Paintings:
    """Pictures by the names, or the numbers, of their frames; "" for the first one."""

    named: dict[str, Path]

    def find(self, frame: Frame, first: bool) -> str | None:
        """The name under which a frame has a picture; first: whether it is the first one."""
        names = {name: name for name in self.named}
        return find_for(frame, names, by_number(names)) or ("" if first and "" in self.named else None)


def find_paintings(words: Sequence[str], height: int, width: int, source: str) -> Paintings:
    """The pictures that `words` name, FRAME=FILE each, or FILE for the first frame.

    height, width: of the frames of `source`. Raises InputError for pictures that cannot be read, or have another size,
    and for two of one frame.
    """
    named: dict[str, Path] = {}
    for word in words:
        name, mark, file = word.partition("=")
        frame, path = (name, Path(file)) if mark else ("", Path(name))
        frame = str(int(frame)) if frame.isdecimal() else frame
        if frame in named:
            which = f"frame {frame}" if frame else "the first frame"
            raise InputError(f"two pictures for {which}: {named[frame]} and {path}", "leave one out")
        size = read_painting(path).shape[:2]
        if size != (height, width):
            raise InputError(
                f"{path} is {size[1]}x{size[0]}, but frames of {source} are {width}x{height}", "make them the same size"
            )
        named[frame] = path
    return Paintings(named)


def read_painting(path: Path) -> np.ndarray:
    """(H, W, 3) RGB or (H, W, 4) RGBA, uint8; grey is made RGB, and 16 bits are rounded. Raises InputError."""
    image = read_unscaled(path)
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise InputError(f"a picture of {image.dtype} values: {path}", "convert it to 8 or 16 bits, as PNG")
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    return image


def open_painting_target(
    target: Target, info: StreamInfo, options: FrameOptions, stdout: TextIO
) -> Writer[Carried[Laid]]:
    """A sink for painted pictures that are carried. info: of the frames. Raises OutputError."""
    alone = target.what == "layer"
    frames = open_frames(target.output, replace(info, alpha=alone, bits=8), options, stdout.buffer)
    make = {"layer": _layer, "confidence": draw_confidence}.get(target.what, _composite)
    drawn: Sink[Carried[Laid]] = Stage(make, frames.thread)
    return Writer(target.output, drawn, frames.watch)


def _composite(carried: Carried[Laid]) -> Frame:
    if carried.value is None:
        return carried.frame
    given = carried.value.sheets[0].painted.given
    if carried.key and given.shape[2] == 3:
        return replace(carried.frame, image=given)
    return replace(carried.frame, image=over(carried.frame.image, carried.value.layer()))


def _layer(carried: Carried[Laid]) -> Frame:
    height, width = carried.frame.image.shape[:2]
    if carried.value is None:
        return replace(carried.frame, image=np.zeros((height, width, 4), np.uint8))
    given = carried.value.sheets[0].painted.given
    if carried.key and given.shape[2] == 4:
        return replace(carried.frame, image=given)
    return replace(carried.frame, image=straight(carried.value.layer()))
