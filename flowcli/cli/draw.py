"""`flowcli in.mp4`: for a first look, the input beside its flow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from flowcli.cli.estimate import run_estimate
from flowcli.cli.help import HelpedCommand
from flowcli.cli.inputs import as_sources
from flowcli.cli.options import TalkOptions, talk_options
from flowcli.cli.streams import echo
from flowcli.inputs import find_input
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.naming import plan
from flowcli.output.options import OutputOptions

OPTIONS = OutputOptions(style="side-by-side", legend=True)


@click.command("draw", cls=HelpedCommand)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")
@talk_options
def command(inputs: tuple[str, ...], overwrite: bool, talk: TalkOptions) -> None:
    """Draw each INPUT beside its flow: in.mp4 becomes in_flow.mp4, in the same folder, with its sound.

    INPUT is a video, a folder of pictures, or a quoted pattern such as 'frames/*.png'. Two pictures are one pair:
    a.png b.png become a_flow.png.
    """
    jobs = [(source, _output(source, overwrite)) for source in as_sources(inputs)]
    engine = EngineOptions()
    for source, output in jobs:
        # All names are checked before any work.
        plan(output, direction=engine.direction, pair=source.second is not None, source=Path(source.input))
    for source, output in jobs:
        run_estimate(source, output, engine, talk, audio=True)
    if not (talk.quiet or talk.json):
        echo(_more(inputs[0]), err=True)


def _output(source: SourceOptions, overwrite: bool) -> OutputOptions:
    path = Path(source.input)
    if find_input(source.input).form == "pattern":
        path = path.parent / path.parent.resolve().name
    elif path.name in ("", ".."):
        path = path.resolve()
    stem = path.stem if path.is_file() else path.name
    target = path.with_name(f"{stem}_flow.{'png' if source.second else 'mp4'}")
    return replace(OPTIONS, targets=(str(target),), overwrite=overwrite)


def _more(name: str) -> str:
    return f"more: flowcli estimate {name} --out vectors/, for files of flow; flowcli stats {name}; flowcli --help"
