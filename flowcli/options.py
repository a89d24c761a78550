"""What is read, and how flow is estimated: the options that commands and functions share."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from flowcli.errors import UsageError
from flowcli.types import Cuts, Direction, Duplicates, Gaps, Last, Precision


@dataclass(frozen=True)
class SourceOptions:
    """The input; `input` and `second` as for `open_source`. Raises UsageError for what contradicts each other."""

    input: str = ""
    second: str | None = None
    start: int | Fraction | None = None
    stop: int | Fraction | None = None
    every: int = 1
    strict: bool = False
    """Damage is an error."""
    gaps: Gaps = "skip"
    deep: bool = False
    """Frames are uint16 where the source has more than 8 bits."""
    deinterlace: bool = False
    """Make whole pictures of interlaced ones."""
    sample_fps: Fraction | None = None
    """How many frames per second are taken, by their times; None for all."""
    short_side: int | None = None
    """The shorter side that frames get before anything else is done; `resize`: or width and height."""
    resize: tuple[int, int] | None = None

    first_frame: str | None = None
    """What the first frame of a movie is called, a number; those that follow count on, in as many digits."""

    def __post_init__(self) -> None:
        if self.sample_fps is not None and self.every > 1:
            raise UsageError("--sample-fps and --every contradict each other", "leave one out")
        if self.short_side is not None and self.resize is not None:
            raise UsageError("--short-side and --resize contradict each other", "leave one out")
        start, stop = self.start, self.stop
        if stop is not None and (stop <= 0 or (start is not None and type(start) is type(stop) and start >= stop)):
            raise UsageError(
                "--stop is not after --start", "stop is exclusive: --start 10 --stop 12 takes frames 10 and 11"
            )


@dataclass(frozen=True)
class EngineOptions:
    """How flow is estimated."""

    model: str = "rpwc"
    refine: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    max_side: int | None = None
    direction: Direction = "forward"
    last: Last = "drop"
    variational: bool = False
    weights: str | None = None
    """A file of weights for the network `model`, as published, or as saved by `flowcli train`."""
    tile: int | None = None
    """Side of tiles in pixels; 0 for whole frames, None for the engine's choice."""
    batch: int | None = None
    """Frames per step of the network; None for the engine's choice."""
    graphs: bool = True
    """On a GPU, record repeated steps as CUDA graphs and replay them."""
    cuts: Cuts = "auto"
    duplicates: Duplicates = "hold"
    versus: str | None = None
    """Another model, or file of weights, whose flow each pair has beside it."""
