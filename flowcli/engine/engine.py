"""The engine: frames in, flow out. It alone handles device, precision, padding, batches and kept features."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from flowcli.engine import cuda
from flowcli.engine.batches import open_batches
from flowcli.engine.fitting import Fitting
from flowcli.engine.graphs import Graphs, record
from flowcli.engine.precision import choose_device, choose_precision, converted
from flowcli.engine.schedule import Consecutive, FrameLinks, Schedule, Step
from flowcli.engine.work import Stream, Work, join_flows, parted, perform, plan_work, split_ready
from flowcli.errors import DeviceError, InputError
from flowcli.models.base import FlowModel
from flowcli.pipeline import Stopwatch
from flowcli.types import Direction, FlowField, FlowPair, Frame, FrameFlows, Last

TILE = 2048
"""Default side of tiles, pixels; smaller frames are processed whole."""
LEAST_TILE = 256
"""Smallest side of tiles when memory is short: tiles overlap, and smaller ones repeat more work."""

_log = logging.getLogger("flowcli")


class Engine:
    """A model on a device, which turns frames into flow and encodes each frame once.

    model: is not changed; the engine works on a copy that shares all weights that need no conversion.
    device: "auto" (the GPU if there is one), "cpu", "cuda" or "cuda:<n>".
    precision: "auto", "int8", "fp32", "bf16" or "fp16", of weights and features. Flow is always float32, and a model
    that would lose too much runs in float32. int8 is for CPUs and for convolutions; the rest is then in bf16 or fp32.
    batch: frames per step. None: on a CPU as many as keep its cores busy (1 at 1920x1080, 4 at 1024x436, with most
    networks always 1); on a GPU one until the memory for more is known. If a GPU runs out of memory, fewer.
    max_side: larger frames are scaled down to this longer side, and their flow is scaled up to full size.
    after: is applied to each pair before it comes out.
    tile: side in pixels of the tiles in which larger frames are processed, if the model can: less memory, same flow.
    None: TILE on a CPU, whole frames on a GPU; 0: whole frames. If a GPU runs out of memory with a batch of one, it
    gets smaller tiles, unless tile is 0.
    graphs: on a GPU, record repeated steps as CUDA graphs and replay them; the flow is the same.
    Raises DeviceError if the device is missing or the model cannot work in tiles, ValueError for a negative tile, for
    other numbers below 1, and for an unknown precision.

    `device`, `precision` and `batch` are what was chosen; `watch` counts the network's seconds and frames.
    """

    def __init__(
        self,
        model: FlowModel,
        device: str = "auto",
        precision: str = "auto",
        batch: int | None = None,
        max_side: int | None = None,
        after: Callable[[FlowPair], FlowPair] | None = None,
        tile: int | None = None,
        graphs: bool = True,
    ) -> None:
        for name, number, least in (("batch", batch, 1), ("max_side", max_side, 1), ("tile", tile, 0)):
            if number is not None and number < least:
                raise ValueError(f"{name} must be at least {least}, got {number}")
        if tile and not model.tiles:
            raise DeviceError("this network cannot work in tiles", "leave out --tile; --max-side saves memory too")
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device, model.precisions)
        self.model = converted(model, self.device, self.precision)
        self.batches = open_batches(self.device, batch, model.together)
        self.max_side = max_side
        self.after = after
        on_gpu = self.device.type == "cuda"
        self.watch = cuda.CudaStopwatch(self.device) if on_gpu else Stopwatch()
        self._tiles = model.tiles and tile != 0
        self.model.tile = tile or (TILE if self._tiles and not on_gpu else 0)
        self._upload = cuda.Uploads(self.device) if on_gpu else None
        self._graphs = Graphs(record, self.model.state_dict) if on_gpu and graphs else None

    @property
    def batch(self) -> int:
        """Number of frames in the next step."""
        return self.batches.size

    def choose_batch(self, height: int, width: int) -> bool:
        """Chooses `batch` for frames of this size. Returns whether it is final; if not, the first pair decides."""
        self.batches.begin((height, width), Fitting(self.model, height, width, self.max_side).limited)
        return self.batches.settled

    def pairs(
        self, frames: Iterable[Frame], direction: Direction = "forward", last: Last = "drop"
    ) -> Iterator[FlowPair]:
        """Flow between neighbouring frames, as they come: N frames give N - 1 pairs.

        direction: "forward" gives flow from the earlier frame to the later; "backward" gives pairs whose first frame is
        the later one; "both" gives forward pairs with their backward flow. last: "repeat" and "zero" add a pair of the
        last frame with itself, with the flow of the previous pair or zero flow. Raises ValueError for another word,
        and what `link` raises.
        """
        if direction not in get_args(Direction):
            raise ValueError(f"direction must be one of {get_args(Direction)}, got {direction!r}")
        if last not in get_args(Last):
            raise ValueError(f"last must be one of {get_args(Last)}, got {last!r}")
        return self._pairs(frames, direction, last)

    def _pairs(self, frames: Iterable[Frame], direction: Direction, last: Last) -> Iterator[FlowPair]:
        pair: FlowPair | None = None
        for each in self.link(frames, Consecutive(direction)):
            for pair in each.pairs:
                yield pair
            if pair is not None and not each.pairs and last != "drop":
                yield _still(each.frame, pair, zero=last == "zero")

    def link(self, frames: Iterable[Frame], schedule: Schedule) -> Iterator[FrameFlows]:
        """Each frame with the flow that the schedule assigns to it, in order, as soon as it is known.

        A frame is encoded once, however many links it has, and dropped after its last link. Frames are taken in
        batches. Raises InputError for a change of size, DeviceError for too little memory.
        """
        stream = Stream()
        for steps in self._batches(schedule.plan(frames)):
            yield from self._advance(stream, steps)
        if isinstance(self.watch, cuda.CudaStopwatch):
            self.watch.settle()

    def _batches(self, steps: Iterable[Step]) -> Iterator[list[Step]]:
        batch: list[Step] = []
        size: tuple[int, int] | None = None
        for step in steps:
            batch.append(step)
            if step.frame is not None:
                height, width = step.frame.image.shape[:2]
                if size is None:
                    size = height, width
                    self.choose_batch(height, width)
                elif size != (height, width):
                    raise InputError(
                        f"{_label(step.frame)} is {width}x{height}, the frames before it are {size[1]}x{size[0]}",
                        "give frames of one size",
                    )
            if len(batch) >= self.batch:
                yield batch
                batch = []
        if batch:
            yield batch

    def _advance(self, stream: Stream, steps: list[Step]) -> Iterator[FrameFlows]:
        """The frames that the steps make ready, estimated in parts of at most `batch` frames or links."""
        keep: frozenset[int] = frozenset()
        later: list[FrameLinks] = []
        while steps or later:
            # Links between frames that are encoded already come first.
            new = [] if later else steps[: self.batch]
            ready, rest = split_ready(later or [each for step in new for each in step.ready], self.batch)
            if new:
                keep = new[-1].keep
            frames = [step.frame for step in new if step.frame is not None]
            needed = keep.union(*(each.places for each in rest))
            count = max(len(frames), min(self.batch, sum(len(each.links) for each in ready)))
            done, tile = None, self._smaller_tile()
            try:
                done = self._estimate(stream, frames, ready, needed)
            except torch.OutOfMemoryError as error:
                if count == 1 and not tile:
                    raise self._too_large(stream) from error
            # Out of the except block, where the error still held the memory of what failed.
            if done is None:
                self._make_room(count, tile)
                continue
            steps, later = steps[len(new) :], rest
            yield from done

    def _estimate(
        self, stream: Stream, frames: list[Frame], ready: list[FrameLinks], keep: Collection[int]
    ) -> list[FrameFlows]:
        """The frames that are ready, with their flow; afterwards the stream holds the frames and features in `keep`.

        frames: the new frames of the stream. If memory runs out, the call can be repeated.
        """
        new = range(stream.length, stream.length + len(frames))
        stream.frames.update(zip(new, frames, strict=True))
        links = [link for each in ready for link in each.links]
        held = sorted({place for link in links for place in (link.first, link.second)} - set(new))
        work = plan_work(links, held, new, keep, self.batch)
        with (
            self.batches.full_step() if held and frames else nullcontext(),
            self.watch.timed(len(frames)),
        ):
            tensors = self._run(work, stream, frames, held)
            flows, features = tensors[: len(work.flows)], tensors[len(work.flows) :]
            # Copies made outside inference mode are ordinary tensors, and no pair keeps its whole batch alive.
            fields = [FlowField(uv.clone(memory_format=torch.contiguous_format)) for flow in flows for uv in flow]
            if self._graphs is not None or len(frames) > 1:
                # The next replay writes over them; and no frame that is kept keeps its whole batch alive.
                features = tuple(each.clone() for each in features)
            done = join_flows(ready, fields, stream.frames)
            if self.after is not None:
                done = [replace(each, pairs=tuple(map(self.after, each.pairs))) for each in done]
        stream.features.update(
            zip((new[number] for number in work.kept), parted(features, len(work.kept)), strict=True)
        )
        stream.length += len(frames)
        stream.keep(keep)
        return done

    def _run(self, work: Work, stream: Stream, frames: list[Frame], held: list[int]) -> tuple[Tensor, ...]:
        """The tensors that `perform` returns; in the steady state a CUDA graph makes them."""
        if not work.new and not work.flows:
            return ()
        inputs = tuple(tensor for place in held for tensor in stream.features[place])
        if frames:
            images = [frame.image for frame in frames]
            pixels = torch.from_numpy(np.stack(images)) if self._upload is None else self._upload(images)
            inputs = pixels, *inputs
        height, width = stream.size
        fitting = Fitting(self.model, height, width, self.max_side)
        compute = partial(perform, work, fitting)
        if self._graphs is None or not held:
            return compute(*inputs)
        return self._graphs.run((work, fitting, self.model.tile), compute, inputs)

    def _smaller_tile(self) -> int:
        """Side of the next smaller tiles, 0 if there are none."""
        tile = self.model.tile // 2 if self.model.tile else TILE
        return tile if self._tiles and tile >= LEAST_TILE else 0

    def _too_large(self, stream: Stream) -> DeviceError:
        height, width = stream.size
        return DeviceError(
            f"not enough memory on {self.device} for frames of {width}x{height}",
            f"pass --max-side with less than {max(height, width)}, or --device cpu",
        )

    def _make_room(self, count: int, tile: int) -> None:
        """Halves the batch, or with a batch of one, works in tiles of side `tile`."""
        if self._graphs is not None:
            self._graphs.drop()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if count > 1:
            self.batches.shrink(count, self.device)
        else:
            self.model.tile = tile
            _log.warning("not enough memory on %s: working in tiles of %d", self.device, tile)


def _still(frame: Frame, pair: FlowPair, zero: bool) -> FlowPair:
    """The pair of `frame` with itself, with the flow of `pair` or zero flow."""

    def flow(known: FlowField) -> FlowField:
        return FlowField(torch.zeros_like(known.uv)) if zero else known

    return FlowPair(frame, frame, flow(pair.forward), pair.backward and flow(pair.backward), at=frame)


def _label(frame: Frame) -> str:
    return f"frame {frame.index}" if frame.name is None else f"frame {frame.index}, {frame.name}"
