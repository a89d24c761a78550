"""Where carried masks go: folders as the masks came, videos, pictures over the frames, cut-outs and arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from flowcli.carry.forms import Form, write_mask
from flowcli.carry.keys import Content
from flowcli.carry.naming import ARRAYS, Target, What
from flowcli.carry.stream import Carried
from flowcli.draw.labels import cut_out, paint, tint, usual_colours
from flowcli.geometry import resize_image
from flowcli.output.opening import Writer, open_frames
from flowcli.output.options import FrameOptions
from flowcli.pipeline import Background, Stage, Stopwatch
from flowcli.types import Frame, Sink, StreamInfo

if TYPE_CHECKING:
    import torch

    Draw = Callable[[np.ndarray, np.ndarray], np.ndarray]
    """A frame's image, and the numbers (H, W) of its mask -> a picture."""


def open_target(
    target: Target, info: StreamInfo, options: FrameOptions, stdout: BinaryIO, form: Form, content: Content
) -> Writer[Carried[torch.Tensor]]:
    """A sink for carried masks of this form and content. info: of the frames. Raises OutputError."""
    output = target.output
    arrays = output.format == ARRAYS
    stored = target.what == "masks" and output.folder and (arrays or output.format == "png")
    if target.what == "confidence":
        make = draw_confidence
    else:
        make = partial(_drawn, draw=_numbers if stored else _drawing(target.what, form, content))
    if arrays and output.path is not None:
        from flowcli.video import open_picture_sink

        watch = Stopwatch()
        write = partial(_write_arrays, content=content)
        sink = open_picture_sink(output.path, folder=True, suffix=".npz", overwrite=options.overwrite, write=write)
        frames: Writer[Frame] = Writer(output, Background(sink, watch=watch), watch)
    else:
        kind = replace(info, alpha=target.what == "alpha", bits=8)
        frames = open_frames(output, kind, options, stdout, write=partial(write_mask, form=form) if stored else None)
    thread: Sink[Carried[torch.Tensor]] = Stage(make, frames.thread)
    return Writer(output, thread, frames.watch)


def _drawn(carried: Carried[torch.Tensor], draw: Draw) -> Frame:
    """What is drawn of a frame and its mask; where none reached it, the mask is empty."""
    image, value = carried.frame.image, carried.value
    if value is None:
        numbers = np.zeros(image.shape[:2], np.int32)
    elif value.is_floating_point():
        numbers = value[0].mul(255).round().int().cpu().numpy()
    else:
        numbers = value.cpu().numpy()
    return replace(carried.frame, image=draw(image, numbers))


def draw_confidence(carried: Carried[Any]) -> Frame:
    """Grey: white where what is carried is surely right, black where nothing is known."""
    height, width = carried.frame.image.shape[:2]
    if carried.confidence is None:
        return replace(carried.frame, image=np.zeros((height, width), np.uint8))
    full = resize_image(carried.confidence[None, None], height, width)[0, 0]
    return replace(carried.frame, image=full.mul(255).round().byte().cpu().numpy())


def _numbers(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    return values


def _drawing(what: What, form: Form, content: Content) -> Draw:
    if content == "soft":
        soft: dict[What, Draw] = {
            "masks": lambda image, values: values.astype(np.uint8),
            "overlay": lambda image, values: tint(image, values / 255),
            "alpha": lambda image, values: cut_out(image, values.astype(np.uint8)),
        }
        return soft[what]
    if what == "alpha":
        return lambda image, values: cut_out(image, (values != 0).astype(np.uint8) * 255)
    colours = usual_colours(accent=what == "overlay")
    if what == "masks":
        return lambda image, values: _own_colours(colours, form)[values]
    return lambda image, values: paint(image, values, _own_colours(colours, form))


def _own_colours(usual: np.ndarray, form: Form) -> np.ndarray:
    """The usual colours, but those of the masks where they have some; colours may join while masks are read."""
    own = form.table()
    if len(own):
        usual[: len(own)] = own
    return usual


def _write_arrays(path: Path, values: np.ndarray, content: Content) -> None:
    if content == "labels":
        np.savez_compressed(path, labels=values)
    else:
        np.savez_compressed(path, mask=(values / 255).astype(np.float32))
