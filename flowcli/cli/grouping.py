"""Decorators that add options, and hand a command several of them as one frozen dataclass."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.core import ParameterSource

from flowcli.cli.values import Value
from flowcli.cli.words import Choice

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def grouped(name: str, kind: type, *options: Decorator) -> Decorator:
    """A decorator that adds `options` and passes their values to the command as one `kind`, the argument `name`.

    Fields for which there is no option keep their defaults.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def grouping(**values: Any) -> Any:
            own = {field.name: values.pop(field.name) for field in dataclasses.fields(kind) if field.name in values}
            return command(**values, **{name: kind(**own)})

        for option in reversed(options):
            option(grouping)
        return grouping

    return decorate


def is_given(name: str) -> bool:
    """Whether the parameter of that name stands on the command line."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def value(name: str, parse: Callable[[str], Any], metavar: str, help: str, default: str | None = None) -> Decorator:
    """An option whose text `parse` reads; the default, if there is one, is shown.

    metavar: its words in lower case are those that `parse` knows by name.
    """
    shown, words = default is not None, re.findall(r"\b[a-z]{3,}", metavar)
    return click.option(name, type=Value(parse, words), default=default, show_default=shown, metavar=metavar, help=help)


def choice(name: str, words: Sequence[str], help: str) -> Decorator:
    """An option that takes one of `words`, by default the first, which is shown."""
    return click.option(name, type=Choice(words), default=words[0], show_default=True, help=help)


def count(name: str, metavar: str, help: str, callback: Callable[..., Any] | None = None) -> Decorator:
    """An option that takes a whole number above 0; None without it."""
    return click.option(name, type=click.IntRange(min=1), metavar=metavar, help=help, callback=callback)
