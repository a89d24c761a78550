"""The speed of `flowcli estimate` on a video, compared with the speed of each stage alone."""

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

import flowcli
from flowcli.bench import Setup, cores, plain, scene
from flowcli.bench.clock import STREAM, Call, Clock, Spread, rounds
from flowcli.bench.network import steps, turning
from flowcli.classic import dis
from flowcli.environment import for_children
from flowcli.errors import FfmpegError, FlowcliError
from flowcli.output.naming import name_outputs
from flowcli.output.opening import Writer, open_flows
from flowcli.output.options import OutputOptions
from flowcli.run import open_run
from flowcli.types import FlowPair, StreamInfo, drain

STAGES = ("decode", "network", "encode")
PWCNET, DIS = "PWC-Net, plain torch", "OpenCV DIS"
_WHILE = 1.0
"""Seconds for which a single stage or a reference is measured in each round."""
_POLL = 0.02
"""Seconds between readings of a process's memory."""


@dataclass(frozen=True)
class Stage:
    """Seconds per frame of a stage, together with the other stages and alone."""

    together: Spread
    alone: Spread


@dataclass(frozen=True)
class Pipeline:
    """Results. Seconds are per pair, from the first flow to the end of the video, unless stated otherwise."""

    frames: int
    seconds: Spread
    cpu_seconds: Spread
    """CPU time of all stages on all cores, with ffmpeg."""
    cores: int
    stages: Mapping[str, Stage]
    bound: float
    """Seconds of the slowest stage alone, or all CPU time shared evenly by the cores, whichever is larger."""
    bound_by: str
    over_bound: float
    references: Mapping[str, Spread]
    """Seconds of other methods, for the flow alone."""
    ratios: Mapping[str, float]
    """The same as multiples of the time of this whole pipeline."""
    first_flow: Spread
    """Seconds that the command takes for two frames, from start to end."""
    command: float
    """Seconds that it takes for the whole clip."""
    memory: int | None
    """Its peak memory in bytes, without ffmpeg; None if the system does not tell."""


def check() -> None:
    """Raises FfmpegError if there is no ffmpeg to read and write videos with."""
    try:
        from flowcli.video import ffmpeg_path
    except ModuleNotFoundError as error:
        raise FfmpegError(f"no ffmpeg: {error}", "pip install ffmpeg-python imageio-ffmpeg") from error
    ffmpeg_path()


def measure(setup: Setup) -> Pipeline:
    """Measures `flowcli estimate` on a generated clip. Raises WeightsError, DeviceError, FfmpegError."""
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
    """Writes a video of moving textures in the setup's size and length."""
    from flowcli.video import open_video_sink

    clip = folder / "clip.mp4"
    info = StreamInfo(setup.height, setup.width, scene.RATE)
    drain(scene.frames(setup.height, setup.width, setup.frames), [open_video_sink(clip, info)])
    return clip


@dataclass(frozen=True)
class _Run:
    """Seconds and CPU seconds per pair, and busy seconds of each stage per frame."""

    seconds: float
    cpu_seconds: float
    stages: Mapping[str, float]


def _run(setup: Setup, clip: Path) -> _Run:
    """Runs the pipeline of `flowcli estimate` once, in this process."""
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
        open_run(source, clip.name, setup.entry, setup.engine, engine) as run,
    ):
        colours = open_colours(source.info, clip)
        pairs = drain(marked(run.pairs), [colours])
    (began, cpu_began), (ended, cpu_ended) = marks[0], _now()
    # The pairs of the first step were ready at the first mark.
    pairs -= max(1, engine.batch - 1)
    watches = {"decode": run.decode, "network": engine.watch, "encode": colours.watch}
    stages = {stage: watch.seconds / watch.items for stage, watch in watches.items()}
    return _Run((ended - began) / pairs, (cpu_ended - cpu_began) / pairs, stages)


def _now() -> tuple[float, float]:
    """Clock and CPU seconds of this process, including finished child processes."""
    return time.perf_counter(), sum(os.times()[:4])


def open_colours(info: StreamInfo, clip: Path) -> Writer[FlowPair]:
    """The output of an estimate: a video of colours beside the clip."""
    options = OutputOptions((str(clip.with_stem("flow")),), overwrite=True)
    (output,) = name_outputs(options, direction="forward")
    return open_flows(output, info, options, io.BytesIO())


def _decode(clip: Path) -> float:
    """Seconds per frame of reading alone."""
    from flowcli.video import open_source

    with open_source(str(clip)) as source:
        frames = iter(source)
        next(frames)
        began = time.perf_counter()
        number = sum(1 for _ in frames)
        return (time.perf_counter() - began) / number


def _encode(pairs: Sequence[FlowPair], info: StreamInfo, number: int, clip: Path) -> float:
    """Seconds per pair of drawing and writing alone."""
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
    """Mean seconds of the call, repeated for _WHILE seconds."""
    taken: list[float] = []
    began = time.perf_counter()
    with torch.inference_mode():
        while not taken or time.perf_counter() - began < _WHILE:
            taken.append(clock.seconds(call))
    return statistics.fmean(taken)


def _run_command(setup: Setup, clip: Path, *options: str) -> tuple[float, int | None]:
    """Seconds that `flowcli estimate` takes in another process, and its peak memory."""
    engine = setup.engine
    chosen = ["--model", engine.model, "--device", engine.device, "--precision", engine.precision, *options]
    if engine.refine is not None:
        chosen += ["--refine", str(engine.refine)]
    if engine.batch is not None:
        chosen += ["--batch", str(engine.batch)]
    words = ["estimate", str(clip), "--out", str(clip.with_stem("flow")), "-y", "-q", *chosen]
    peak: int | None = None
    began = time.perf_counter()
    # -P: a module in the current folder is not ours.
    program = [sys.executable, "-P", "-m", "flowcli", *words]
    environment = for_children()
    path = [str(Path(flowcli.__file__).parent.parent), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True, env=environment) as process:
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
    """Current or peak memory of a process in bytes, None without /proc."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(rf"{kind}:\s*(\d+) kB", status)
    return int(found[1]) * 1024 if found else None
