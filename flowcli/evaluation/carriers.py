"""Ways to carry labels from key frames to others: as `flowcli propagate` does, and simpler ones to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from flowcli.carry.run import CarryOptions, open_maps
from flowcli.evaluation.scores import Method
from flowcli.ops.labels import sample_labels
from flowcli.options import EngineOptions
from flowcli.run import open_engine
from flowcli.types import Frame
from flowcli.weights.entries import Entry

Carrier = Callable[[Iterable[Frame], Mapping[int, Tensor]], Iterator[Tensor]]
"""Frames, and the labels (H, W) int32 of some by their index -> the labels of each frame, in order."""


def propagated(entry: Entry, options: EngineOptions, carrying: CarryOptions) -> Carrier:
    """Carries as `flowcli propagate` does, with the flow of the model of `entry`."""
    engine = open_engine(entry, options)

    def carry(frames: Iterable[Frame], keys: Mapping[int, Tensor]) -> Iterator[Tensor]:
        def key(frame: Frame, device: torch.device) -> Tensor | None:
            return keys[frame.index].to(device) if frame.index in keys else None

        single = len(keys) == 1
        with open_maps(frames, "the frames", entry, options, carrying, key, single, engine) as run:
            for each in run.frames:
                empty = torch.zeros(each.frame.image.shape[:2], dtype=torch.int32)
                yield empty if each.value is None else each.value.cpu()

    return carry


def copied(frames: Iterable[Frame], keys: Mapping[int, Tensor]) -> Iterator[Tensor]:
    """Each frame with the labels of the nearest key frame, the one before it of two."""
    for frame in frames:
        yield keys[min(keys, key=lambda key: abs(key - frame.index))]


def chained(flow: Method) -> Carrier:
    """Moves labels from frame to frame along the flow, from the nearest key frame, the one before it of two.

    The first frame has to be a key frame.
    """

    def follow(labels: Tensor, run: Sequence[Frame]) -> Iterator[Tensor]:
        """The labels of a run's frames but the first, which `labels` are of."""
        for other, frame in pairwise(run):
            labels = sample_labels(labels, torch.from_numpy(flow(frame.image, other.image)))
            yield labels

    def carry(frames: Iterable[Frame], keys: Mapping[int, Tensor]) -> Iterator[Tensor]:
        run: list[Frame] = []
        before: Tensor | None = None
        for frame in frames:
            run.append(frame)
            if frame.index in keys:
                middle = (len(run) + 1) // 2
                if before is not None:
                    yield from follow(before, run[:middle])
                before = keys[frame.index]
                yield from reversed([before, *follow(before, run[: middle - 1 : -1])])
                run = [frame]
        if before is not None:
            yield from follow(before, run)

    return carry
