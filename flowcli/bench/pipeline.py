"""What `flowcli estimate` does with a video, from decoding to encoding, beside what its stages can do alone."""

from __future__ import annotations

import io
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Literal

import torch

from flowcli import api
from flowcli.bench import Setup, cores, plain, scene
from flowcli.bench.clock import STREAM, Call, Clock, Spread, rounds
from flowcli.bench.network import steps, turning
from flowcli.classic import dis
from flowcli.errors import FfmpegError, FlowcliError
from flowcli.output.naming import name_outputs
from flowcli.output.opening import Writer, open_flows
from flowcli.output.options import OutputOptions
from flowcli.types import FlowPair, StreamInfo, drain

STAGES = ("decode", "network", "encode")
PWCNET, DIS = "PWC-Net, plain torch", "OpenCV DIS"
_WHILE = 1.0
"""Seconds that a stage alone, or a reference, is watched for in each round."""
_POLL = 0.02
"""Seconds between looks at the memory of a process."""


@dataclass(frozen=True)
class Stage:
    """Seconds that a stage is busy with a frame, among the others and when it is alone."""

    together: Spread
    alone: Spread


@dataclass(frozen=True)
class Pipeline:
    """Seconds are those of one pair, from the first flow to the end of the video, if nothing else is said."""

    frames: int
    seconds: Spread
    cpu_seconds: Spread
    """Of all stages and cores together, ffmpeg's included."""
    cores: int
    stages: Mapping[str, Stage]
    bound: float
    """Seconds of the slowest stage alone, or of all CPU time if the cores shared it evenly, whichever is more."""
    bound_by: str
    over_bound: float
    references: Mapping[str, Spread]
    """Seconds that other methods take for the flow alone."""
    ratios: Mapping[str, float]
    """How many times as long as this whole pipeline that is."""
    first_flow: Spread
    """Seconds from the start of the command to its end if it gets two frames."""
    command: float
    """Seconds if it gets the whole clip."""
    memory: int | None
    """Bytes that it has taken at most then, ffmpeg's left out; None where the system does not tell."""


def check() -> None:
    """Raises FfmpegError if there is no ffmpeg to read and write videos with."""
    try:
        from flowcli.video import ffmpeg_path
    except ModuleNotFoundError as error:
        raise FfmpegError(f"no ffmpeg: {error}", "pip install ffmpeg-python imageio-ffmpeg") from error
    ffmpeg_path()


def measure(setup: Setup) -> Pipeline:
    """`flowcli estimate` on a clip that is made for it. Raises WeightsError, DeviceError, FfmpegError."""
    check()
    with tempfile.TemporaryDirectory(prefix="flowcli-bench-") as folder:
        return _measure(setup, Path(folder))


def _measure(setup: Setup, folder: Path) -> Pipeline:
    from flowcli.video import open_source

    engine = setup.open_engine()
    clock = Clock(engine.device, STREAM)
    length = max(setup.frames, 3 * engine.batch)
    clip = write_clip(replace(setup, frames=length), folder)
    command, peak_memory = _run_command(setup, clip)
    with open_source(str(clip), stop=3) as source:
        info, frames = source.info, list(source)
    pairs = list(islice(engine.pairs(turning(frames)), 4))
    references: dict[str, Call] = {
        PWCNET: plain.pwcnet(frames[0], frames[1], engine.device),
        DIS: lambda: dis(frames[0].image, frames[1].image),
    }
    network = steps(engine, frames)
    for warm_up in (network, *references.values()):
        warm_up()

    runs: list[_Run] = []
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in rounds(setup.seconds):
        runs.append(_run(setup, clip))
        taken["decode"].append(_decode(clip))
        taken["network"].append(_mean(clock, network) / engine.batch)
        taken["encode"].append(_encode(pairs, info, length - 1, clip))
        taken["first flow"].append(_run_command(setup, clip, "--stop", "2")[0])
        for name, call in references.items():
            taken[name].append(_mean(clock, call))
    spreads = {name: Spread.of(values) for name, values in taken.items()}
    seconds, cpu = Spread.of([run.seconds for run in runs]), Spread.of([run.cpu_seconds for run in runs])
    bounds = {f"{stage} alone": spreads[stage].median for stage in STAGES}
    bounds["CPU time"] = cpu.median / cores()
    bound_by = max(bounds, key=lambda name: bounds[name])
    return Pipeline(
        length,
        seconds,
        cpu,
        cores(),
        {stage: Stage(Spread.of([run.stages[stage] for run in runs]), spreads[stage]) for stage in STAGES},
        bounds[bound_by],
        bound_by,
        seconds.median / bounds[bound_by],
        {name: spreads[name] for name in references},
        {name: spreads[name].median / seconds.median for name in references},
        spreads["first flow"],
        command,
        peak_memory,
    )


