"""`flowcli bench`: the speed of this machine, compared with references measured in the same run."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowcli import models
from flowcli.cli.columns import print_columns
from flowcli.cli.grouping import grouped
from flowcli.cli.help import HelpedCommand
from flowcli.cli.options import (
    TalkOptions,
    batch_option,
    device_option,
    model_option,
    precision_option,
    refine_option,
    talk_options,
)
from flowcli.cli.streams import echo
from flowcli.cli.values import Value
from flowcli.cli.words import Choice
from flowcli.errors import FfmpegError, UsageError, WeightsError
from flowcli.options import EngineOptions
from flowcli.run import find_weights
from flowcli.weights import entries

if TYPE_CHECKING:
    from flowcli.bench import Setup
    from flowcli.bench.busy import Busy
    from flowcli.bench.clock import Spread
    from flowcli.bench.endurance import Endurance
    from flowcli.bench.kernels import Kernels
    from flowcli.bench.network import Network
    from flowcli.bench.pipeline import Pipeline
    from flowcli.weights.entries import Entry

PARTS = ("kernels", "network", "pipeline", "endurance")
SIDES = (32, 16384)
"""Smallest and largest side of a picture, pixels."""


def parse_size(text: str) -> tuple[int, int]:
    """Width and height: `1024x436`. Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if match is None or not all(SIDES[0] <= int(side) <= SIDES[1] for side in match.groups()):
        raise ValueError(f"WIDTHxHEIGHT, of {SIDES[0]} to {SIDES[1]} pixels each (1024x436)")
    return int(match[1]), int(match[2])


@click.command("bench", cls=HelpedCommand)
@click.argument("parts", type=Choice(PARTS), nargs=-1, metavar="[kernels|network|pipeline|endurance]...")
@click.option(
    "--size",
    type=Value(parse_size),
    default="1024x436",
    show_default=True,
    metavar="WIDTHxHEIGHT",
    help="Size of the pictures.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600),
    default=10,
    show_default=True,
    help="Time for each part; at least three rounds are measured.",
)
@click.option(
    "--frames", type=click.IntRange(min=3), default=40, show_default=True, help="Length of the clip for the pipeline."
)
@click.option(
    "--busy",
    type=click.IntRange(min=1),
    metavar="N",
    help="Measure the network also beside N programs that keep the cores busy; nothing else, if no part is named.",
)
@grouped("engine", EngineOptions, model_option, refine_option, device_option, precision_option, batch_option)
@talk_options
def command(
    parts: tuple[str, ...],
    size: tuple[int, int],
    seconds: float,
    frames: int,
    busy: int | None,
    engine: EngineOptions,
    talk: TalkOptions,
) -> None:
    """Measure the speed of the kernels, the network and the pipeline; by default, of all three.

    All alternatives take turns, round by round, so that other programs disturb them alike. The table shows medians and,
    in brackets, quartiles. Times are per pair of frames; for kernels, per call. A ratio says how many times as long the
    reference takes. Do not trust numbers from a busy machine: the first line shows the load.

    \b
    kernels   each operator on the inputs that networks give it at this size.
              Reference: plain torch, which runs without a compiler. Bound: the time that the arithmetic takes at
              the rate of a large float32 matrix product, or that reading and writing each byte once takes at the
              rate of a large copy, whichever is longer. Again: right after two calls, with warm caches.
    network   encode (one frame), decode (one pair), and whole, an engine step with both.
              References: float32 with contiguous tensors; plain torch kernels; OpenCV's DIS; on a GPU also
              without CUDA graphs and with batch 1, with the memory that torch reserves. Peak: the rate of a large
              convolution in the same precision. For PWC-Net at 1000x500 on a GPU also PTLFlow's published time
              on an RTX 3090, scaled by the memory bandwidths of the two cards.
    pipeline  `flowcli estimate` from a video of moving textures to a video of colours.
              Bound: the slowest stage alone, or the CPU time of all stages shared evenly by all cores.
              References: the flow alone, without video, of PWC-Net as most people run it (float32, contiguous,
              plain torch, both frames of a pair encoded, random weights) and of DIS.
    endurance the same with a clip of --frames, once: pairs per second and memory for each minute.

    With --busy, the network is measured alone and beside N programs that keep the cores busy, in turns. The ratio says
    how many times as long it takes as with a fair share of the cores.

    A network whose weights are not here (--model pwcnet) gets random ones, which hardly change its speed. For a network
    that makes frames (--model videoinr), encode is for a pair whose sides are a quarter of --size, decode for one frame
    of that size; the most memory that the process had is shown.

    \b
    Examples:
    flowcli bench                                                   everything, about two minutes
    flowcli bench network --model pwcnet --size 1920x1080 --device cuda
    flowcli bench pipeline --model dis --frames 200 --json
    flowcli bench endurance --frames 30000 --size 192x108           twenty minutes of video
    flowcli bench --busy 2                                          beside two spinning programs
    """
    width, height = size
    if _makes_frames(engine.model):
        _measure_frames(parts, engine, width, height, seconds, talk)
        return
    entry = _find(engine)
    chosen = [part for part in PARTS if part in parts] or list(PARTS[: 0 if busy else 3])
    if entry is not None and entry.file is None and ("network" in chosen or busy):
        raise UsageError(f"{entry.name} is no network", f"flowcli bench pipeline --model {entry.name}")

    from flowcli import bench

    with tempfile.TemporaryDirectory(prefix="flowcli-bench-") as folder:
        if entry is None:
            entry = bench.random_weights(engine.model, Path(folder))
            engine = dataclasses.replace(engine, model=str(entry.file))
        setup = bench.Setup(entry, engine, height, width, seconds, frames).settled()
        facts = bench.facts(setup)
        if not talk.json:
            _print_facts(facts)
        for part in chosen:
            if not talk.quiet:
                echo(f"measuring: {part}", err=True)
            facts[part] = _measured(part, setup, named=bool(parts), show=not talk.json)
        if busy:
            from flowcli.bench.busy import measure

            if not talk.quiet:
                echo("measuring: busy", err=True)
            result = measure(setup, busy)
            facts["busy"] = dataclasses.asdict(result)
            if not talk.json:
                _print_busy(result)
    if talk.json:
        echo(json.dumps(facts))


