"""Clips whose motion and masks are known to the pixel, with their flow as an engine links it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch

from flowcli.carry.evidence import Evidence, look_at, weigh
from flowcli.carry.stream import Carried, carry
from flowcli.carry.ways import Chained, Settling, Ways, begin
from flowcli.engine.schedule import Keys
from flowcli.types import FlowField, FlowPair, Frame, FrameFlows
from tests import moving

HEIGHT, WIDTH = 65, 97


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture under a camera that moves `pan` pixels a frame to the right, and a square that moves over it.

    step: pixels right and down that the square moves from frame to frame, as seen; side 0 for none.
    """

    pan: int = 0
    side: int = 21
    step: tuple[int, int] = (3, 0)
    start: tuple[int, int] = (10, 20)
    """Left and top of the square in the first frame."""

    def corner(self, index: int) -> tuple[int, int]:
        return self.start[0] + index * self.step[0], self.start[1] + index * self.step[1]

    def mask(self, index: int) -> np.ndarray:
        """(HEIGHT, WIDTH) bool: where the square is."""
        left, top = self.corner(index)
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        inside: np.ndarray = (x >= left) & (x < left + self.side) & (y >= top) & (y < top + self.side)
        return inside

    def frame(self, index: int) -> Frame:
        left = 200 - self.pan * index
        image = moving.texture()[100 : 100 + HEIGHT, left : left + WIDTH].copy()
        mask, corner = self.mask(index), self.corner(index)
        y, x = np.nonzero(mask)
        image[mask] = moving.texture(1)[y - corner[1], x - corner[0]]
        return Frame(image, index, Fraction(index, 25))

    def flow(self, first: int, second: int) -> torch.Tensor:
        """(2, HEIGHT, WIDTH): where each pixel's surface is in the other frame, seen there or not."""
        uv = np.zeros((2, HEIGHT, WIDTH), np.float32)
        uv[0] = self.pan * (second - first)
        for plane, step in zip(uv, self.step, strict=True):
            plane[self.mask(first)] = step * (second - first)
        return torch.from_numpy(uv)


def linked(scene: Scene, count: int, *, both: bool, cuts: Sequence[int] = ()) -> Iterator[FrameFlows]:
    """The frames with the true flow, as `Consecutive` links them: backward, or both ways."""
    frames = [replace(scene.frame(index), cut=index in cuts) for index in range(count)]
    for index, frame in enumerate(frames):
        pairs: tuple[FlowPair, ...] = ()
        if index + 1 < count:
            ahead, back = FlowField(scene.flow(index, index + 1)), FlowField(scene.flow(index + 1, index))
            after = frames[index + 1]
            pair = FlowPair(frame, after, ahead, back, at=frame) if both else FlowPair(after, frame, back, at=frame)
            pairs = (pair,)
        yield FrameFlows(frame, pairs)


def keys(scene: Scene, *indices: int, label: int = 7) -> Callable[[Frame], torch.Tensor | None]:
    """Tells the labels of key frames: `label` where the square is, 0 elsewhere."""

    def key(frame: Frame) -> torch.Tensor | None:
        return labels(scene, frame.index, label) if frame.index in indices else None

    return key


def carried_labels(
    flows: Iterable[FrameFlows],
    key: Callable[[Frame], torch.Tensor | None],
    sides: Keys = "both",
    ahead: int = 30,
) -> Iterator[Carried[torch.Tensor]]:
    """The frames with their labels, from those of key frames."""

    def start(frame: Frame) -> Ways | None:
        given = key(frame)
        return None if given is None else begin(given, frame)

    return map(Settling(), carry(flows, start, Chained(), sides, ahead))


def labels(scene: Scene, index: int, label: int = 7) -> torch.Tensor:
    return torch.from_numpy(scene.mask(index).astype(np.int32) * label)


def overlap(one: torch.Tensor, other: torch.Tensor) -> float:
    """Intersection over union of what is not 0."""
    first, second = one != 0, other != 0
    return float((first & second).sum() / (first | second).sum())


def evidence(scene: Scene, first: int, second: int, *, both: bool = False) -> Evidence:
    """What is known of the true flow between two frames, with its way back if `both`."""
    look, other = (look_at(scene.frame(index), torch.device("cpu")) for index in (first, second))
    return weigh(look, other, scene.flow(first, second), scene.flow(second, first) if both else None)
