"""The help of every command: short, examples first, and all of it on request."""

from __future__ import annotations

import re

import click
import pytest

from flowcli.cli import draw
from flowcli.cli.help import HelpedCommand
from flowcli.cli.main import COMMANDS, commands, main


def loaded(name: str) -> click.Command:
    if name == "in.mp4":
        return draw.command
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    return command


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main([*words]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", ["80", "100"])
@pytest.mark.parametrize("name", [*COMMANDS, "in.mp4"])
def test_help_is_short_and_begins_with_examples(
    name: str, width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    lines = shown(capsys, name, "--help")
    assert len(lines) < 60
    assert lines[0].startswith(f"Usage: flowcli {name} ")
    if isinstance(loaded(name), HelpedCommand) and "Examples:" in lines:
        assert lines.index("Examples:") < min(lines.index(each) for each in ("Options:", "Run:") if each in lines)
        assert all(re.match("  .*flowcli ", line) for line in lines[lines.index("Examples:") + 1 :][:2])


@pytest.mark.parametrize("name", [name for name in (*COMMANDS, "in.mp4") if isinstance(loaded(name), HelpedCommand)])
def test_all_of_it_on_request(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    short, long = ("\n".join(shown(capsys, name, option)) for option in ("--help", "--help-all"))
    told = " ".join(long.split())
    for option in loaded(name).params:
        if isinstance(option, click.Option):
            assert all(each in long for each in option.opts), option.opts
            assert option.help is not None
            # Words are broken at hyphens where a line ends.
            text = " ".join(option.help.split("  [")[0].split()).replace("- ", "-")
            assert text in told.replace("- ", "-"), option.opts
    left_out = [each for each in loaded(name).params if not any(word in short for word in each.opts)]
    assert (f"flowcli {name} --help-all shows more." in short) == bool(
        [each for each in left_out if isinstance(each, click.Option)]
    )


def test_headings(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "estimate", "--help-all")
    places = [lines.index(f"{title}:") for title in ("Examples", "Input", "Estimation", "Output", "Run")]
    assert places == sorted(places)
    under = {title: "\n".join(lines[first:last]) for title, first, last in zip(
        ("Input", "Estimation", "Output", "Run"), places[1:], [*places[2:], None], strict=True
    )}  # fmt: skip
    assert "--start" in under["Input"]
    assert "--precision" in under["Estimation"]
    assert "--crf" in under["Output"]
    assert "--debug" in under["Run"]
    assert any(line.startswith("  wheel ") or "wheel         Middlebury" in line for line in lines)
