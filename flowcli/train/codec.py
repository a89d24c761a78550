"""Frames as a real codec leaves them."""

from __future__ import annotations

import dataclasses
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from flowcli.train.synthetic import Pairs
from flowcli.types import Frame, StreamInfo, drain
from flowcli.video import open_source, open_video_sink

RATE = Fraction(25)


def through_h264(pairs: Pairs, crf: int) -> Pairs:
    """One pair, `coded` as a clip of two frames."""
    first, second = coded(torch.cat((pairs.first, pairs.second)), crf).split(1)
    return dataclasses.replace(pairs, first=first, second=second)


def coded(frames: Tensor, crf: int) -> Tensor:
    """The frames (T, 3, H, W) uint8 of a clip, coded and decoded again; crf: x264's, 18 is good and 45 full of blocks.

    Raises FlowcliError if ffmpeg does not run.
    """
    height, width = frames.shape[-2:]
    images = [frame.permute(1, 2, 0).contiguous().numpy() for frame in frames]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        clip = (Frame(image, index, index / RATE) for index, image in enumerate(images))
        drain(clip, [open_video_sink(path, StreamInfo(height, width, RATE), crf=crf)])
        with open_source(str(path)) as source:
            decoded = [np.array(frame.image[:height, :width]) for frame in source]
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).contiguous()
