"""`flowcli models`: the weights that there are."""

from __future__ import annotations

import dataclasses
import json

import click

from flowcli import weights
from flowcli.cli.options import TalkOptions, talk_options


@click.command("models")
@talk_options
def command(talk: TalkOptions) -> None:
    """List the models, with where their weights come from."""
    entries = weights.entries()
    if talk.json:
        click.echo(json.dumps([{**dataclasses.asdict(entry), "file": str(entry.file)} for entry in entries]))
        return
    for entry in entries:
        click.echo(entry.name)
        rows = {
            "network": entry.network,
            "parameters": f"{entry.parameters:,}",
            "licence": entry.licence,
            "source": entry.source,
            "trained": entry.trained,
            "sha256": entry.sha256,
            "file": f"{entry.file}{'' if entry.file and entry.file.is_file() else ' (missing)'}",
        }
        for title, text in rows.items():
            click.echo(f"  {title:<11} {text}")
