"""The motion in a video as numbers: a row for each frame, and a summary."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields

import numpy as np
import torch
from torch import Tensor

from flowcli.geometry import backward_warp, consistency
from flowcli.metrics import lengths
from flowcli.motion.camera import fit_camera
from flowcli.shots import DUPLICATE, Change, compare
from flowcli.types import FlowPair, Frame

MOVING = 0.5
"""Pixels per frame: slower pixels count as still."""
OWN = 0.05
"""A pixel belongs to an object if its motion differs from the camera's by more than this share of its speed."""
POINTS = 2**14
"""Most pixels, on a regular grid, from which percentiles, camera and objects are computed."""
DIGITS = 6
"""Decimals of the numbers in a row."""


@dataclass(frozen=True)
class Row:
    """The motion from the frame before to this one; None is unknown. Speeds are in pixels per frame.

    The first frame has none; nor has the first frame of each shot, where shots are kept apart.
    """

    frame: int
    """Number in the source, counted from 0."""
    time: float
    """Seconds."""
    cut: bool
    """Whether a shot begins here: cut_score above 0.5."""
    cut_score: float | None
    """0 to 1."""
    duplicate: float | None
    """1 if the frame repeats the one before, 0 if it changes as much as usual."""
    speed_mean: float | None = None
    speed_median: float | None = None
    speed_p95: float | None = None
    speed_max: float | None = None
    direction: float | None = None
    """Degrees of the mean motion, -180 to 180: 0 is right, 90 down."""
    coherence: float | None = None
    """Length of the mean motion over the mean speed: 1 if everything moves one way, 0 if no direction prevails."""
    moving_area: float | None = None
    """Share of pixels faster than MOVING."""
    pan: float | None = None
    """Pixels to the right by which the camera moves the picture's centre."""
    tilt: float | None = None
    """The same, down."""
    zoom: float | None = None
    """Factor by which the camera enlarges the picture."""
    roll: float | None = None
    """Degrees by which the camera turns the picture, clockwise as seen on the screen."""
    object_speed: float | None = None
    """Mean speed after the camera's motion is subtracted."""
    object_area: float | None = None
    """Share of pixels whose remaining speed exceeds MOVING, and OWN times their whole speed."""
    fb_error: float | None = None
    """Mean distance between a pixel and where forward and backward flow lead it, if it stays in the picture."""
    occluded: float | None = None
    """Share of pixels that are hidden in the other frame, judged by that distance."""


RANGED = tuple(each.name for each in fields(Row) if each.name not in ("frame", "time", "cut", "direction"))
"""Columns of a Row whose range is summarised."""


@dataclass(frozen=True, kw_only=True)
class NamedRow(Row):
    """A row of one of several inputs."""

    input: str


class Meter:
    """Makes rows: frames pass through `watch` on their way to the engine, and its pairs through `rows`.

    cuts: marks cuts in the frames, so that no flow is estimated across them.
    """

    def __init__(self, cuts: bool = False) -> None:
        self._cuts = cuts
        self._changes: deque[Change] = deque()

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames, for the engine; with `cuts`, the first frame of each shot is marked."""
        for change in compare(frames):
            self._changes.append(change)
            yield change.marked if self._cuts else change.frame

    def rows(self, pairs: Iterable[FlowPair]) -> Iterator[Row]:
        """A row for each watched frame. pairs: the forward flow between them, in order."""
        for pair in pairs:
            yield from self.until(pair)
        yield from self.rest()

    def until(self, pair: FlowPair) -> Iterator[Row]:
        """The rows of watched frames up to the second of this pair, whose motion the last one has."""
        while self._changes[0].frame.index != pair.second.index:
            yield _row(self._changes.popleft())
        yield _row(self._changes.popleft(), pair)

    def rest(self) -> Iterator[Row]:
        """The rows of the frames that are left after the last pair."""
        while self._changes:
            yield _row(self._changes.popleft())


@dataclass
class Range:
    """Sum, count, minimum and maximum of a column, over the rows where it is known; `at`: the maximum's frame."""

    total: float = 0.0
    count: int = 0
    least: float = math.inf
    most: float = -math.inf
    at: int = 0

    def add(self, value: float, frame: int) -> None:
        self.total += value
        self.count += 1
        self.least = min(self.least, value)
        if value > self.most:
            self.most, self.at = value, frame

    @property
    def mean(self) -> float:
        return self.total / self.count


