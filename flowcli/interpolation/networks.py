"""Frames that a network makes of two, at any time and of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import torch

from flowcli.errors import InputError
from flowcli.interpolation.pixels import as_image, as_tensor
from flowcli.models.base import FrameModel
from flowcli.types import FlowPair, Frame


class Network:
    """Frames from a network, which sees each pair once, whatever is made of it."""

    flow = False
    resizes = True

    def __init__(self, model: FrameModel, device: torch.device) -> None:
        self.device = device
        self._model = model.to(device).eval()

    def between(
        self, first: Frame, second: Frame, flow: FlowPair | None, places: Sequence[Fraction], height: int, width: int
    ) -> Iterator[np.ndarray]:
        """Raises InputError for frames of different sizes."""
        if first.image.shape != second.image.shape:
            sizes = ["{1}x{0}".format(*each.image.shape) for each in (second, first)]
            raise InputError(
                f"frame {second.index} is {sizes[0]}, the one before it is {sizes[1]}", "give frames of one size"
            )
        with torch.inference_mode():
            features = self._model.encode(*(as_tensor(each.image, self.device) for each in (first, second)))
        made = self._model.decode(features, places, height, width)
        for _ in places:
            # Not around the loop: whoever takes the frames would compute in this mode as well.
            with torch.inference_mode():
                picture = next(made)
            yield as_image(picture, first.image.dtype)
