"""Pairs as a real codec leaves them."""

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
    """One pair, coded as a clip of two frames and decoded again; crf: x264's, 18 is good and 45 full of blocks.

    Raises FlowcliError if ffmpeg does not run.
    """
    images = [image[0].permute(1, 2, 0).contiguous().numpy() for image in (pairs.first, pairs.second)]
    height, width = images[0].shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pair.mp4"
        frames = (Frame(image, index, index / RATE) for index, image in enumerate(images))
        drain(frames, [open_video_sink(path, StreamInfo(height, width, RATE), crf=crf)])
        with open_source(str(path)) as source:
            first, second = (_picture(frame.image[:height, :width]) for frame in source)
    return dataclasses.replace(pairs, first=first, second=second)


def _picture(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous()
