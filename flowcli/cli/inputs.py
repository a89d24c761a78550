"""Commands that take several inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flowcli.errors import UsageError
from flowcli.inputs import quoted
from flowcli.options import SourceOptions


def as_sources(inputs: Sequence[str], options: SourceOptions | None = None) -> list[SourceOptions]:
    """The source for each input; two pictures are one pair. options: how they are read.

    Raises UsageError for what the shell made of one name or pattern.
    """
    options = options or SourceOptions()
    if len(inputs) > 1 and (hint := quoted(inputs)):
        raise UsageError(f"{len(inputs)} inputs, which look like one: {inputs[0]} ...", hint)
    if len(inputs) == 2 and all(map(_is_picture, inputs)):
        return [replace(options, input=inputs[0], second=inputs[1])]
    return [replace(options, input=each) for each in inputs]


def _is_picture(name: str) -> bool:
    from flowcli.pictures import PICTURE_SUFFIXES

    return Path(name).suffix.lower() in PICTURE_SUFFIXES and Path(name).is_file()
