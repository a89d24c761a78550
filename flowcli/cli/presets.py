"""Presets: sets of options under one name, which `--preset` takes; docs/shell.md says why each sets what it sets.

Options on the command line come first, then flowcli.toml, then the preset, then the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click
from click.core import ParameterSource

from flowcli.cli.words import Choice

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"refine": 1, "max-side": 640},
    "best": {"precision": "fp32", "variational": True},
    "web": {"short-side": 480, "crf": 30},
    "dataset": {"short-side": 256, "strict": True, "batch": {"as": ["tsn", "rgb"]}},
}
"""What each sets, in the form of flowcli.toml: an option, or the name of a command with options of that one alone."""

_SET = "flowcli.preset"
"""Key in the context's `meta`: names of the parameters that the preset sets."""


def in_words(name: str, command: str | None = None) -> str:
    """The options that a preset stands for, as one writes them. command: without those of other commands."""
    words = []
    for key, value in PRESETS[name].items():
        if not isinstance(value, Mapping):
            words.append(_option(key, value))
        elif command in (None, key):
            written = " ".join(_option(own, each) for own, each in value.items())
            words.append(written if command else f"({key}: {written})")
    return " ".join(words)


def _option(key: str, value: Any) -> str:
    if value is True:
        return f"--{key}"
    return " ".join(f"--{key} {each}" for each in (value if isinstance(value, list) else [value]))


def _apply(context: click.Context, parameter: click.Parameter, name: str | None) -> None:
    """Puts what the preset sets below what files set."""
    if name is not None:
        from flowcli.cli.settings import defaults

        set_by_files = context.default_map or {}
        own = defaults(PRESETS[name], context.command, f"preset {name}")
        context.meta[_SET] = {key for key in own if key not in set_by_files}
        context.default_map = {**own, **set_by_files}


def gives_way(rival: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that drops what a preset sets if the parameter `rival` has another value than its default."""

    def drop(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        source = context.get_parameter_source(parameter.name or "")
        if source is not ParameterSource.DEFAULT_MAP or parameter.name not in context.meta.get(_SET, ()):
            return value
        other = next((each for each in context.command.params if each.name == rival), None)
        if other is None:
            return value
        # What the command line gives comes before everything else; what a file gives may come later.
        given = context.params.get(rival, (context.default_map or {}).get(rival))
        return value if given in (None, other.default) else None

    return drop


preset_option = click.option(
    "--preset",
    "preset_name",
    type=Choice(list(PRESETS)),
    is_eager=True,
    expose_value=False,
    callback=_apply,
    help="Several options at once; other options come first. "
    + "; ".join(f"{name}: {in_words(name)}" for name in PRESETS)
    + ".",
)
