"""The values that flow through the program: source -> engine -> effect -> sink."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeVar

from flowcli.errors import LimitError

if TYPE_CHECKING:
    import numpy as np
    import torch

Direction = Literal["forward", "backward", "both"]
Last = Literal["drop", "repeat", "zero"]
"""What the last frame gets, which has no next frame: no flow, the flow of the pair before it, or zero flow."""
Gaps = Literal["skip", "bridge", "error"]
"""What happens where frames are missing between two files, or another sequence begins: no flow is estimated across it,
flow is estimated as between neighbours, or InputError is raised."""
Cuts = Literal["auto", "off"]
"""Whether cuts are searched for: flow is unknown where one is found."""
Duplicates = Literal["hold", "keep", "skip", "zero"]
"""What becomes of frames that repeat the one before: pictures hold the flow of the pair before, files of flow have what
was estimated; both have that; the frames are left out; or the flow to them is zero."""
Holes = Literal["black", "keep", "transparent"]
"""What a warped frame shows where the other frame has nothing to show."""
Layout = Literal["nuke", "fusion", "blender", "stmap"]
"""Channel names and signs of motion vectors in OpenEXR."""
Progress = Callable[[int, int | None], None]
"""Called after each result with the number of those that there are by now, and of all that will come, None if it is not
known beforehand."""
FlowKind = Literal["i3d", "pixels"]
"""What an array (N, H, W, 2) of flow holds: flow clipped and scaled for I3D, or flow in pixels."""
Precision = Literal["auto", "int8", "bf16", "fp16", "fp32"]
"""Precision of a network's weights and features; "auto" is the fastest that suits device and network."""
Style = Literal["wheel", "hsv", "arrows", "magnitude", "overlay", "side-by-side", "trails"]
"""How flow is drawn."""

Item = TypeVar("Item", contravariant=True)
Place = TypeVar("Place")
OpenSink = TypeVar("OpenSink", bound="Sink[Any]")


@dataclass(frozen=True, eq=False, repr=False)
class Frame:
    """One picture. `image`: (H, W, 3) uint8 RGB; made pictures may be (H, W, 4) RGBA, (H, W) grey, or uint16.

    The image must not be changed.
    """

    image: np.ndarray
    index: int = 0
    """Position in the source, counted from 0 over all its frames, also those that `start` and `every` leave out.

    Frames that have neither index nor time nor name are counted by whoever gets them.
    """
    time: Fraction = Fraction(0)
    """Presentation time in seconds."""
    name: str | None = None
    """The source's own file name without suffix; None in a video."""
    cut: bool = False
    """Whether a new shot is known to begin here: no flow is estimated across the cut."""
    repeats: bool = False
    """Whether it is known to show what the frame before it shows."""

    @property
    def stem(self) -> str:
        """The name for files made from this frame, without suffix: its own name, or its number."""
        return self.name or f"{self.index:06d}"

    def __repr__(self) -> str:
        marks = ", cut" * self.cut + ", repeats" * self.repeats
        return f"Frame({self.stem}, {_size(self.image.shape[:2])}, {float(self.time):.3f} s{marks})"


@dataclass(frozen=True, eq=False, repr=False)
class FlowField:
    """Flow at every pixel. `uv`: (2, H, W) float32 on the engine's device, u to the right and v down, in pixels."""

    uv: torch.Tensor
    valid: torch.Tensor | None = None
    """(H, W) bool, False where the flow is unknown; None if all of it is known."""

    @property
    def known(self) -> torch.Tensor:
        """(2, H, W): `uv`, with NaN where it is not valid."""
        return self.uv if self.valid is None else self.uv.where(self.valid, float("nan"))

    def numpy(self) -> np.ndarray:
        """(2, H, W) float32: `uv` as an array, with NaN in both planes where the flow is unknown or not finite."""
        return mark_unknown(self.uv.cpu().numpy(), None if self.valid is None else self.valid.cpu().numpy())

    def __repr__(self) -> str:
        unknown = "" if self.valid is None else ", with unknown pixels"
        return f"FlowField({_size(self.uv.shape[1:])}, {self.uv.device}{unknown})"


def _size(shape: Sequence[int]) -> str:
    height, width = shape
    return f"{width}x{height}"


