"""`flowcli train`: weights from generated scenes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from flowcli import models
from flowcli.cli import train_frames
from flowcli.cli.help import HelpedCommand
from flowcli.cli.options import TalkOptions, device_option, talk_options
from flowcli.cli.stopping import tell_stopped, until_interrupted
from flowcli.cli.streams import echo
from flowcli.cli.values import Value
from flowcli.cli.words import Choice
from flowcli.errors import InputError
from flowcli.train.options import KINDS, FrameTrainOptions, Loss, Precision, TrainOptions

if TYPE_CHECKING:
    from flowcli.train.loop import Progress

Command = TypeVar("Command", bound=Callable[..., Any])


def _option(name: str, **attributes: Any) -> Callable[[Command], Command]:
    """An option of the run, whose default is that of TrainOptions."""
    default = getattr(TrainOptions, name)
    return click.option(f"--{name}", default=default, show_default=default is not None, **attributes)


def parse_crop(text: str) -> tuple[int, int]:
    """Height and width of a training picture: `256` for a square, or `512x384`, width first. Raises ValueError."""
    match = re.fullmatch(r"([0-9]{2,5})(?:x([0-9]{2,5}))?", text)
    if match is None or min(size := (int(match[2] or match[1]), int(match[1]))) < 64:
        raise ValueError("a side, or WIDTHxHEIGHT, from 64 pixels on (256, 512x384)")
    return size


def parse_kinds(text: str) -> tuple[str, ...]:
    """Kinds of training scenes. Raises ValueError."""
    kinds = tuple(text.split(","))
    if not set(kinds) <= set(KINDS) or len(set(kinds)) < len(kinds):
        raise ValueError(f"some of {','.join(KINDS)}")
    return kinds


def parse_setting(text: str) -> tuple[str, Any]:
    """Name and value of a network's setting: `levels=5`. Raises ValueError."""
    name, equals, value = text.partition("=")
    try:
        read = json.loads(value)
    except json.JSONDecodeError:
        equals = ""
    if not (name.isidentifier() and equals):
        raise ValueError("a setting (levels=5)")
    return name, read


