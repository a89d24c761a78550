"""Defaults of options from files: flowcli.toml in the current folder, then the user's own.

A number, a word or a flag at the top of the file is for every command that has the option; a table such as [estimate]
is for one command. Options on the command line come first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from flowcli.cli.words import UnknownWord
from flowcli.errors import UsageError, closest
from flowcli.regular import read_regular

FILE = "flowcli.toml"
VARIABLE = "FLOWCLI_CONFIG"
"""An environment variable: "off" reads no file."""
_SAID = frozenset(("out", "occlusion", "confidence", "net", "ray", "fetch", "overwrite", "debug", "help", "version"))
"""Options that only the command line sets: they name what is written, run code, reach other machines or replace files,
and a file may lie in a folder that came from somewhere else."""


@dataclass(frozen=True)
class Setting:
    """A default that a file sets."""

    option: str
    """Its long name, without the dashes."""
    value: Any
    """As click takes it in the place of a default."""
    file: Path


def user_file() -> Path:
    """The user's own file; it need not exist."""
    named = os.environ.get("XDG_CONFIG_HOME") or (os.environ.get("APPDATA") if sys.platform == "win32" else None)
    return (Path(named) if named else Path.home() / ".config") / "flowcli" / FILE


def files() -> list[Path]:
    """The files that may set defaults, the one that comes first last; they need not exist."""
    return [] if os.environ.get(VARIABLE) == "off" else [user_file(), Path(FILE)]


def find_settings(name: str, command: click.Command, commands: Mapping[str, object]) -> dict[str, Setting]:
    """What files set for the command `name`, by the name of the parameter. commands: by name, those that there are.

    Raises UsageError for a file that cannot be read, and for settings that are unknown or wrong.
    """
    found: dict[str, Setting] = {}
    for file in files():
        if os.path.exists(file):
            found |= dict(_settings(file, name, command, commands))
    return found


def defaults(table: Mapping[str, Any], command: click.Command, place: str) -> dict[str, Any]:
    """What a table like flowcli.toml sets for `command`, by the name of the parameter. place: it, in messages.

    Keys without an option, and tables for other commands, are left out. Raises UsageError for a wrong value.
    """
    options = _options(command)
    pairs = {**table, **table.get(command.name or "", {})}.items()
    own = [(key, value) for key, value in pairs if key in options and not isinstance(value, Mapping)]
    found = [each for key, value in own for each in _setting(Path(place), key, value, options)]
    return {name: setting.value for name, setting in found}


def check_keys(commands: Mapping[str, click.Command]) -> None:
    """Raises UsageError for a setting at the top of a file that is for no command at all."""
    known = dict.fromkeys(sorted({key for each in commands.values() for key in _options(each)}))
    for file in filter(os.path.exists, files()):
        for key, value in _read(file).items():
            if not isinstance(value, dict) and key not in known:
                raise UsageError(f"no command has an option {key}, which {file} sets", closest(key, known))


def _settings(
    file: Path, name: str, command: click.Command, commands: Mapping[str, object]
) -> Iterator[tuple[str, Setting]]:
    options = _options(command)
    content = _read(file)
    for key, value in content.items():
        if isinstance(value, dict):
            if key not in commands:
                raise UsageError(f"no such command in {file}: [{key}]", closest(key, commands))
        elif key in options or key in _SAID:
            yield from _setting(file, key, value, options)
    for key, value in content.get(name, {}).items():
        if key not in options and key not in _SAID:
            raise UsageError(f"{name} has no option {key}, which {file} sets", closest(key, options))
        yield from _setting(file, key, value, options)


def _read(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(read_regular(file).decode("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", f"{VARIABLE}=off goes without it") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"not a TOML file: {file}: {error}", f"correct it; {VARIABLE}=off goes without it") from error


def _options(command: click.Command) -> dict[str, click.Option]:
    """By their long names, without the dashes."""
    found = [each for each in command.params if isinstance(each, click.Option)]
    return {name.removeprefix("--"): each for each in found for name in each.opts if name.startswith("--")}


def _setting(file: Path, key: str, value: Any, options: Mapping[str, click.Option]) -> Iterator[tuple[str, Setting]]:
    """The setting by the name of its parameter; none for `both = false`, which leaves the choice to others."""
    if key in _SAID:
        raise UsageError(f"{file} sets {key}, which only the command line does", f"remove it, and say --{key}")
    option = options[key]
    assert option.name is not None
    try:
        default = _value(option, value)
    except click.BadParameter as error:
        hint = error.hint if isinstance(error, UnknownWord) else ""
        raise UsageError(f"{key} in {file}: {error.message}", hint or "correct it") from error
    if default is not None:
        yield option.name, Setting(key, default, file)


def _value(option: click.Option, value: Any) -> Any:
    """The value as click takes it for a default; None for none. Raises BadParameter."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise click.BadParameter(f"{value!r} is not true or false")
        return value if option.is_bool_flag else option.flag_value if value else None
    values = value if isinstance(value, list) else [value]
    if any(isinstance(each, bool | list | dict) for each in values) or (
        isinstance(value, list) and not option.multiple
    ):
        raise click.BadParameter(f"{value!r} is not a word or a number")
    words = [str(each) for each in values]
    for word in words:
        option.type.convert(word, option, None)
    return words if option.multiple else words[0]
