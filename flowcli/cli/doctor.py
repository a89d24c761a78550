"""`flowcli doctor`: is everything there that an estimate needs?"""

from __future__ import annotations

import dataclasses
import json

import click

from flowcli import doctor
from flowcli.cli.options import TalkOptions, talk_options


@click.command("doctor")
@talk_options
@click.pass_context
def command(context: click.Context, talk: TalkOptions) -> None:
    """Check this machine: each line is ok, warn (slower, or less) or fail, with what to do.

    Exits 0 only if `flowcli estimate` can run.
    """
    checks = []
    for check in doctor.checks():
        checks.append(check)
        if not talk.json and not (talk.quiet and check.status == "ok"):
            click.echo(f"{check.status:<5} {check.name}: {check.text}")
            if check.hint:
                click.echo(f"      hint: {check.hint}")
    if talk.json:
        click.echo(json.dumps([dataclasses.asdict(check) for check in checks]))
    if any(check.status == "fail" for check in checks):
        context.exit(1)
