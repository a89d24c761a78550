"""Simple ways to make frames, and those of other programs, as others are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import torch

from flowcli.classic import METHODS
from flowcli.errors import InputError, UsageError
from flowcli.evaluation.frames import Example, FrameMethod
from flowcli.geometry import backward_warp
from flowcli.interpolation.pixels import as_image, as_tensor
from flowcli.nets.functions import find_function
from flowcli.video import minterpolate

MINTERPOLATE = "minterpolate"


def find_baseline(name: str) -> FrameMethod:
    """`dis` or `farneback`, along halves of whose flow frames are moved; `minterpolate`; or `package.module:function`.

    The function is called with both pictures, (H, W, 3) uint8 RGB, and a float from 0 to 1, and returns a picture.
    Raises UsageError for another name, InputError for a function that there is not.
    """
    if name in METHODS:
        return _halves(name)
    if name == MINTERPOLATE:
        return _minterpolate
    if ":" in name:
        return _called(name)
    known = ", ".join((*METHODS, MINTERPOLATE))
    raise UsageError(f"no baseline makes frames by the name {name}", f"there are: {known}, and package.module:function")


def _halves(name: str) -> FrameMethod:
    """Both pictures moved along parts of the flow from the first to the second, taken where it starts, and mixed."""

    def method(example: Example, places: Sequence[Fraction]) -> Iterator[np.ndarray]:
        flow = torch.from_numpy(METHODS[name](example.first, example.second))[None]
        first, second = (as_tensor(image, flow.device) for image in (example.first, example.second))
        for place in map(float, places):
            one, other = backward_warp(first, -place * flow)[0], backward_warp(second, (1 - place) * flow)[0]
            yield as_image((1 - place) * one + place * other, example.first.dtype)

    return method


def _minterpolate(example: Example, places: Sequence[Fraction]) -> list[np.ndarray]:
    """It wants a frame before and one after; where there is none, the nearest is repeated."""
    before, after = example.around
    first, second = example.first, example.second
    factor = len(places) + 1
    if list(places) != [Fraction(number, factor) for number in range(1, factor)]:
        raise ValueError("minterpolate makes frames at even distances")
    return minterpolate(
        [first if before is None else before, first, second, second if after is None else after], factor
    )


def _called(name: str) -> FrameMethod:
    function = find_function(name)

    def method(example: Example, places: Sequence[Fraction]) -> Iterator[np.ndarray]:
        for place in places:
            image = function(example.first, example.second, float(place))
            if not isinstance(image, np.ndarray) or (image.shape, image.dtype) != (example.first.shape, np.uint8):
                raise InputError(f"{name} returns no picture of the size of its inputs", "(H, W, 3) uint8 is wanted")
            yield image

    return method
