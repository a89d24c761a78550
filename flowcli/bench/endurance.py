"""Speed and memory over a long video, minute by minute."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flowcli.bench import Setup, pipeline, scene
from flowcli.errors import InputError
from flowcli.run import open_run
from flowcli.types import FlowPair, drain

MINUTE = 60 * int(scene.RATE)
"""Frames in a minute of the clip."""


@dataclass(frozen=True)
class Minute:
    """Measurements of one minute of video."""

    pairs_per_second: float
    memory: int | None
    """Memory of the process at its end in bytes, without ffmpeg; None if the system does not tell."""


@dataclass(frozen=True)
class Endurance:
    minutes: list[Minute]
    """All whole minutes; the first one leaves out the first pair."""


def measure(setup: Setup) -> Endurance:
    """Measures `flowcli estimate` on a clip of `setup.frames` frames, once.

    Raises InputError for fewer than two minutes of frames, WeightsError, DeviceError, FfmpegError.
    """
    from flowcli.video import open_source

    if setup.frames < 2 * MINUTE + 2:
        raise InputError(f"{setup.frames} frames are less than two minutes", f"--frames {20 * MINUTE}")
    pipeline.check()
    minutes: list[Minute] = []
    with tempfile.TemporaryDirectory(prefix="flowcli-bench-") as folder:
        clip = pipeline.write_clip(setup, Path(folder))
        with open_source(str(clip)) as source, open_run(source, clip.name, setup.entry, setup.engine) as run:
            colours = pipeline.open_colours(source.info, clip)
            drain(_watched(run.pairs, minutes), [colours])
    return Endurance(minutes)


def _watched(pairs: Iterator[FlowPair], minutes: list[Minute]) -> Iterator[FlowPair]:
    began = 0.0
    for number, pair in enumerate(pairs):
        if number and number % MINUTE == 0:
            minutes.append(Minute(MINUTE / (time.perf_counter() - began), pipeline.memory(os.getpid(), "VmRSS")))
        if number % MINUTE == 0:
            began = time.perf_counter()
        yield pair
