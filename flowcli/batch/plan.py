"""The places of all outputs of a batch."""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from flowcli.batch.items import Item
from flowcli.batch.manifest import Written
from flowcli.carry.naming import carried_kind, name_carried
from flowcli.errors import OutputError, UsageError
from flowcli.output.kinds import frames_kind, sequence_kind
from flowcli.output.naming import Output, name_frames, name_outputs
from flowcli.output.options import OutputOptions
from flowcli.types import Direction

Made = Literal["flow", "frames", "masks"]
"""What is made of an item."""
TEMPLATE = "{folder}/{stem}"
FIELDS = ("folder", "stem", "name", "what", "format")
"""Fields of a template: the item's folder, its name without and with suffix; the output's content and format."""

_HINT = f"there are {' '.join(f'{{{field}}}' for field in FIELDS)}"


@dataclass(frozen=True)
class Plan:
    """An item and its outputs, with their final paths in the folder `out`."""

    item: Item
    outputs: tuple[Output, ...]
    out: Path

    @property
    def places(self) -> list[str]:
        """The paths of the outputs below `out`, without repetitions."""
        return list(dict.fromkeys(self.written(output).path for output in self.outputs))

    def written(self, output: Output) -> Written:
        """One of the outputs as it is recorded, before it is made; both ways of flow in a folder are one."""
        assert output.path is not None
        return Written(output.path.relative_to(self.out).as_posix(), kind=f"{output.what}.{output.format}")


def plan_items(
    items: Sequence[Item],
    out: Path,
    options: OutputOptions,
    direction: Direction,
    template: str = TEMPLATE,
    made: Made = "flow",
) -> list[Plan]:
    """The outputs of each item, one or (both directions) two for each of `options.kinds`.

    template: name of an output below `out`, without suffix; see FIELDS. made: what comes.
    Raises UsageError for an unknown field, and for outputs with the same place or one inside the other.
    """
    _check_template(template)

    kinds: dict[Made, Callable[[str], tuple[str, str, str]]] = {
        "flow": sequence_kind,
        "frames": frames_kind,
        "masks": carried_kind,
    }
    names: dict[Made, Callable[[OutputOptions], list[Output]]] = {
        "flow": partial(name_outputs, direction=direction),
        "frames": name_frames,
        "masks": name_carried,
    }
    plans = [Plan(item, _outputs(item, out, options, template, kinds[made], names[made]), out) for item in items]
    owners: dict[str, Item] = {}
    for plan in plans:
        for place in plan.places:
            other = owners.setdefault(place, plan.item)
            if other != plan.item:
                raise _clash(f"{other.name} and {plan.item.name} have the same output: {place}")
    for place, item in owners.items():
        for parent in PurePosixPath(place).parents:
            if (other_item := owners.get(str(parent))) is not None:
                raise _clash(f"the output of {item.name} would lie in that of {other_item.name}: {place}")
    return plans


def check_places(plans: Sequence[Plan], owned: set[str], overwrite: bool) -> None:
    """Raises OutputError if an output would replace files that are not in `owned`, the batch's earlier outputs."""
    inputs = {os.path.realpath(plan.item.path) for plan in plans}
    for plan in plans:
        for place in plan.places:
            path = plan.out / place
            if os.path.realpath(path) in inputs:
                raise OutputError(f"output would replace the input: {path}", "choose another folder, or a --name")
            if place in owned or not path.exists():
                continue
            if path.is_dir() and any(path.iterdir()):
                raise OutputError(f"output folder holds other files: {path}", "choose another folder, or a --name")
            if not path.is_dir() and not overwrite:
                raise OutputError(f"output exists already: {path}", "pass -y to replace it, or choose another folder")


def _outputs(
    item: Item,
    out: Path,
    options: OutputOptions,
    template: str,
    kind: Callable[[str], tuple[str, str, str]],
    name_all: Callable[[OutputOptions], list[Output]],
) -> tuple[Output, ...]:
    """kind: content, format and end of the name of a word; name_all: the outputs for targets and kinds."""
    name = PurePosixPath(item.name)
    stem = name.name if item.path.is_dir() else name.stem
    folder = "" if str(name.parent) == "." else str(name.parent)
    targets: dict[tuple[str, str], str] = {}
    for word in options.kinds:
        what, form, end = kind(word)
        place = template.format(folder=folder, stem=stem, name=name.name, what=what, format=form).strip("/")
        if not place or ".." in PurePosixPath(place).parts:
            raise UsageError(f"--name {template} makes no name of {item.name}", f"use for example {TEMPLATE}_{{what}}")
        # Files of different formats may share a folder.
        word = form if what == "frames" else f"{what}.{form}"
        if targets.setdefault((f"{out}/{place}{end}", form), word) != word:
            raise _clash(f"two kinds have the same output: {place}{end}")
    names = tuple(target for target, _ in targets)
    return tuple(name_all(replace(options, targets=names, kinds=tuple(targets.values()))))


def _check_template(template: str) -> None:
    try:
        fields = [(name, extra) for _, name, *extra in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise UsageError(f"--name {template}: {error}", _HINT) from error
    for name, extra in fields:
        if name not in FIELDS or any(extra):
            raise UsageError(f"--name {template}: unknown field {{{name}}}", _HINT)


def _clash(message: str) -> UsageError:
    return UsageError(message, f"tell them apart: --name '{{folder}}/{{name}}_{{what}}'; {_HINT}")
