"""Frames that a network makes of two, at any time and of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from flowcli.engine.precision import choose_precision, converted
from flowcli.errors import InputError
from flowcli.interpolation.pixels import as_image, as_tensor
from flowcli.models.base import FrameModel
from flowcli.types import FlowPair, Frame


class Network:
    """Frames from a network, which sees each pair once, whatever is made of it."""

    resizes = True

    def __init__(self, model: FrameModel, device: torch.device, precision: str = "auto") -> None:
        """precision: as for an engine."""
        self.device = device
        self.flow = model.needs_flow
        self.precision = choose_precision(precision, device, model.precisions)
        self._model = model.to(device).eval() if self.precision == "fp32" else converted(model, device, self.precision)

    def between(
        self, first: Frame, second: Frame, flow: FlowPair | None, places: Sequence[Fraction], height: int, width: int
    ) -> Iterator[np.ndarray]:
        """Raises InputError for frames of different sizes, ValueError for flow one way alone."""
        if first.image.shape != second.image.shape:
            sizes = ["{1}x{0}".format(*each.image.shape) for each in (second, first)]
            raise InputError(
                f"frame {second.index} is {sizes[0]}, the one before it is {sizes[1]}", "give frames of one size"
            )
        if self.flow and flow is None:
            # Without it, each place is that of one of the frames, beside which the other says nothing.
            for place in places:
                frame = second if place == 1 else first
                yield from self._made(frame, frame, None, [place], height, width)
        else:
            yield from self._made(first, second, flow, places, height, width)

    def _made(
        self, first: Frame, second: Frame, flow: FlowPair | None, places: Sequence[Fraction], height: int, width: int
    ) -> Iterator[np.ndarray]:
        with torch.inference_mode():
            pictures = [as_tensor(each.image, self.device) for each in (first, second)]
            features = self._model.encode(*pictures, *self._flows(pictures[0], flow))
        made = self._model.decode(features, places, height, width)
        for _ in places:
            # Not around the loop: whoever takes the frames would compute in this mode as well.
            with torch.inference_mode():
                picture = next(made)
            yield as_image(picture, first.image.dtype)

    def _flows(self, like: Tensor, flow: FlowPair | None) -> list[Tensor]:
        """Those that the network needs, (1, 2, H, W); none moves anything where there are none."""
        if not self.flow:
            return []
        if flow is None:
            return [torch.zeros_like(like[:, :2])] * 2
        if flow.backward is None:
            raise ValueError("flow is needed both ways")
        return [each.known[None] for each in (flow.forward, flow.backward)]
