"""`flowcli train`: weights from generated scenes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from flowcli import models
from flowcli.cli.options import TalkOptions, device_option, talk_options
from flowcli.errors import InputError
from flowcli.train.options import Precision, TrainOptions

if TYPE_CHECKING:
    from flowcli.train.loop import Progress

Command = TypeVar("Command", bound=Callable[..., Any])


def _option(name: str, **attributes: Any) -> Callable[[Command], Command]:
    """An option of the run, whose default is that of TrainOptions."""
    default = getattr(TrainOptions, name)
    return click.option(f"--{name}", default=default, show_default=default is not None, **attributes)


@click.command("train")
@click.argument("folder", type=click.Path(path_type=Path))
@_option("network", type=click.Choice(models.names()), help="What to train.")
@_option("textures", type=click.Path(path_type=Path), help="Folder of photos; otherwise generated textures alone.")
@_option("steps", type=click.IntRange(min=1), help="Length of the schedule.")
@click.option("--minutes", type=click.FloatRange(min=0), help="Minutes after which to stop; the same command resumes.")
@_option("batch", type=click.IntRange(min=1), help="Pairs in a step.")
@_option("crop", type=click.IntRange(min=64), help="Side of a training picture, a multiple of the network's stride.")
@_option("rate", type=click.FloatRange(min=0, min_open=True), help="Highest learning rate.")
@_option("seed", type=click.IntRange(0, 9_999), help="For the scenes and their order.")
@_option("easy", type=click.IntRange(min=0), help="Number of first steps, on pictures that are shifted as a whole.")
@_option("scenes", type=click.IntRange(min=1), help="Number of scenes that a CPU run keeps on disk.")
@click.option(
    "--workers", type=click.IntRange(min=0), default=1, show_default=True, help="Processes that prepare pairs (CPU)."
)
@click.option(
    "--real",
    type=click.Path(path_type=Path),
    metavar="DATASET",
    help="Pairs with ground truth, as for eval: measured on the way, never trained on.",
)
@click.option("--init", type=click.Path(path_type=Path), help="Weights (.safetensors) to start from.")
@device_option
@_option("precision", type=click.Choice(get_args(Precision)), help="Precision in which the network is computed.")
@talk_options
def command(
    folder: Path,
    textures: Path | None,
    minutes: float | None,
    workers: int,
    init: Path | None,
    real: Path | None,
    device: str,
    talk: TalkOptions,
    **settings: Any,
) -> None:
    """Train a network on generated scenes of moving shapes; all files are kept in FOLDER.

    checkpoint.pt is what the same command resumes from; log.csv, real.csv and curve.png record the run;
    weights.safetensors is what `--model` takes: weights averaged over the last steps, at the step where they did best
    on scenes that training does not see.

    \b
    flowcli train runs/first --textures photos/ --minutes 60
    flowcli estimate in.mp4 -o flow.mp4 --model runs/first/weights.safetensors
    """
    for path, what in ((textures, "folder of textures"), (init, "weights to start from")):
        if path is not None and not path.exists():
            raise InputError(f"no such {what}: {path}", "check the name")

    from flowcli.engine.precision import choose_device
    from flowcli.evaluation.datasets import find_examples
    from flowcli.train.loop import train

    options = TrainOptions(textures=str(textures) if textures else None, **settings)
    with _display(options.steps, talk) as show:
        weights = train(
            options,
            folder,
            device=str(choose_device(device)),
            workers=workers,
            init=init,
            real=() if real is None else find_examples(real),
            report=show,
            minutes=math.inf if minutes is None else minutes,
        )
    if talk.json:
        click.echo(json.dumps({"weights": str(weights)}))
    elif not talk.quiet:
        click.echo(f"wrote {weights}", err=True)


@contextmanager
def _display(steps: int, talk: TalkOptions) -> Iterator[Callable[[Progress], None]]:
    """A function that shows the state of training: a bar on a terminal, and a line for each validation."""
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
            if progress.validation_epe is not None:
                minutes = progress.seconds / 60
                console.print(
                    f"step {progress.step}, {minutes:.1f} min: {state}, validation EPE {progress.validation_epe:.3f} px"
                )
                if progress.real:
                    console.print("  " + ", ".join(f"{name} {epe:.2f}" for name, epe in progress.real.items()))

        yield show
