"""Help in two lengths: `--help` shows what is used most, `--help-all` everything."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import click

from flowcli.cli.options import TalkOptions
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.options import OutputOptions

WIDTH = 100
_OTHER = {
    "Input": {"max_pixels"},
    "Estimation": {"flow", "fetch"},
    "Output": {"audio", "no_audio", "name"},
    "Run": {"help_all", "keep_partial", "live", "preset_name"},
}
_SECTIONS = {
    name: {field.name for field in dataclasses.fields(kind)} | _OTHER[name]
    for name, kind in (
        ("Input", SourceOptions),
        ("Estimation", EngineOptions),
        ("Output", OutputOptions),
        ("Run", TalkOptions),
    )
}
"""Names of parameters, by the heading under which they stand."""
_RARE = frozenset((
    *("first_frame", "resize", "sample_fps", "short_side", "strict", "max_pixels", "deinterlace", "gaps"),
    *("percentile", "dim", "holes", "bound", "exr", "crf", "confidence", "max_flow", "floor"),
    *("weights", "precision", "tile", "variational", "batch", "last", "graphs", "fetch", "duplicates"),
    *("verbose", "debug", "live"),
))  # fmt: skip
"""Parameters that the short help leaves out."""


class HelpedCommand(click.Command):
    """A command with a short help, examples first and options under headings, and a long one.

    own: headings of this command alone, with the names of their parameters, some of which may mean something else in
    other commands. rare: more of those that the short help leaves out.
    """

    def __init__(
        self,
        *arguments: Any,
        own: Mapping[str, Collection[str]] = MappingProxyType({}),
        rare: Collection[str] = (),
        **values: Any,
    ) -> None:
        super().__init__(*arguments, **values)
        self._sections = {**own, **_SECTIONS}
        self._rare = (_RARE - frozenset().union(*own.values())) | frozenset(rare)
        everything = "Show all options, and explain words such as OUT."
        self.params.append(
            click.Option(
                ["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=_show_all, help=everything
            )
        )

    def format_help(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        self._format(context, formatter, short=True)

    def format_everything(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        self._format(context, formatter, short=False)

    def _format(self, context: click.Context, formatter: click.HelpFormatter, *, short: bool) -> None:
        self.format_usage(context, formatter)
        paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(self.help or ""))
        examples = [each for each in paragraphs if _is_example(each)]
        about = [each for each in paragraphs if not _is_example(each)]
        if short:
            tables = [number for number, each in enumerate(about) if each.startswith("\b")]
            about = about[: min(tables, default=len(about))][:2]
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text("\n\n".join(about))
        if examples:
            with formatter.section("Examples"):
                formatter.write_text("\n\n".join(map(_without_title, examples)))
        self._write_options(context, formatter, short)
        if short and any(each.name in self._rare for each in self.get_params(context)):
            formatter.write_paragraph()
            formatter.write_text(f"{context.command_path} --help-all shows more.")

    def _write_options(self, context: click.Context, formatter: click.HelpFormatter, short: bool) -> None:
        rows: dict[str, list[tuple[str, str]]] = {name: [] for name in ("Options", *self._sections)}
        for each in self.get_params(context):
            record = each.get_help_record(context)
            if record is None or not isinstance(each, click.Option) or (short and each.name in self._rare):
                continue
            text = _first_clause(each.help or "") if short else record[1]
            rows[self._section(each)].append((record[0], text))
        for title, records in rows.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records, col_max=34)

    def _section(self, option: click.Option) -> str:
        if "--help" in option.opts:
            return "Run"
        return next((title for title, names in self._sections.items() if option.name in names), "Options")


def _show_all(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        formatter = context.make_formatter()
        assert isinstance(context.command, HelpedCommand)
        context.command.format_everything(context, formatter)
        click.echo(formatter.getvalue().rstrip("\n"), color=context.color)
        context.exit()


def _is_example(paragraph: str) -> bool:
    """Whether it is a block of command lines."""
    first, *lines = [line.strip() for line in paragraph.splitlines()]
    return first == "\b" and all("flowcli " in line for line in lines if line != "Examples:")


def _without_title(block: str) -> str:
    return block.replace("\b\nExamples:\n", "\b\n")


def _first_clause(text: str) -> str:
    """A help text as far as the first colon, semicolon or end of a sentence."""
    return re.split(r"[:;](?= )|\.(?= |$)|  \[", " ".join(text.split()), maxsplit=1)[0]
