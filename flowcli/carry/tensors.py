"""Arrays of key frames carried to other frames: label maps, mattes, and tensors on grids of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flowcli.carry.evidence import Evidence
from flowcli.carry.routes import Route
from flowcli.carry.stream import Carried
from flowcli.carry.ways import Chained, Settling, Ways, begin
from flowcli.errors import InputError
from flowcli.geometry import resize_image
from flowcli.nets.warp import carry_map
from flowcli.types import Frame

MOST_LABEL = 65535
_CHAINED = Chained()


@dataclass(frozen=True, eq=False)
class Part:
    """Tensors (C, h, w) of one key frame, such as features of a network, on their way to a frame."""

    tensors: Mapping[str, Tensor]
    route: Route
    share: Tensor
    """(H, W) float32, 0 to 1: how much of the frame's tensors comes from this key frame."""


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a frame, by name: maps of its own size, and tensors."""

    maps: Mapping[str, Tensor]
    """Labels (H, W) int32 and mattes (1, H, W) float32 that are settled."""
    ways: Mapping[str, Ways]
    """The same on their way from key frames."""
    parts: tuple[Part, ...]

    def arrays(self) -> dict[str, Tensor]:
        """All that is settled, tensors as they lie on the frame; those of a key frame are untouched."""
        whole = dict(self.maps)
        for part in self.parts:
            for name, tensor in part.tensors.items():
                moved = carry_map(tensor[None], part.route.shift)
                if len(self.parts) > 1:
                    moved = moved * resize_image(part.share[None, None], *tensor.shape[1:])
                whole[name] = whole[name] + moved[0] if name in whole else moved[0]
        return whole


class Arrays:
    """How arrays are carried."""

    def carry(self, value: Known, flow: Tensor, evidence: Evidence) -> Known:
        ways = {name: _CHAINED.carry(each, flow, evidence) for name, each in value.ways.items()}
        parts = (Part(each.tensors, each.route.carried(flow, evidence), each.share) for each in value.parts)
        return Known({}, ways, tuple(parts))

    def blend(self, one: Known, other: Known, share: Tensor) -> Known:
        ways = {name: _CHAINED.blend(each, other.ways[name], share) for name, each in one.ways.items()}
        parts = (
            Part(each.tensors, each.route, each.share * own)
            for known, own in ((one, share), (other, 1 - share))
            for each in known.parts
        )
        return Known({}, ways, tuple(parts))


def as_known(arrays: Mapping[str, np.ndarray], frame: Frame, device: torch.device) -> Known:
    """What `Arrays` carries for arrays that are given for a frame, as `as_value` takes them."""
    values = {name: as_value(array, frame).to(device) for name, array in arrays.items()}
    size = tuple(frame.image.shape[:2])
    maps = {name: each for name, each in values.items() if not each.is_floating_point() or each.shape == (1, *size)}
    tensors = {name: each for name, each in values.items() if name not in maps}
    route = Route(torch.zeros(2, *size, device=device))
    parts = (Part(tensors, route, torch.ones(size, device=device)),) if tensors else ()
    return Known({}, {name: begin(each, frame) for name, each in maps.items()}, parts)


class SettlingArrays:
    """Finds what the labels and mattes of frames are, given one after the other."""

    def __init__(self) -> None:
        self._maps: dict[str, Settling] = {}

    def __call__(self, frame: Carried[Known]) -> Carried[Known]:
        """The frame with all that is known of it as maps and tensors; confidence: of the maps, if there are any."""
        known, confidence = frame.value, frame.confidence
        if known is None or not known.ways:
            return frame
        maps = {}
        for name, ways in known.ways.items():
            settling = self._maps.setdefault(name, Settling())
            settled = settling(Carried(frame.frame, ways, frame.confidence, frame.key))
            assert settled.value is not None
            maps[name], confidence = settled.value, settled.confidence
        return Carried(frame.frame, Known(maps, {}, known.parts), confidence, frame.key)


def as_value(array: np.ndarray, frame: Frame) -> Tensor:
    """An array of a frame as a tensor: int32 labels for whole numbers (H, W), a float32 matte (1, H, W) for floats.

    Floats (C, h, w) stay what they are. Raises InputError for another size than the frame's, other shapes and dtypes,
    and labels below 0 or above 65535.
    """
    size = frame.image.shape[:2]
    whole = array.dtype.kind in "biu"
    if (not whole and array.dtype.kind != "f") or array.ndim not in ((2,) if whole else (2, 3)) or not array.size:
        hint = "give whole numbers (H, W), floats (H, W) from 0 to 1, or floats (C, h, w)"
        raise InputError(f"what is given for frame {frame.index} is {array.dtype} {array.shape}", hint)
    if array.ndim == 2 and array.shape != size:
        shape = f"{array.shape[1]}x{array.shape[0]}"
        raise InputError(
            f"what is given for frame {frame.index} is {shape}, but the frame is {size[1]}x{size[0]}",
            "make them the same size",
        )
    if not whole:
        value = torch.from_numpy(array.astype(np.float32))
        return value if array.ndim == 3 else value[None]
    for label in (int(array.min()), int(array.max())):
        if not 0 <= label <= MOST_LABEL:
            raise InputError(f"label {label} in frame {frame.index}", f"labels go from 0 to {MOST_LABEL}")
    return torch.from_numpy(array.astype(np.int32))
