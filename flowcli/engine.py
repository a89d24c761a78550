"""Frames in, flow out: the only owner of device, precision, padding, batching and the features kept between frames."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from flowcli.errors import DeviceError, InputError
from flowcli.geometry import Crop, crop, pad_to, resize_flow, resize_image
from flowcli.models._base import Features, FlowModel
from flowcli.pipeline import Stopwatch
from flowcli.types import Direction, FlowField, FlowPair, Frame, Last

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

TILE = 2048
"""Side of tiles in pixels, unless another is asked for: frames of up to that size are worked on whole."""
LEAST_TILE = 256
"""Where memory is short, tiles get no smaller: they overlap, and what is done twice grows."""

_log = logging.getLogger("flowcli")


class Engine:
    """A model on a device, that turns frames into flow and encodes each frame once.

    model: moved to the device and precision in place. device: "auto" (the GPU if there is one), "cpu", "cuda" or
    "cuda:<n>". precision: "auto", "fp32", "bf16" or "fp16", of weights and features; flow is always float32,
    and so is all of a model that would lose too much.
    batch: frames per step, 1 on a CPU and 4 on a GPU if None; a GPU that runs out of memory gets smaller ones.
    max_side: larger frames are estimated at this length of their longer side, and the flow is brought to full size.
    after: what is done to each pair before it comes out, as part of estimating it.
    tile: side in pixels of the tiles in which larger frames are worked on, if the model can: less memory, same flow.
    None for TILE on a CPU and whole frames on a GPU, 0 for whole frames; a GPU that runs out of memory with batches of
    one gets smaller tiles, but not if 0.
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
    ) -> None:
        for name, number, least in (("batch", batch, 1), ("max_side", max_side, 1), ("tile", tile, 0)):
            if number is not None and number < least:
                raise ValueError(f"{name} must be at least {least}, got {number}")
        if tile and not model.tiles:
            raise DeviceError("this network cannot work in tiles", "leave out --tile; --max-side saves memory too")
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        if self.precision not in model.precisions:
            self.precision = "fp32"
        self.batch = batch or (4 if self.device.type == "cuda" else 1)
        self.max_side = max_side
        self.after = after
        self.watch = _CudaStopwatch(self.device) if self.device.type == "cuda" else Stopwatch()
        self.model = model.eval()
        self._tiles = model.tiles and tile != 0
        self.model.tile = tile or (TILE if self._tiles and self.device.type == "cpu" else 0)
        # nn.Module.to takes memory_format by keyword only, which its annotations leave out.
        self.model.to(self.device, DTYPES[self.precision], memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._warned = False

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
        held: _Encoded | None = None
        pair: FlowPair | None = None
        for batch in self._batches(frames):
            pairs, held = self._advance(held, batch, direction)
            for pair in pairs:
                yield pair
        if isinstance(self.watch, _CudaStopwatch):
            self.watch.settle()
        if held is None:
            raise InputError("no frames in the input", "flow needs at least two frames")
        frame = held.frames[-1]
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

    def _advance(
        self, held: _Encoded | None, frames: list[Frame], direction: Direction
    ) -> tuple[list[FlowPair], _Encoded]:
        """The pairs that end in `frames`, and what the next step needs of them; in smaller steps if memory is short."""
        try:
            return self._step(held, frames, direction)
        except torch.OutOfMemoryError as error:
            height, width = frames[0].image.shape[:2]
            tile = self.model.tile // 2 if self.model.tile else TILE
            if len(frames) == 1 and not (self._tiles and tile >= LEAST_TILE):
                raise DeviceError(
                    f"not enough memory on {self.device} for frames of {width}x{height}",
                    f"pass --max-side with less than {max(height, width)}, or --device cpu",
                ) from error
        # Out of the except block, where the error still held the memory of the failed step.
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

    def _step(
        self, held: _Encoded | None, frames: list[Frame], direction: Direction
    ) -> tuple[list[FlowPair], _Encoded]:
        with self.watch.timed(len(frames)):
            encoded = self._encode(frames)
            first = encoded.before(held)
            second = encoded.last(len(first.frames))
            forward = self._decode(first, second) if direction != "backward" else []
            backward = self._decode(second, first) if direction != "forward" else []
            if direction == "forward":
                pairs = list(map(FlowPair, first.frames, second.frames, forward))
            elif direction == "backward":
                pairs = list(map(FlowPair, second.frames, first.frames, backward))
            else:
                pairs = list(map(FlowPair, first.frames, second.frames, forward, backward))
            if self.after is not None:
                pairs = [self.after(pair) for pair in pairs]
        return pairs, encoded.last(1)

    @torch.inference_mode()
    def _encode(self, frames: list[Frame]) -> _Encoded:
        pixels = torch.from_numpy(np.stack([frame.image for frame in frames]))
        if self.device.type == "cuda":
            pixels = pixels.pin_memory()
        image = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
        stride, least = self.model.stride, self.model.least
        size = tuple(image.shape[-2:])
        if self.max_side is not None and max(size) > self.max_side:
            size = tuple(max(1, round(side * self.max_side / max(size))) for side in size)
        if self.model.fit == "resize":
            size = tuple(-(-max(side, least) // stride) * stride for side in size)
        image, part = pad_to(resize_image(image, *size), stride, least)
        return _Encoded(frames, self.model.encode(image), (image.shape[-2], image.shape[-1]), part)

    def _decode(self, first: _Encoded, second: _Encoded) -> list[FlowField]:
        if not first.frames:
            return []
        # Copies made outside inference mode are ordinary tensors, and no pair keeps its whole batch alive.
        return [FlowField(uv.clone(memory_format=torch.contiguous_format)) for uv in self._flow(first, second)]

    @torch.inference_mode()
    def _flow(self, first: _Encoded, second: _Encoded) -> Tensor:
        flow = self.model.decode(first.features, second.features)[-1].float()
        if self.model.fit == "pad":
            flow = crop(resize_flow(flow, *first.size), first.part)
        height, width = first.frames[0].image.shape[:2]
        # Published networks that resize do so without smoothing, and weights may be sensitive to it.
        return resize_flow(flow, height, width, smooth=self.model.fit == "pad")


@dataclass(frozen=True, eq=False)
class _Encoded:
    """Frames and their features; `size` is what the model was given, `part` where the picture lies in it."""

    frames: list[Frame]
    features: Features
    size: tuple[int, int]
    part: Crop

    def last(self, count: int) -> _Encoded:
        """The last `count` of the frames."""
        start = len(self.frames) - count
        return _Encoded(self.frames[start:], tuple(t[start:] for t in self.features), self.size, self.part)

    @torch.inference_mode()
    def before(self, held: _Encoded | None) -> _Encoded:
        """The partners of these frames: all but the last, after the one that was held from the step before."""
        if held is None:
            frames, features = self.frames[:-1], tuple(t[:-1] for t in self.features)
        elif len(self.frames) == 1:
            return held
        else:
            frames = held.frames + self.frames[:-1]
            features = tuple(torch.cat((a, b[:-1])) for a, b in zip(held.features, self.features, strict=True))
        return _Encoded(frames, features, self.size, self.part)


class _CudaStopwatch(Stopwatch):
    """Measures on the GPU's own clock, since the CPU only queues the work and must not wait for it."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._stream = torch.cuda.current_stream(device)
        self._running: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()

    @contextmanager
    def timed(self, items: int = 1) -> Iterator[None]:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record(self._stream)
        yield
        end.record(self._stream)
        self._running.append((start, end))
        self.items += items
        while self._running and self._running[0][1].query():
            self._add(*self._running.popleft())

    def settle(self) -> None:
        """Waits for the work that is queued and counts it."""
        self._stream.synchronize()
        while self._running:
            self._add(*self._running.popleft())

    def _add(self, start: torch.cuda.Event, end: torch.cuda.Event) -> None:
        self.seconds += start.elapsed_time(end) / 1000


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


def choose_precision(name: str, device: torch.device) -> str:
    """ "fp32", "bf16" or "fp16"; for "auto" the fastest that the device computes in. Raises ValueError for others."""
    if name in DTYPES:
        return name
    if name != "auto":
        raise ValueError(f"precision must be auto, {', '.join(DTYPES)}, got {name!r}")
    if device.type == "cpu":
        return "bf16" if cpu_has_bf16() else "fp32"
    major, _ = torch.cuda.get_device_capability(device)
    # bf16 since Ampere, fast fp16 since Volta (developer.nvidia.com, CUDA programming guide, compute capabilities).
    return "bf16" if major >= 8 else "fp16" if major >= 7 else "fp32"


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
