"""`flowcli propagate --net`: a network of the user, run on key frames, and what it says carried to all frames."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from flowcli.carry.naming import Target
from flowcli.carry.networks import NetOptions, WhenNeeded, open_network
from flowcli.carry.run import CarryOptions
from flowcli.cli.carried import described_carrying
from flowcli.cli.columns import print_columns
from flowcli.cli.grouping import grouped
from flowcli.cli.options import TalkOptions
from flowcli.cli.progress import counted
from flowcli.cli.streams import echo
from flowcli.cli.values import Value
from flowcli.cli.words import Choice
from flowcli.cli.writing import told, write_all
from flowcli.engine.schedule import Keys
from flowcli.errors import UsageError
from flowcli.nets.convention import PRESETS
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.options import FrameOptions
from flowcli.run import find_weights, open_input
from flowcli.types import open_all

if TYPE_CHECKING:
    from flowcli.carry.networks import NetRun


def parse_interval(text: str) -> int | WhenNeeded:
    """A number of frames, `auto`, or `auto` with a percentage. Raises ValueError."""
    if text.isdecimal() and int(text):
        return int(text)
    if text == "auto":
        return WhenNeeded()
    number = text.removeprefix("auto:").removesuffix("%")
    if text.startswith("auto:") and number.isdecimal() and 0 < int(number) < 100:
        return WhenNeeded(int(number) / 100)
    raise ValueError("a number of frames above 0, auto, or auto with a percentage (auto:15)")


net_options = grouped(
    "network",
    NetOptions,
    click.option(
        "--net",
        metavar="NET",
        help="Your own network: FILE.onnx, FILE.pt2, two parts as A.onnx,B.onnx, or package.module:function.",
    ),
    click.option(
        "--split",
        metavar="NAME[,NAME]",
        help="Tensors at which one ONNX file is cut in two: they are carried, and the second part runs on every frame.",
    ),
    click.option(
        "--every",
        "interval",
        type=Value(parse_interval),
        default=str(NetOptions.interval),
        show_default=True,
        metavar="N|auto[:PERCENT]",
        help="Run the network on every Nth frame; with auto, when 20 % (or PERCENT) of a frame is not visible in the "
        "last one that it ran on, and at the latest after --ahead frames.",
    ),
    click.option(
        "--net-input",
        "preset",
        type=Choice(list(PRESETS)),
        help="Form of the network's input; a TOML file beside the model can say more.  [default: unit]",
    ),
    click.option(
        "--compare",
        type=click.IntRange(min=0),
        default=NetOptions.compare,
        metavar="N",
        help="Run the network on N more frames, and report how far the carried output agrees with it.",
    ),
    click.option("--show-splits", is_flag=True, help="List good cuts of an ONNX network, and do nothing else."),
)


def carry_network(
    source: SourceOptions,
    output: FrameOptions,
    targets: Sequence[Target],
    carrying: CarryOptions,
    network: NetOptions,
    engine: EngineOptions,
    talk: TalkOptions,
) -> None:
    """Runs the network on key frames, carries what it says to all frames, and writes it."""
    entry = find_weights(engine)

    from flowcli.carry.netoutputs import open_net_target, show

    began = time.perf_counter()
    sides: Keys = "both" if carrying.keys == "auto" else carrying.keys
    with open_input(source) as frames:
        info = frames.info
        with open_network(frames, source.input, entry, engine, network, sides, carrying.ahead, info.frames) as run:
            writers = open_all(
                targets,
                lambda each: open_net_target(each, info, output, sys.stdout.buffer, run.meaning, run.classes),
            )
            shown = show(run.frames, run.net.convention)
            count = write_all(shown, writers, info.frames, "frame", show=not talk.quiet)
        seconds = time.perf_counter() - began
        if talk.json:
            summary = {
                **described_carrying(run, count, info, seconds, frames.damage, targets, writers),
                "net": run.net.name,
                "meaning": run.meaning,
                "milliseconds": {name: round(each, 3) for name, each in run.milliseconds.items()},
                "speed_up": _rounded(run.speed_up(seconds)),
                "compared": {"frames": run.agreement.frames, **_rounded_all(run.agreement.summary())},
            }
            echo(json.dumps(summary), err=any(each.output.path is None for each in targets))
        elif not talk.quiet:
            echo(told(writers, count, "frame", info, seconds), err=True)
            _tell(run, seconds)


def _tell(run: NetRun, seconds: float) -> None:
    times, speed_up = run.milliseconds, run.speed_up(seconds)
    echo(
        f"network on {counted(run.tally.keys, 'frame')}, {times['net']:.0f} ms each; for every frame flow "
        f"{times['flow']:.0f} ms, carrying {times['carry']:.0f} ms, head {times['head']:.0f} ms",
        err=True,
    )
    if speed_up is not None:
        echo(f"{speed_up:.1f} times as fast as the network on every frame", err=True)
    if run.agreement.frames:
        found = ", ".join(f"{name} {_shown(each)}" for name, each in run.agreement.summary().items())
        echo(f"agreement with the network on {counted(run.agreement.frames, 'frame')}: {found}", err=True)


def _shown(number: float | None) -> str:
    return "equal" if number is None else f"{number:.3f}"


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)


def _rounded_all(numbers: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: _rounded(number) for name, number in numbers.items()}


def show_splits(network: NetOptions, talk: TalkOptions) -> None:
    """Prints where the network is cut well. Raises UsageError if it is no ONNX file."""
    if network.net is None:
        raise UsageError("--show-splits needs --net", "flowcli propagate --net FILE.onnx --show-splits")

    from flowcli.nets.net import find_cuts

    points = find_cuts(network.net, network.preset)
    if talk.json:
        keys = ("names", "shapes", "strides", "share")
        echo(json.dumps([{key: getattr(point, key) for key in keys} for point in points]))
        return
    rows = [
        (
            f"{point.share:.0%}",
            ",".join(f"{stride:.3g}" for stride in point.strides),
            ",".join(str(shape[1]) for shape in point.shapes),
            ",".join(point.names),
        )
        for point in points
    ]
    print_columns(("cost before", "stride", "channels", "--split"), rows, 4)