def _makes_frames(model: str) -> bool:
    """Whether that is a network that makes frames, or weights of one."""
    try:
        return model in models.frame_names() or entries.resolve(model).network in models.frame_names()
    except WeightsError:
        return False


def _measure_frames(
    parts: tuple[str, ...], engine: EngineOptions, width: int, height: int, seconds: float, talk: TalkOptions
) -> None:
    if set(parts) - {"network"}:
        raise UsageError(
            f"{engine.model} makes frames, of which only the network is measured",
            f"flowcli bench network --model {engine.model}",
        )

    from flowcli import bench
    from flowcli.bench import frames
    from flowcli.engine.precision import choose_device

    with tempfile.TemporaryDirectory(prefix="flowcli-bench-") as folder:
        entry = frames.find_entry(engine.model, Path(folder))
        device = choose_device(engine.device)
        facts = bench.conditions(entry, width, height, batch=1, device=device, precision="fp32")
        if not talk.json:
            _print_facts(facts)
        if not talk.quiet:
            echo("measuring: network", err=True)
        result = frames.measure(entry, engine.device, height, width, seconds)
    if talk.json:
        echo(json.dumps({**facts, "network": dataclasses.asdict(result)}))
    else:
        _print_network(result)


def _find(engine: EngineOptions) -> Entry | None:
    """The weights, or None for a network without weights here."""
    try:
        return find_weights(engine)
    except WeightsError:
        if engine.model in models.names():
            return None
        raise


def _measured(part: str, setup: Setup, *, named: bool, show: bool) -> dict[str, Any]:
    """The measurements, printed if `show`. Without ffmpeg the pipeline is skipped, or an error if it was `named`."""
    from flowcli.bench import endurance, kernels, network, pipeline

    result: Kernels | Network | Pipeline | Endurance
    if part == "kernels":
        result = kernels.measure(setup)
        if show:
            _print_kernels(result)
    elif part == "network":
        result = network.measure(setup)
        if show:
            _print_network(result)
    elif part == "endurance":
        result = endurance.measure(setup)
        if show:
            _print_endurance(result)
    else:
        try:
            pipeline.check()
        except FfmpegError as error:
            if named:
                raise
            echo(f"pipeline skipped: {error.message}", err=True)
            return {"skipped": error.message}
        result = pipeline.measure(setup)
        if show:
            _print_pipeline(result)
    return dataclasses.asdict(result)


