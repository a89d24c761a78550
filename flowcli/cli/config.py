"""`flowcli config`: what flowcli.toml sets."""

from __future__ import annotations

import json

import click

from flowcli.cli.columns import print_columns
from flowcli.cli.options import TalkOptions, talk_options
from flowcli.cli.presets import PRESETS, in_words
from flowcli.cli.settings import check_keys, files, find_settings
from flowcli.cli.streams import echo


@click.group("config")
def command() -> None:
    """Show the settings that flowcli.toml makes.

    \b
    A file flowcli.toml in the current folder, or in the folder that `flowcli config show` names, sets defaults:
      device = "cpu"            for all commands that have --device
      [estimate]
      style = "arrows"          for flowcli estimate
      legend = true
    Options on the command line come first, then the file in the current folder, then the user's own, then what
    --preset names, which a file may set too: preset = "fast".
    FLOWCLI_CONFIG=off reads no file.
    """


@command.command("show")
@talk_options
@click.pass_context
def show_command(context: click.Context, talk: TalkOptions) -> None:
    """List the settings of all commands, with the files that they come from, and the presets."""
    group = context.find_root().command
    assert isinstance(group, click.Group)
    loaded = {name: group.get_command(context, name) for name in group.list_commands(context)}
    commands = {name: each for name, each in loaded.items() if each is not None}
    check_keys(commands)
    found = [
        (name, setting) for name, each in commands.items() for setting in find_settings(name, each, commands).values()
    ]
    places = files()
    if talk.json:
        settings = [
            {"command": name, "option": each.option, "value": each.value, "file": str(each.file)}
            for name, each in found
        ]
        echo(
            json.dumps(
                {"files": [str(file) for file in places if file.is_file()], "settings": settings, "presets": PRESETS}
            )
        )
        return
    for file in places:
        echo(f"{file}{'' if file.is_file() else ' (not there)'}")
    if found:
        rows = [(name, f"--{each.option}", _shown(each.value), str(each.file)) for name, each in found]
        print_columns(("command", "option", "value", "from"), rows, left=4)
    print_columns(("preset", "is the same as"), [(name, in_words(name)) for name in PRESETS], left=2)


def _shown(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
