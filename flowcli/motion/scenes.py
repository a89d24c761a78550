"""The shots of a video as a list: rows of a table, or a cut list that editing programs read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TextIO

from flowcli.atomic import Part
from flowcli.motion.stats import Row
from flowcli.motion.tables import Table, open_table
from flowcli.types import drain

DIGITS = 6
"""Decimals of seconds."""


@dataclass(frozen=True)
class Scene:
    """A shot: from a frame at which the picture changes abruptly, or the first one, to the frame before the next."""

    scene: int
    """Counted from 1."""
    start: int
    """Number of the first frame, as in the source."""
    end: int
    """Number of the last frame."""
    frames: int
    start_time: float
    """Seconds at which the first frame is shown."""
    end_time: float
    """Seconds at which the next shot begins, or the last frame ends."""


@dataclass(frozen=True, kw_only=True)
class NamedScene(Scene):
    """A shot of one of several inputs."""

    input: str


class SceneList:
    """Collects the shots of the rows of one input that pass; memory grows by one entry for each shot.

    source: the input's name. rate: frames per second.
    """

    def __init__(self, source: str, rate: Fraction) -> None:
        self.source, self.rate = source, rate
        self.scenes: list[Scene] = []
        """Those that have begun; the last one grows."""

    def over(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows, each after it is noted."""
        for row in rows:
            end = round(row.time + float(1 / self.rate), DIGITS)
            if row.cut or not self.scenes:
                if self.scenes:
                    self.scenes[-1] = replace(self.scenes[-1], end_time=row.time)
                self.scenes.append(Scene(len(self.scenes) + 1, row.frame, row.frame, 1, row.time, end))
            else:
                last = self.scenes[-1]
                self.scenes[-1] = replace(last, end=row.frame, frames=last.frames + 1, end_time=end)
            yield row


def write_scenes(table: Table, lists: Sequence[SceneList], *, overwrite: bool) -> None:
    """Writes the shots of all inputs to a file, which appears whole; a cut list is of one input. Raises OutputError."""
    assert table.path is not None
    if table.kind == "edl":
        (found,) = lists
        with Part(table.path, overwrite) as part, part.path.open("w", encoding="utf-8", newline="\n") as file:
            write_edl(file, found.scenes, Path(found.source).name, found.rate)
    elif len(lists) == 1:
        drain(lists[0].scenes, [open_table(table, Scene, overwrite, sys.stdout)])
    else:
        named = (NamedScene(**vars(scene), input=each.source) for each in lists for scene in each.scenes)
        drain(named, [open_table(table, NamedScene, overwrite, sys.stdout)])


def write_edl(file: TextIO, scenes: Sequence[Scene], clip: str, rate: Fraction) -> None:
    """Writes a cut list, CMX 3600, without drop frames: an event for each shot, in its place. clip: the file's name.

    Time codes count frames at the nearest whole rate, as editing programs do. Source: SMPTE 258M.
    """
    whole = max(1, round(rate))
    file.write(f"TITLE: {clip}\nFCM: NON-DROP FRAME\n")
    for each in scenes:
        first, end = (_code(frame, whole) for frame in (each.start, each.end + 1))
        file.write(f"\n{each.scene:03d}  AX       V     C        {first} {end} {first} {end}\n")
        file.write(f"* FROM CLIP NAME: {clip}\n")


def _code(frame: int, rate: int) -> str:
    """hh:mm:ss:ff."""
    seconds, frames = divmod(frame, rate)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frames:02d}"