@click.command(
    "train",
    cls=HelpedCommand,
    own={
        "Network": ("network", "settings", "init", "device", "precision"),
        "Scenes": ("textures", "videos", "kinds", "crop", "easy", "seed", "scenes", "workers"),
        "Schedule": ("steps", "minutes", "batch", "rate", "warm", "hold", "vary", "loss", "real"),
    },
    rare=("easy", "seed", "scenes", "workers", "warm", "vary", "loss"),
)
@click.argument("folder", type=click.Path(path_type=Path))
@_option(
    "network",
    type=Choice([*models.names(), *models.frame_names()]),
    metavar="NAME",
    help=f"The network to train: {', '.join([*models.names(), *models.frame_names()])}.",
)
@_option(
    "textures",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder of photos to use as textures; without it, all textures are generated.",
)
@click.option(
    "--videos",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder of videos, on whose frames synthesis is trained as well.",
)
@_option("steps", type=click.IntRange(min=1), metavar="N", help="How many steps the schedule has.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    metavar="MINUTES",
    help="Stop after so many minutes, all work included; the same command resumes.",
)
@_option("batch", type=click.IntRange(min=1), metavar="N", help="How many pairs go through the network at a time.")
@click.option(
    "--crop",
    type=Value(parse_crop),
    metavar="SIZE",
    default="256",
    show_default=True,
    help="Size of a training picture: its side, or WIDTHxHEIGHT; multiples of the network's stride.",
)
@_option("rate", type=click.FloatRange(min=0, min_open=True), metavar="RATE", help="Highest learning rate.")
@_option(
    "warm",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Share of the steps during which the learning rate rises.",
)
@_option(
    "hold",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Share of the steps after which the learning rate begins to fall.",
)
@click.option(
    "--set",
    "settings",
    type=Value(parse_setting),
    multiple=True,
    metavar="SETTING",
    help="A setting of the network, for example levels=5; repeatable.",
)
@click.option("--vary", is_flag=True, help="Draw the number of iterations anew for each step.")
@click.option(
    "--loss",
    type=Choice(get_args(Loss)),
    default=FrameTrainOptions.loss,
    show_default=True,
    help="How a network that makes frames adds up the errors of pixels.",
)
@_option("seed", type=click.IntRange(0, 9_999), metavar="N", help="Seed for the scenes and their order.")
@_option(
    "easy",
    type=click.IntRange(min=0),
    metavar="N",
    help="How many of the first steps use pictures that are only shifted as a whole.",
)
@_option("scenes", type=click.IntRange(min=1), metavar="N", help="How many scenes a run on the CPU keeps on disk.")
@click.option(
    "--kinds",
    type=Value(parse_kinds),
    metavar="KINDS",
    help=f"Kinds of scenes, drawn in proportion to their shares: all or some of {','.join(KINDS)}.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    default=1,
    show_default=True,
    help="Processes that prepare pairs (CPU).",
)
@click.option(
    "--real",
    type=click.Path(path_type=Path),
    metavar="DATASET",
    help="Pairs with ground truth, as for `flowcli eval`: they are measured during training, never trained on.",
)
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weights (.safetensors) to start from, or a checkpoint (.pt) with the optimizer's state.",
)
@device_option
@_option("precision", type=Choice(get_args(Precision)), help="Number format inside the network.")
@talk_options
def command(
    folder: Path,
    textures: Path | None,
    minutes: float | None,
    workers: int,
    init: Path | None,
    videos: Path | None,
    real: Path | None,
    device: str,
    talk: TalkOptions,
    settings: tuple[tuple[str, Any], ...],
    kinds: tuple[str, ...] | None,
    **options: Any,
) -> None:
    """Train a network on generated scenes of moving shapes, and keep all files in FOLDER.

    The same command resumes from checkpoint.pt. log.csv, real.csv and curve.png record the run. weights.safetensors is
    for `--model`: it holds weights averaged over the last steps, from the step at which they were best on scenes that
    are not trained on.

    Of the networks that make frames, videoinr learns to make frames between two frames that are a quarter as large. Its
    defaults are 600000 steps of 24 pairs at a rate of 1e-4, with frames of 128 pixels. synthesis learns to make frames
    along the flow of rpwc, on scenes and on frames of --videos: 20000 steps of 8 pairs at 4e-4, with frames of 192
    pixels. log.csv has their PSNR.

    \b
    flowcli train runs/first --textures photos/ --minutes 60
    flowcli estimate in.mp4 -o flow.mp4 --model runs/first/weights.safetensors
    """
    folders = (textures, "folder of textures"), (videos, "folder of videos")
    for path, what in (*folders, (init, "weights to start from")):
        if path is not None and not path.exists():
            raise InputError(f"no such {what}: {path}", "check the name")
    if options["network"] in models.frame_names():
        _tell(train_frames.train(folder, minutes, init, device, talk), talk)
        return
    train_frames.refuse()
    del options["loss"]

    from flowcli.engine.precision import choose_device
    from flowcli.evaluation.datasets import find_examples
    from flowcli.train.loop import train

    if kinds is not None:
        options["kinds"] = kinds
    run = TrainOptions(textures=str(textures) if textures else None, settings=dict(settings), **options)
    with _display(run.steps, talk) as (show, announce), until_interrupted() as stop:
        weights = train(
            run,
            folder,
            device=str(choose_device(device)),
            workers=workers,
            init=init,
            real=() if real is None else find_examples(real),
            report=show,
            announce=announce,
            minutes=math.inf if minutes is None else minutes,
            stop=stop,
        )
        stopped = stop()
    if stopped:
        tell_stopped(talk)
    _tell(weights, talk)


def _tell(weights: Path, talk: TalkOptions) -> None:
    if talk.json:
        echo(json.dumps({"weights": str(weights)}))
    elif not talk.quiet:
        echo(f"wrote {weights}", err=True)


@contextmanager
def _display(steps: int, talk: TalkOptions) -> Iterator[tuple[Callable[[Progress], None], Callable[[str], None]]]:
    """Functions that show the state of training, a bar on a terminal and a line for each validation; and a text."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, quiet=talk.quiet, highlight=False)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=steps)

        def show(progress: Progress) -> None:
            state = f"loss {progress.loss:.3f}, EPE {progress.epe:.2f} px"
            bar.update(task, completed=progress.step, description=state)
            if progress.validation is not None:
                minutes, unseen = progress.seconds / 60, progress.validation
                console.print(
                    f"step {progress.step}, {minutes:.1f} min: {state}, validation EPE {unseen.epe:.3f} px, "
                    f"flat {unseen.flat:.3f}, fast {unseen.fast:.2f}"
                )
                if progress.real:
                    console.print("  " + ", ".join(f"{name} {epe:.2f}" for name, epe in progress.real.items()))

        yield show, console.print
