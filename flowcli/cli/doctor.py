"""`flowcli doctor`: checks whether `flowcli estimate` can run."""

from __future__ import annotations

import dataclasses
import json

import click

from flowcli import doctor
from flowcli.cli.options import TalkOptions, talk_options
from flowcli.cli.streams import echo


@click.command("doctor")
@talk_options
@click.pass_context
def command(context: click.Context, talk: TalkOptions) -> None:
    """Check the installation.

    Each line starts with ok, warn (flowcli works, but slower or with fewer features) or fail. Hints say how to fix it.
    The exit code is 0 if `flowcli estimate` can run, otherwise 1.
    """
    checks = []
    for check in doctor.checks():
        checks.append(check)
        if not talk.json and not (talk.quiet and check.status == "ok"):
            echo(f"{check.status:<5} {check.name}: {check.text}")
            if check.hint:
                echo(f"      hint: {check.hint}")
    if talk.json:
        echo(json.dumps([dataclasses.asdict(check) for check in checks]))
    if any(check.status == "fail" for check in checks):
        context.exit(1)