def write_clip(setup: Setup, folder: Path) -> Path:
    """A video of moving textures, as the setup wants it."""
    from flowcli.video import open_video_sink

    clip = folder / "clip.mp4"
    info = StreamInfo(setup.height, setup.width, scene.RATE)
    drain(scene.frames(setup.height, setup.width, setup.frames), [open_video_sink(clip, info)])
    return clip


@dataclass(frozen=True)
class _Run:
    """Seconds, and of the CPU, of one pair; those that each stage was busy with a frame."""

    seconds: float
    cpu_seconds: float
    stages: Mapping[str, float]


def _run(setup: Setup, clip: Path) -> _Run:
    """The pipeline once, as `flowcli estimate` has it, in this process."""
    from flowcli.video import open_source

    engine = setup.open_engine()
    marks: list[tuple[float, float]] = []

    def marked(pairs: Iterator[FlowPair]) -> Iterator[FlowPair]:
        for pair in pairs:
            if not marks:
                marks.append(_now())
            yield pair

    with (
        open_source(str(clip)) as source,
        api.open_run(source, clip.name, setup.entry, setup.engine, engine) as run,
    ):
        colours = open_colours(source.info, clip)
        pairs = drain(marked(run.pairs), [colours])
    (began, cpu_began), (ended, cpu_ended) = marks[0], _now()
    # What the first step made was there at the first mark.
    pairs -= max(1, engine.batch - 1)
    watches = {"decode": run.decode, "network": engine.watch, "encode": colours.watch}
    stages = {stage: watch.seconds / watch.items for stage, watch in watches.items()}
    return _Run((ended - began) / pairs, (cpu_ended - cpu_began) / pairs, stages)


def _now() -> tuple[float, float]:
    """Seconds on the clock, and of the CPU, in this process and the children that it has waited for."""
    return time.perf_counter(), sum(os.times()[:4])


def open_colours(info: StreamInfo, clip: Path) -> Writer[FlowPair]:
    """The output of an estimate: colours, as a video beside the clip."""
    options = OutputOptions((str(clip.with_stem("flow")),), overwrite=True)
    (output,) = name_outputs(options, direction="forward")
    return open_flows(output, info, options, io.BytesIO())


def _decode(clip: Path) -> float:
    """Seconds for a frame, with nothing to do but to read."""
    from flowcli.video import open_source

    with open_source(str(clip)) as source:
        frames = iter(source)
        next(frames)
        began = time.perf_counter()
        number = sum(1 for _ in frames)
        return (time.perf_counter() - began) / number


def _encode(pairs: Sequence[FlowPair], info: StreamInfo, number: int, clip: Path) -> float:
    """Seconds for a pair, with nothing to do but to draw and write."""
    colours = open_colours(info, clip)
    began = time.perf_counter()
    drain(islice(_again(pairs), number), [colours])
    return (time.perf_counter() - began) / number


def _again(pairs: Sequence[FlowPair]) -> Iterator[FlowPair]:
    for index in count():
        pair = pairs[index % len(pairs)]
        first, second = (
            replace(frame, index=index + late, time=(index + late) / scene.RATE)
            for late, frame in enumerate((pair.first, pair.second))
        )
        yield FlowPair(first, second, pair.forward, at=first)


def _mean(clock: Clock, call: Call) -> float:
    """Seconds that the call takes, the mean of as many as fill _WHILE."""
    taken: list[float] = []
    began = time.perf_counter()
    with torch.inference_mode():
        while not taken or time.perf_counter() - began < _WHILE:
            taken.append(clock.seconds(call))
    return statistics.fmean(taken)


def _run_command(setup: Setup, clip: Path, *options: str) -> tuple[float, int | None]:
    """Seconds that `flowcli estimate` takes in a process of its own, and the most memory that it had."""
    engine = setup.engine
    chosen = ["--model", engine.model, "--device", engine.device, "--precision", engine.precision, *options]
    if engine.refine is not None:
        chosen += ["--refine", str(engine.refine)]
    if engine.batch is not None:
        chosen += ["--batch", str(engine.batch)]
    words = ["estimate", str(clip), "--out", str(clip.with_stem("flow")), "-y", "-q", *chosen]
    peak: int | None = None
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "flowcli", *words], stderr=subprocess.PIPE, text=True) as process:
        try:
            while process.poll() is None:
                peak = memory(process.pid, "VmHWM") or peak
                time.sleep(_POLL)
        except BaseException:
            process.terminate()
            raise
        seconds = time.perf_counter() - began
        assert process.stderr is not None
        if process.returncode:
            said = process.stderr.read().strip().splitlines() or [f"it ended with {process.returncode}"]
            telling = next((line for line in said if line.startswith("error: ")), said[-1])
            raise FlowcliError(f"flowcli estimate failed: {telling.removeprefix('error: ')}", "run it by itself")
    return seconds, peak


def memory(process: int, kind: Literal["VmRSS", "VmHWM"]) -> int | None:
    """Bytes that it has, or has had at most, where there is /proc."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(rf"{kind}:\s*(\d+) kB", status)
    return int(found[1]) * 1024 if found else None
