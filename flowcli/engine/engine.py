"""Frames in, flow out: the only owner of device, precision, padding, batching and the features kept between frames."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from flowcli.engine import cuda
from flowcli.engine.graphs import Graphs, record
from flowcli.errors import DeviceError, InputError
from flowcli.geometry import crop, pad_to, resize_flow, resize_image
from flowcli.models.base import Features, FlowModel
from flowcli.models.conv import int8_works, to_int8
from flowcli.ops import unpack_pixels
from flowcli.pipeline import Stopwatch
from flowcli.types import Direction, FlowField, FlowPair, Frame, Last

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = ("int8", *DTYPES)

TILE = 2048
"""Side of tiles in pixels, unless another is asked for: frames of up to that size are worked on whole."""
LEAST_TILE = 256
"""Where memory is short, tiles get no smaller: they overlap, and what is done twice grows."""

_log = logging.getLogger("flowcli")


class Engine:
    """A model on a device, that turns frames into flow and encodes each frame once.

    model: moved to the device and precision in place. device: "auto" (the GPU if there is one), "cpu", "cuda" or
    "cuda:<n>". precision: "auto", "int8", "fp32", "bf16" or "fp16", of weights and features; flow is always
    float32, and so is all of a model that would lose too much. int8 is for CPUs, and what is not a convolution is in
    bf16 or fp32 there.
    batch: frames per step. None: on a CPU as many as keep its cores busy (1 of 1920x1080, 4 of 1024x436, with most
    networks 1 of any size), on a GPU 1 until it is known how many its memory is good for. A GPU that runs out of memory
    gets smaller ones.
    max_side: larger frames are estimated at this length of their longer side, and the flow is brought to full size.
    after: what is done to each pair before it comes out, as part of estimating it.
    tile: side in pixels of the tiles in which larger frames are worked on, if the model can: less memory, same flow.
    None for TILE on a CPU and whole frames on a GPU, 0 for whole frames; a GPU that runs out of memory with batches of
    one gets smaller tiles, but not if 0.
    graphs: on a GPU, steps that repeat are recorded and replayed, which saves the CPU's time; same flow.
    Raises DeviceError for a device that is not there, and if tiles are asked for that the model cannot do; ValueError
    for a negative tile, other numbers below 1 and unknown precisions.

    `device`, `precision` and `batch` tell what was chosen; `watch` counts the seconds of the network and its frames.
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
        self.batch = batch or 1
        self.max_side = max_side
        self.after = after
        on_gpu = self.device.type == "cuda"
        self.watch = cuda.CudaStopwatch(self.device) if on_gpu else Stopwatch()
        self.model = model.eval()
        self._tiles = model.tiles and tile != 0
        self.model.tile = tile or (TILE if self._tiles and self.device.type == "cpu" else 0)
        dtype = dtype_of(self.precision)
        if self.precision == "int8":
            to_int8(self.model, self.model.ranges, dtype)
        # nn.Module.to takes memory_format by keyword only, which its annotations leave out.
        self.model.to(self.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._warned = False
        self._upload = cuda.Uploads(self.device) if on_gpu else None
        self._graphs = Graphs(record, self.model.state_dict) if on_gpu and graphs else None
        self._chooses_batch = on_gpu and batch is None
        self._together = 0 if on_gpu or batch is not None else model.together
        self._sized: tuple[int, int] | None = None
        """Height and width of the frames that the batch is chosen for."""
        self._sizing = False

    def pairs(
        self, frames: Iterable[Frame], direction: Direction = "forward", last: Last = "drop"
    ) -> Iterator[FlowPair]:
        """Flow between consecutive frames, as they come: N frames give N - 1 pairs.

        direction: "forward" gives flow from the earlier frame to the later; "backward" gives pairs whose first frame is
        the later one; "both" gives the forward pair with its backward flow. last: "repeat" and "zero" add a pair of the
        last frame with itself, with the flow of the pair before it or with none. Raises ValueError for another word;
        while running InputError for fewer than two frames and for a change of size, DeviceError for too little memory.
        """
        if direction not in get_args(Direction):
            raise ValueError(f"direction must be one of {get_args(Direction)}, got {direction!r}")
        if last not in get_args(Last):
            raise ValueError(f"last must be one of {get_args(Last)}, got {last!r}")
        return self._pairs(frames, direction, last)

    def _pairs(self, frames: Iterable[Frame], direction: Direction, last: Last) -> Iterator[FlowPair]:
        held: _Held | None = None
        pair: FlowPair | None = None
        for batch in self._batches(frames):
            pairs, held = self._advance(held, batch, direction)
            for pair in pairs:
                yield pair
        if isinstance(self.watch, cuda.CudaStopwatch):
            self.watch.settle()
        if held is None:
            raise InputError("no frames in the input", "flow needs at least two frames")
        frame = held.frame
        if pair is None:
            raise InputError(f"only one frame in the input ({_label(frame)}), flow needs two", "give a second picture")
        if last != "drop":
            yield _still(frame, pair, zero=last == "zero")

    def _batches(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        batch: list[Frame] = []
        size: tuple[int, int] | None = None
        for frame in frames:
            height, width = frame.image.shape[:2]
            if size is None:
                size = height, width
                if self._chooses_batch and size != self._sized:
                    self._sized, self._sizing, self.batch = size, True, 1
                elif self._together:
                    self.batch = cuda.whole_batch(self._together // math.prod(self._inner_size(*size)))
            elif size != (height, width):
                raise InputError(
                    f"{_label(frame)} is {width}x{height}, the frames before it are {size[1]}x{size[0]}",
                    "give frames of one size",
                )
            batch.append(frame)
            if len(batch) >= self.batch:
                yield batch
                batch = []
        if batch:
            yield batch

    def _advance(self, held: _Held | None, frames: list[Frame], direction: Direction) -> tuple[list[FlowPair], _Held]:
        """The pairs that end in `frames`, and what the next step needs of them; in smaller steps if memory is short."""
        try:
            if not self._sizing or held is None:
                return self._step(held, frames, direction)
            self._sizing = False
            with cuda.measured(self.device) as need:
                done = self._step(held, frames, direction)
            self.batch = cuda.choose_batch(cuda.free_memory(self.device), need.bytes)
            return done
        except torch.OutOfMemoryError as error:
            height, width = frames[0].image.shape[:2]
            tile = self.model.tile // 2 if self.model.tile else TILE
            if len(frames) == 1 and not (self._tiles and tile >= LEAST_TILE):
                raise DeviceError(
                    f"not enough memory on {self.device} for frames of {width}x{height}",
                    f"pass --max-side with less than {max(height, width)}, or --device cpu",
                ) from error
        # Out of the except block, where the error still held the memory of the failed step.
        if self._graphs is not None:
            self._graphs.drop()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(frames) == 1:
            self.model.tile = tile
            _log.warning("not enough memory on %s: working in tiles of %d", self.device, tile)
            return self._advance(held, frames, direction)
        half = len(frames) // 2
        self.batch = min(self.batch, half)
        if not self._warned:
            self._warned = True
            _log.warning("not enough memory on %s for %d frames at once: taking fewer", self.device, len(frames))
        pairs, held = self._advance(held, frames[:half], direction)
        more, held = self._advance(held, frames[half:], direction)
        return pairs + more, held

    def _step(self, held: _Held | None, frames: list[Frame], direction: Direction) -> tuple[list[FlowPair], _Held]:
        with self.watch.timed(len(frames)):
            seen = frames if held is None else [held.frame, *frames]
            ways = 0 if len(seen) < 2 else 2 if direction == "both" else 1
            tensors = self._run(direction, frames, held)
            flows, features = tensors[:ways], tensors[ways:]
            if self._graphs is not None:
                # The next replay writes over them.
                features = tuple(t.clone() for t in features)
            # Copies made outside inference mode are ordinary tensors, and no pair keeps its whole batch alive.
            fields = [[FlowField(uv.clone(memory_format=torch.contiguous_format)) for uv in flow] for flow in flows]
            ends = (seen[1:], seen) if direction == "backward" else (seen, seen[1:])
            pairs = [FlowPair(*parts) for parts in zip(*ends, *fields, strict=False)] if ways else []
            if self.after is not None:
                pairs = [self.after(pair) for pair in pairs]
        return pairs, _Held(frames[-1], features)

    def _run(self, direction: Direction, frames: list[Frame], held: _Held | None) -> tuple[Tensor, ...]:
        """What `_compute` returns of these frames, from a graph in the steady state."""
        images = [frame.image for frame in frames]
        pixels = torch.from_numpy(np.stack(images)) if self._upload is None else self._upload(images)
        inputs = (pixels, *(held.features if held else ()))
        compute = partial(self._compute, direction)
        if self._graphs is None or held is None:
            return compute(*inputs)
        return self._graphs.run((direction, self.model.tile), compute, inputs)

    @torch.inference_mode()
    def _compute(self, direction: Direction, pixels: Tensor, *held: Tensor) -> tuple[Tensor, ...]:
        """Flow (M, 2, H, W) of the M pairs, if there are any, forward and then backward; features of the last frame.

        pixels: (N, H, W, 3) uint8; held: features of the frame before, if there is one.
        """
        features, full_size = self._encode(pixels)
        first = tuple(t[:-1] for t in features)
        if held:
            first = held if len(pixels) == 1 else tuple(torch.cat(both) for both in zip(held, first, strict=True))
        count = len(first[0])
        second = tuple(t[len(t) - count :] for t in features)
        ways = {"forward": [(first, second)], "backward": [(second, first)], "both": [(first, second), (second, first)]}
        flows = [full_size(self.model.decode(*way)[-1].float()) for way in ways[direction] if count]
        return *flows, *(t[-1:] for t in features)

    def _inner_size(self, height: int, width: int) -> tuple[int, int]:
        """Of frames of that size, as they are worked on."""
        longer = max(height, width)
        if self.max_side is None or longer <= self.max_side:
            return height, width
        return max(1, round(height * self.max_side / longer)), max(1, round(width * self.max_side / longer))

    def _encode(self, pixels: Tensor) -> tuple[Features, Callable[[Tensor], Tensor]]:
        """Features of each frame, and what brings flow from the size that the network is given back to theirs."""
        stride, least, pads = self.model.stride, self.model.least, self.model.fit == "pad"
        height, width = pixels.shape[1:3]
        size: tuple[int, ...] = self._inner_size(height, width)
        if not pads:
            size = tuple(-(-max(side, least) // stride) * stride for side in size)
        if size == (height, width):
            image, part = unpack_pixels(pixels, stride, least)
        else:
            image, part = pad_to(resize_image(unpack_pixels(pixels)[0], *size), stride, least)
        inner = image.shape[-2:]

        def full_size(flow: Tensor) -> Tensor:
            if pads:
                flow = crop(resize_flow(flow, *inner), part)
            # Published networks that resize do so without smoothing, and weights may be sensitive to it.
            return resize_flow(flow, height, width, smooth=pads)

        return self.model.encode(image), full_size


@dataclass(frozen=True, eq=False)
class _Held:
    """The last frame of a step, for the next one."""

    frame: Frame
    features: Features


def choose_device(name: str) -> torch.device:
    """The device called "auto", "cpu", "cuda" or "cuda:<n>". Raises DeviceError if it is unknown or not there."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    unknown = DeviceError(f"unknown device: {name}", "use auto, cpu, cuda or cuda:<number>")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise unknown from error
    if device.type not in ("cpu", "cuda"):
        raise unknown
    if device.type == "cpu":
        return torch.device("cpu")
    if not count:
        raise DeviceError(f"no CUDA device for {name!r}", "pass --device cpu, or install a torch that knows the GPU")
    index = device.index if ":" in name else torch.cuda.current_device()
    if index >= count:
        raise DeviceError(f"no such device: {name}", f"there are {count}: cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", index)


def choose_precision(name: str, device: torch.device, precisions: Collection[str]) -> str:
    """One of `precisions`, which are those of a model: the named one or "fp32", for "auto" what is fastest there.

    Raises ValueError for an unknown name, DeviceError for int8 where the device cannot.
    """
    if name == "auto":
        return next(each for each in fast_precisions(device) if each in precisions)
    if name not in PRECISIONS:
        raise ValueError(f"precision must be auto, {', '.join(PRECISIONS)}, got {name!r}")
    if name == "int8" and name not in fast_precisions(device):
        raise DeviceError(f"{device} has no convolutions in int8 that flowcli can use", "pass --precision auto")
    return name if name in precisions else "fp32"


def fast_precisions(device: torch.device) -> list[str]:
    """Those that the device gains speed from, the fastest first, and "fp32"."""
    if device.type == "cpu":
        return ["int8"] * int8_works() + ["bf16"] * cpu_has_bf16() + ["fp32"]
    major, _ = torch.cuda.get_device_capability(device)
    # bf16 since Ampere, fast fp16 since Volta (developer.nvidia.com, CUDA programming guide, compute capabilities).
    return ["bf16"] * (major >= 8) + ["fp16"] * (major >= 7) + ["fp32"]


def dtype_of(precision: str) -> torch.dtype:
    """Of maps, and of weights that are not in int8: with int8, the fastest that the CPU has."""
    if precision == "int8":
        precision = "bf16" if cpu_has_bf16() else "fp32"
    return DTYPES[precision]


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 itself: AVX512-BF16 or AMX."""
    asked = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    if all(asked):
        return any(ask() for ask in asked if ask)
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _still(frame: Frame, pair: FlowPair, zero: bool) -> FlowPair:
    """`frame` with itself, with the flow of `pair` or with none."""

    def field(known: FlowField) -> FlowField:
        return FlowField(torch.zeros_like(known.uv)) if zero else known

    return FlowPair(frame, frame, field(pair.forward), pair.backward and field(pair.backward))


def _label(frame: Frame) -> str:
    return f"frame {frame.index}" if frame.name is None else f"frame {frame.index}, {frame.name}"