def _print_facts(facts: dict[str, Any]) -> None:
    echo(
        f"{facts['model']}, {facts['width']}x{facts['height']}, batch {facts['batch']}, {facts['precision']}, "
        f"{facts['kernel']} kernels, on {facts['device']} ({facts['processor']}), "
        f"{facts['cores']} cores, {facts['threads']} threads, load {facts['load']}, torch {facts['versions']['torch']}"
    )


def _print_kernels(result: Kernels) -> None:
    echo(
        f"\nkernels: the machine copies {result.bytes_per_second / 1e9:.3g} GB/s "
        f"and does {result.flops_per_second / 1e9:.3g} GFLOP/s in float32"
    )
    rows = [
        (
            each.network,
            each.operator,
            each.settings,
            "x".join(map(str, each.shape)),
            each.dtype,
            str(each.calls),
            _ms(each.seconds),
            _number(1e3 * each.fallback.median),
            f"{each.ratio:.1f}",
            f"{_number(1e3 * each.bound)} {each.bound_by}",
            f"{each.of_bound:.0%}",
            _number(1e3 * each.again.median),
            f"{each.of_bound_again:.0%}",
        )
        for each in result.kernels
    ]
    names = ("network", "operator", "settings", "shape", "type")
    numbers = ("calls", "ms", "torch ms", "ratio", "bound ms", "reached", "again ms", "reached")
    print_columns((*names, *numbers), rows, left=len(names))


def _print_network(result: Network) -> None:
    echo(f"\nnetwork: a large convolution does {result.flops_per_second / 1e9:.4g} GFLOP/s")
    on_cpu = all(each.memory is None for each in result.rows)
    rows = []
    for each in result.rows:
        gflops = "" if each.gmacs is None else f"{2 * each.gmacs / each.seconds.median:.4g}"
        gmacs = "" if each.gmacs is None else f"{each.gmacs:.2f}"
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        share = "" if each.of_peak is None else f"{each.of_peak:.0%}"
        memory = [] if on_cpu else ["" if each.memory is None else f"{each.memory / 1e6:.0f}"]
        rows.append((each.what, _ms(each.seconds), ratio, gmacs, gflops, share, *memory))
    print_columns(("", "ms", "ratio", "GMAC", "GFLOP/s", "of peak", *([] if on_cpu else ["GPU MB"])), rows, left=1)
    if result.memory is not None:
        echo(f"{result.memory / 1e6:.0f} MB of memory at most, without the references")


def _print_pipeline(result: Pipeline) -> None:
    seconds = result.seconds
    echo(f"\npipeline: {result.frames} frames, {1 / seconds.median:.4g} pairs per second, {_ms(seconds)} ms each")
    rows = [
        (name, f"{1 / stage.together.median:.4g}", f"{1 / stage.alone.median:.4g}", _ms(stage.alone))
        for name, stage in result.stages.items()
    ]
    print_columns(("stage", "per second", "alone", "ms alone"), rows, left=1)
    echo(
        f"bound: {_number(1e3 * result.bound)} ms, {result.bound_by}; the pipeline takes {result.over_bound:.2f} times "
        f"as long, and {_number(1e3 * result.cpu_seconds.median)} ms of the CPU on {result.cores} cores"
    )
    for name, spread in result.references.items():
        echo(f"{name}: {_ms(spread)} ms for the flow alone, ratio {result.ratios[name]:.2f}")
    memory = "" if result.memory is None else f", {result.memory / 1e6:.0f} MB at most without ffmpeg"
    first = result.first_flow
    echo(
        f"the command: {first.median:.1f} s ({first.low:.1f}-{first.high:.1f}) for the first flow, "
        f"{result.command:.1f} s for the clip{memory}"
    )


def _print_busy(result: Busy) -> None:
    echo(f"\nbusy: {_ms(result.quiet)} ms, {_ms(result.beside)} ms beside {result.programs} spinning programs")
    echo(f"that is {result.over_fair:.2f} times a fair share of the cores ({result.fair:.2f} times as long)")


def _print_endurance(result: Endurance) -> None:
    echo("\nendurance")
    rows = [
        (str(number), f"{each.pairs_per_second:.1f}", "" if each.memory is None else f"{each.memory / 1e6:.0f}")
        for number, each in enumerate(result.minutes, 1)
    ]
    print_columns(("minute", "pairs per second", "MB"), rows, left=1)


def _ms(seconds: Spread) -> str:
    low, median, high = (_number(1e3 * each) for each in (seconds.low, seconds.median, seconds.high))
    return f"{median} ({low}-{high})"


def _number(value: float) -> str:
    """About three digits."""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"
