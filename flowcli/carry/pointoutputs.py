"""Where tracked points go: rows of tables, and trails over the frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TextIO

import numpy as np

from flowcli.carry.naming import Target
from flowcli.carry.stream import Carried
from flowcli.carry.tracking import Places
from flowcli.draw.points import PointTrails
from flowcli.motion.tables import Table, open_table
from flowcli.output.opening import Writer, open_frames
from flowcli.output.options import FrameOptions
from flowcli.pipeline import Background, Stage, Stopwatch
from flowcli.types import Frame, Sink, StreamInfo

DECIMALS = 3
"""Of coordinates that are carried, in pixels."""


@dataclass(frozen=True)
class Track:
    """Where a point is on a frame."""

    frame: int | str
    """The number of a frame of a video, or the name of a picture."""
    time: float
    """Seconds."""
    id: str
    x: float
    y: float
    visible: bool
    confidence: float
    """0 to 1."""
    key: bool
    """Whether it is given."""


def open_point_target(
    target: Target, info: StreamInfo, options: FrameOptions, stdout: TextIO, names: tuple[str, ...]
) -> Writer[Carried[Places]]:
    """A sink for carried points with these names. info: of the frames. Raises OutputError."""
    if target.what == "tracks":
        rows = open_table(Table(target.output.path, target.output.format), Track, options.overwrite, stdout)
        watch = Stopwatch()
        return Writer(target.output, Background(_Rows(rows, names), watch=watch), watch)
    frames = open_frames(target.output, replace(info, alpha=False, bits=8), options, stdout.buffer)
    trails = PointTrails(len(names))

    def draw(carried: Carried[Places]) -> Frame:
        frame, places = carried.frame, carried.value
        if frame.cut:
            trails.forget()
        place = np.full((len(names), 2), np.nan) if places is None else places.place.cpu().numpy()
        seen = np.zeros(len(names), bool) if places is None else places.seen.cpu().numpy()
        return replace(frame, image=trails.draw(frame.image, place, seen))

    drawn: Sink[Carried[Places]] = Stage(draw, frames.thread)
    return Writer(target.output, drawn, frames.watch)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Writes a row for each point that is known."""

    sink: Sink[Track]
    names: tuple[str, ...]

    def write(self, carried: Carried[Places]) -> None:
        frame, places = carried.frame, carried.value
        if places is None:
            return
        columns = (places.known, places.place, places.seen, places.confidence, places.given)
        for name, known, (x, y), seen, sure, given in zip(
            self.names, *(each.cpu().tolist() for each in columns), strict=True
        ):
            if known:
                place = (x, y) if given else (round(x, DECIMALS), round(y, DECIMALS))
                time = round(float(frame.time), 6)
                self.sink.write(Track(frame.name or frame.index, time, name, *place, seen, round(sure, 4), given))

    def close(self) -> None:
        self.sink.close()

    def abort(self) -> None:
        self.sink.abort()
