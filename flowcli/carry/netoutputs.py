"""Where a network's outputs for every frame go: as masks do, as pictures, or as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
import torch

from flowcli.carry.arrayfiles import ArrayFolder
from flowcli.carry.forms import Form
from flowcli.carry.naming import ARRAYS, Target
from flowcli.carry.outputs import open_target
from flowcli.carry.stream import Carried
from flowcli.errors import UsageError
from flowcli.nets.convention import Convention
from flowcli.nets.outputs import Meaning, Outputs
from flowcli.output.opening import Writer, open_frames
from flowcli.output.options import FrameOptions
from flowcli.pipeline import Background, Stage, Stopwatch
from flowcli.types import Frame, Sink, StreamInfo

_GREYS = 256
"""Classes that a PNG file of 8 bits has numbers for."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame with what a network says of it: its outputs, and the same for each pixel, as `Outputs.shown` gives it."""

    carried: Carried[Outputs]
    outputs: Outputs
    pixels: torch.Tensor


def show(frames: Iterable[Carried[Outputs]], convention: Convention) -> Iterator[Shown]:
    """Each frame with what its outputs say of each pixel."""
    for each in frames:
        if each.value is not None:
            yield Shown(each, each.value, each.value.shown(convention, *each.frame.image.shape[:2]))


def open_net_target(
    target: Target, info: StreamInfo, options: FrameOptions, stdout: BinaryIO, meaning: Meaning, classes: int
) -> Writer[Shown]:
    """A sink for what a network says of frames. info: of the frames; classes: how many there are, at most.

    Raises UsageError for a kind of output that such a network does not have, OutputError.
    """
    output = target.output
    if meaning == "tensors" or (meaning == "picture" and output.format == ARRAYS):
        if output.format != ARRAYS or output.path is None:
            raise UsageError(f"the network gives {meaning}, which {output} cannot hold", "use --out folder/ --as npz")
        watch = Stopwatch()
        arrays: Sink[Shown] = Stage(_arrays, ArrayFolder(output.path, options.overwrite))
        return Writer(output, Background(arrays, watch=watch), watch)
    if meaning == "picture" and target.what != "confidence":
        if target.what != "masks":
            raise UsageError(f"the network gives a picture: --as {target.what} needs masks", "leave --as out")
        pictures = open_frames(output, replace(info, alpha=False, bits=8), options, stdout)
        drawn: Sink[Shown] = Stage(_picture, pictures.thread)
        return Writer(output, drawn, pictures.watch)
    form = Form("L" if classes <= _GREYS else "I;16")
    masks = open_target(target, info, options, stdout, form, "soft" if meaning == "probability" else "labels")
    stage: Sink[Shown] = Stage(_mask, masks.thread)
    return Writer(output, stage, masks.watch)


def _mask(shown: Shown) -> Carried[torch.Tensor]:
    carried = shown.carried
    return Carried(carried.frame, shown.pixels, carried.confidence, carried.key)


def _picture(shown: Shown) -> Frame:
    image = shown.pixels.mul(255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
    return replace(shown.carried.frame, image=image)


def _arrays(shown: Shown) -> tuple[str, dict[str, np.ndarray]]:
    tensors = enumerate(shown.outputs.tensors)
    return shown.carried.frame.stem, {f"output{number}": each.cpu().numpy() for number, each in tensors}
