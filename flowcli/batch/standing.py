"""How an item of a batch stands: what was made of it before, and what is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from flowcli.batch.listing import names
from flowcli.batch.manifest import Record, Written
from flowcli.batch.plan import Plan


@dataclass(frozen=True)
class Outcome:
    """The outcome of an item. `fresh`: it was processed in this run.

    `skipped`: all that is wanted of it was there, or nothing can be made of it; the status of its record says which.
    """

    status: Literal["done", "damaged", "skipped", "failed"]
    record: Record
    fresh: bool = True


@dataclass(frozen=True)
class Todo:
    """What is left to do."""

    plan: Plan
    """With the outputs that are to be made."""
    wanted: tuple[Written, ...]
    """These, as they will be recorded, but for what is known when they are made."""
    record: Record
    """The item, with the outputs of earlier runs that stay."""
    changed: tuple[tuple[Written, Written], ...] = ()
    """Those that are there, but were made with other options, each with what is wanted."""


def standing(
    plan: Plan, wanted: Sequence[Written], fresh: Record, last: Record | None, *, retry: bool, strict: bool
) -> Outcome | Todo:
    """The outcome, if there is nothing to do, or what is left to do.

    wanted: what is to be there in the end. fresh: the item as it is now. last: what was known of it. retry: what failed
    is to be tried again; strict: damage does not do.
    """
    known = () if last is None or last.stamp != fresh.stamp else last.outputs
    there = {each.slot: each for each in known if is_there(plan.out, each)}
    missing = tuple(each for each in wanted if not _alike(there.get(each.slot), each))
    if last is not None and last.stamp == fresh.stamp:
        if last.status == "damaged" and (retry or strict):
            missing = tuple(wanted)
        if not missing:
            return Outcome("damaged" if last.status == "damaged" else "skipped", last, fresh=False)
        tried = all(any(each.slot == other.slot and _alike(each, other) for each in known) for other in missing)
        if tried and last.status == "skipped":
            return Outcome("skipped", last, fresh=False)
        if tried and last.status == "failed" and not retry:
            return Outcome("failed", last, fresh=False)
    slots = {each.slot for each in missing}
    stays = tuple(each for each in known if each.settings is not None and each.files and each.slot not in slots)
    changed = [(there[each.slot], each) for each in missing if each.slot in there]
    left = [output for output in plan.outputs if plan.written(output).slot in slots]
    return Todo(
        replace(plan, outputs=tuple(left)),
        missing,
        replace(fresh, outputs=stays),
        tuple((old, new) for old, new in changed if not _alike(old, new)),
    )


def is_there(out: Path, output: Written) -> bool:
    """Whether the output was finished, and is as it was then."""
    return output.settings is not None and output.files > 0 and output == measured(out, output)


def measured(out: Path, output: Written) -> Written:
    """The output with the number of files, and of their bytes, that are in `out`; of a folder those that are listed."""
    path = out / output.path
    if not path.is_dir():
        there = path.exists()
        return replace(output, files=int(there), size=path.stat().st_size if there else 0)
    sizes = []
    for name in names(output.names):
        with suppress(FileNotFoundError, NotADirectoryError):
            sizes.append((path / name).stat().st_size)
    return replace(output, files=len(sizes), size=sum(sizes))


def differences(old: Written, new: Written) -> str:
    """How the options differ, in words."""
    before, now = ({"as": each.kind, **(each.settings or {})} for each in (old, new))
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {_short(before.get(name))}, now {_short(now.get(name))}" for name in names)


def _short(value: str | None) -> str:
    """The value in few letters: hashes are long."""
    return "default" if value is None else value[:8] if len(value) == 64 else value


def _alike(one: Written | None, other: Written) -> bool:
    """Whether they hold the same."""
    return one is not None and (one.kind, one.settings) == (other.kind, other.settings)
