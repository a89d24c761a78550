"""The work of a network in one step: frames to encode, flows to decode, features to keep."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from flowcli.engine.fitting import Fitting
from flowcli.engine.schedule import FrameLinks, Link
from flowcli.models.base import Features
from flowcli.types import FlowField, FlowPair, Frame, FrameFlows


@dataclass(eq=False)
class Stream:
    """What the engine keeps of a stream of frames, by place in the stream."""

    frames: dict[int, Frame] = field(default_factory=dict)
    features: dict[int, Features] = field(default_factory=dict)
    """Features of encoded frames, as batches of one."""
    length: int = 0
    """Number of frames encoded so far."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        height, width = next(iter(self.frames.values())).image.shape[:2]
        return height, width

    def keep(self, places: Collection[int]) -> None:
        """Drops all frames and features but those at `places`."""
        self.frames = {place: frame for place, frame in self.frames.items() if place in places}
        self.features = {place: features for place, features in self.features.items() if place in places}


@dataclass(frozen=True)
class Work:
    """The structure of a step, without its tensors; equal ones can share a CUDA graph.

    Frames are numbered: first the `held` ones, whose features are kept, then the `new` ones.
    """

    held: int
    new: int
    flows: tuple[tuple[tuple[int, int], ...], ...]
    """Pairs of frame numbers, first and second; the pairs in one tuple are decoded together."""
    kept: tuple[int, ...]
    """The new frames whose features are needed later, numbered from 0."""


def plan_work(links: Sequence[Link], held: Sequence[int], new: Sequence[int], keep: Collection[int], most: int) -> Work:
    """The work for these links: the flow of all links first, then the backward flow of those that go both ways.

    held, new: places of all frames that the links name; keep: places whose features are needed later. most: largest
    number of flows decoded together.
    """
    count = {place: number for number, place in enumerate((*held, *new))}
    forth = [(count[link.first], count[link.second]) for link in links]
    back = [(count[link.second], count[link.first]) for link in links if link.both]
    flows = tuple(tuple(way[start : start + most]) for way in (forth, back) for start in range(0, len(way), most))
    return Work(len(held), len(new), flows, tuple(number for number, place in enumerate(new) if place in keep))


@torch.inference_mode()
def perform(work: Work, fitting: Fitting, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Flow (M, 2, H, W) for each tuple in `work.flows`, then the features of each kept frame.

    inputs: the new frames, (N, H, W, 3) uint8, if there are any; then the features of each held frame.
    """
    model = fitting.model
    new = model.encode(fitting.images(inputs[0])) if work.new else ()
    held = parted(inputs[1:] if work.new else inputs, work.held)
    flows = []
    for ways in work.flows:
        first, second = (stacked(held, new, frames) for frames in zip(*ways, strict=True))
        flows.append(fitting.flow(model.decode(first, second)[-1].float()))
    return *flows, *(each[number : number + 1] for number in work.kept for each in new)


def parted(tensors: Features, count: int) -> list[Features]:
    """The features of `count` frames, whose tensors are listed one frame after the other."""
    size = len(tensors) // max(count, 1)
    return [tensors[number * size : (number + 1) * size] for number in range(count)]


def join_flows(
    ready: Sequence[FrameLinks], flows: Sequence[FlowField], frames: Mapping[int, Frame]
) -> list[FrameFlows]:
    """The frames with their flow. flows: in the order of `plan_work`."""
    forth = iter(flows)
    back = islice(flows, sum(len(each.links) for each in ready), None)

    def pair(at: int, link: Link) -> FlowPair:
        ends = frames[link.first], frames[link.second]
        return FlowPair(*ends, next(forth), next(back) if link.both else None, at=frames[at])

    return [FrameFlows(frames[each.at], tuple(pair(each.at, link) for link in each.links)) for each in ready]


def stacked(held: Sequence[Features], new: Features, frames: Sequence[int]) -> Features:
    """Features of the frames, numbered as in Work, as one batch; a run of new frames is not copied.

    held: batches of one; new: one batch.
    """
    parts: list[Features] = []
    for first, count in _rows(frames, len(held)):
        start = first - len(held)
        parts.append(held[first] if start < 0 else tuple(each[start : start + count] for each in new))
    return parts[0] if len(parts) == 1 else tuple(torch.cat(each) for each in zip(*parts, strict=True))


def _rows(frames: Sequence[int], held: int) -> Iterator[tuple[int, int]]:
    """First frame and length of each run of consecutive frames; a held frame is a run of its own."""
    start = 0
    for end in range(1, len(frames) + 1):
        if end == len(frames) or frames[end] != frames[end - 1] + 1 or frames[end] <= held:
            yield frames[start], end - start
            start = end


def split_ready(ready: Sequence[FrameLinks], most: int) -> tuple[list[FrameLinks], list[FrameLinks]]:
    """The first frames with at most `most` links together, but at least one frame with links, and the rest."""
    links = 0
    for number, each in enumerate(ready):
        if links and each.links and links + len(each.links) > most:
            return list(ready[:number]), list(ready[number:])
        links += len(each.links)
    return list(ready), []