def mark_unknown(uv: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """The flow `uv` (2, H, W), with NaN in both planes where one is not finite or `valid` (H, W) is False."""
    import numpy as np

    known = np.isfinite(uv).all(axis=0)
    if valid is not None:
        known &= valid
    return uv if known.all() else np.where(known, uv, np.nan)


@dataclass(frozen=True, eq=False, repr=False)
class FlowPair:
    """Two frames and the flow from `first` to `second`: second[y + v, x + u] shows what first[y, x] shows.

    `backward` is the flow from `second` to `first`, at the pixels of `second`.
    """

    first: Frame
    second: Frame
    forward: FlowField
    backward: FlowField | None = None
    at: Frame = field(kw_only=True)
    """The frame that the pair belongs to, one of the two, whose name and time it has, whichever way the flow points.

    For neighbouring frames it is the earlier one; for a frame and its key frame, the frame.
    """
    versus: FlowPair | None = field(default=None, kw_only=True)
    """The same pair with the flow of another method, to be drawn beside it."""

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All tensors of the flow, also that of another method."""
        fields = [self.forward, *([self.backward] if self.backward else [])]
        own = [tensor for field in fields for tensor in (field.uv, field.valid) if tensor is not None]
        return own + (self.versus.tensors if self.versus else [])

    @property
    def repeats(self) -> bool:
        """Whether the later frame is known to repeat the earlier one; for a frame with itself, the one before it."""
        return (self.second if self.at is self.first else self.first).repeats

    def reversed(self) -> FlowPair:
        """The same pair seen from `second`. Raises ValueError without backward flow."""
        if self.backward is None:
            raise ValueError("the pair has no backward flow")
        versus = self.versus and self.versus.reversed()
        return FlowPair(self.second, self.first, self.backward, self.forward, at=self.at, versus=versus)

    def __repr__(self) -> str:
        ways = "->" if self.backward is None else "<->"
        return f"FlowPair({self.first.stem} {ways} {self.second.stem}, {_size(self.forward.uv.shape[1:])})"


@dataclass(frozen=True, eq=False)
class FrameFlows:
    """A frame with all pairs that belong to it, possibly none."""

    frame: Frame
    pairs: tuple[FlowPair, ...] = ()


@dataclass(frozen=True)
class StreamInfo:
    """What is known about a stream before its frames come."""

    height: int
    width: int
    rate: Fraction
    """Nominal frames per second (25 for a folder of pictures)."""
    frames: int | None = None
    """Number of frames that will come, None if the container does not say."""
    aspect: Fraction = Fraction(1)
    """Sample aspect ratio: width over height of one pixel."""
    audio: bool = False
    alpha: bool = False
    """Whether the frames are RGBA."""
    bits: Literal[8, 16] = 8
    """Bits per channel: uint8 or uint16."""


class FrameSource(Protocol):
    """Frames in order, in constant memory. A context manager; leaving it ends all child processes."""

    @property
    def info(self) -> StreamInfo: ...
    @property
    def damage(self) -> str:
        """What is known of damage by now, once all frames have come; empty if there is none."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Closes:
    """A context manager that calls `close` at the end."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Sink(Protocol[Item]):
    """Takes items in order. `close` publishes the result, `abort` discards it; either one ends the sink."""

    def write(self, item: Item) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


def drain(items: Iterable[Item], sinks: Iterable[Sink[Item]]) -> int:
    """Writes all items to every sink and returns their number; closes the sinks, or aborts them if anything fails.

    A sink that cannot hold an item is aborted alone: its LimitError is raised when the others are closed, or at once if
    there are none.
    """
    sinks = list(sinks)
    limited: list[LimitError] = []

    def is_within(sink: Sink[Item], act: Callable[..., None], *arguments: Item) -> bool:
        try:
            act(*arguments)
        except LimitError as error:
            sink.abort()
            limited.append(error)
            return False
        return True

    count = 0
    try:
        for item in items:
            sinks = [sink for sink in sinks if is_within(sink, sink.write, item)]
            if limited and not sinks:
                break
            count += 1
        while sinks:
            is_within(sinks[0], sinks[0].close)
            sinks.pop(0)
    except BaseException:
        for sink in sinks:
            sink.abort()
        raise
    if limited:
        raise limited[0]
    return count


def open_all(places: Iterable[Place], open_sink: Callable[[Place], OpenSink]) -> list[OpenSink]:
    """The sinks that `open_sink` opens for the places; if one fails, those already open are aborted."""
    sinks: list[OpenSink] = []
    try:
        for place in places:
            sinks.append(open_sink(place))
    except BaseException:
        for sink in sinks:
            sink.abort()
        raise
    return sinks