@dataclass
class Summary:
    """Figures of a whole video, from its rows."""

    frames: int = 0
    measured: int = 0
    """Frames with motion."""
    cuts: list[int] = field(default_factory=list)
    """Frames at which a shot begins."""
    duplicates: list[int] = field(default_factory=list)
    """Frames that repeat the one before."""
    ranges: dict[str, Range] = field(default_factory=dict)
    """By column, without columns that are never known and without `direction`, which has no mean."""
    _drift: complex = 0j

    def over(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows, each after it is counted."""
        for row in rows:
            self._add(row)
            yield row

    @property
    def direction(self) -> float | None:
        """Degrees of the mean motion of all frames, None without motion."""
        return math.degrees(math.atan2(self._drift.imag, self._drift.real)) if self._drift else None

    @property
    def coherence(self) -> float | None:
        """Length of the mean motion of all frames over their mean speed, 0 to 1."""
        speed = self.ranges.get("speed_mean")
        return abs(self._drift) / speed.total if speed and speed.total else None

    def _add(self, row: Row) -> None:
        self.frames += 1
        self.measured += row.speed_mean is not None
        if row.cut:
            self.cuts.append(row.frame)
        if row.duplicate is not None and row.duplicate > DUPLICATE:
            self.duplicates.append(row.frame)
        for name in RANGED:
            value = getattr(row, name)
            if value is not None:
                self.ranges.setdefault(name, Range()).add(value, row.frame)
        if row.direction is not None and row.coherence is not None and row.speed_mean is not None:
            angle = math.radians(row.direction)
            self._drift += row.speed_mean * row.coherence * complex(math.cos(angle), math.sin(angle))


def _row(change: Change, pair: FlowPair | None = None) -> Row:
    motion = {} if pair is None else measure(pair)
    known = {name: round(value, DIGITS) for name, value in motion.items() if math.isfinite(value)}
    frame = change.frame
    scores = [score if score is None else round(score, DIGITS) for score in (change.cut_score, change.duplicate)]
    return Row(frame.index, round(float(frame.time), DIGITS), change.cut, *scores, **known)


def measure(pair: FlowPair) -> dict[str, float]:
    """Columns of a Row by name, without those that are unknown or with NaN for them."""
    uv = pair.forward.known
    found = _speeds(uv)
    if not found:
        return {}
    found |= _against_camera(uv)
    if pair.backward is not None:
        found |= _check(uv, pair.backward.known)
    return found


def _speeds(uv: Tensor) -> dict[str, float]:
    speed = lengths(uv)
    known = speed.isfinite()
    uv, speed = uv.where(known, 0), speed.where(known, 0)
    sums = (known.sum(), speed.sum(), (speed > MOVING).sum(), *uv.sum((1, 2)), speed.max())
    # One transfer for all, since each waits for the device.
    count, total, moving, right, down, most = torch.stack([each.double() for each in sums]).tolist()
    if not count:
        return {}
    return {
        "speed_mean": total / count,
        "speed_max": most,
        "moving_area": moving / count,
        "direction": math.degrees(math.atan2(down, right)) if total else math.nan,
        "coherence": math.hypot(right, down) / total if total else math.nan,
    }


def _against_camera(uv: Tensor) -> dict[str, float]:
    height, width = uv.shape[1:]
    step = math.ceil(math.sqrt(height * width / POINTS))
    top, left = (min(step, side) // 2 for side in (height, width))
    u, v = uv[:, top::step, left::step].cpu().double().numpy()
    y, x = np.mgrid[top:height:step, left:width:step]
    known = np.isfinite(u) & np.isfinite(v)
    flow = (u + 1j * v)[known]
    if not len(flow):
        return {}
    positions = (x - (width - 1) / 2 + 1j * (y - (height - 1) / 2))[known]
    speed = np.abs(flow)
    median, high = np.percentile(speed, (50, 95)).tolist()
    camera = fit_camera(positions, flow)
    own = np.abs(flow - camera.flow(positions))
    return {
        "speed_median": median,
        "speed_p95": high,
        **asdict(camera),
        "object_speed": float(own.mean()),
        "object_area": float(np.mean((own > MOVING) & (own > OWN * speed))),
    }


def _check(forward: Tensor, backward: Tensor) -> dict[str, float]:
    forward, backward = forward[None], backward[None]
    back, inside = backward_warp(backward, forward, margin=0.5)
    errors = lengths(forward + back)[inside[:, 0]]
    occluded = consistency(forward, backward).float().mean()
    return {"fb_error": errors[errors.isfinite()].mean().item(), "occluded": occluded.item()}
