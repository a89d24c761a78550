"""Runs a batch; this module alone writes the manifest and moves outputs to their places."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from flowcli.atomic import write_error
from flowcli.batch.items import LeftOut, stamp
from flowcli.batch.listing import Run, names, runs
from flowcli.batch.manifest import Manifest, Record, Written
from flowcli.batch.plan import Plan, check_places
from flowcli.batch.work import Job, Result, Task, moved
from flowcli.private import Private
from flowcli.renames import replace_folder

_LOG = logging.getLogger("flowcli")
_OLD = ".old"

Crew = Callable[[Sequence[Job]], Generator[tuple[Job, Result]]]
"""Processes jobs and yields each one with its result, in any order."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of an item. `fresh`: it was processed in this run."""

    status: Literal["done", "damaged", "skipped", "failed"]
    record: Record
    fresh: bool = True


def run_batch(
    plans: Sequence[Plan],
    out: Path,
    task: Task,
    crew: Crew,
    *,
    share: tuple[int, int] | None = None,
    retry: bool = False,
    left_out: Sequence[LeftOut] = (),
) -> Generator[Outcome]:
    """The outcome of each item; those with nothing to do come first.

    An item is skipped if it was finished with the same options, weights and input, and its outputs still have their
    sizes. An item that failed under the same conditions fails again without a new attempt, unless `retry` is set. After
    a kill at any moment, the next run resumes. share: (i, n) for the i-th of n runs that write into `out` together.
    left_out: recorded in the manifest, once. Raises OutputError if an output would replace other files or the manifest
    cannot be written, and what `crew` raises.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error) from error
    with Manifest(out, share) as manifest, _workplace(out, manifest.name) as work:
        _note(manifest, left_out)
        settings = settings_hash(task)
        todo: list[tuple[Plan, Record]] = []
        for plan in plans:
            seen = stamp(plan.item.path)
            fresh = Record(
                item=plan.item.name,
                status="writing",
                input=str(plan.item.path),
                **dataclasses.asdict(seen),
                settings=settings,
                weights=task.weights,
                time=time.time(),
                outputs=tuple(map(Written, plan.places)),
            )
            outcome = _before(plan, fresh, manifest.last.get(plan.item.name), retry, task.source.strict)
            if outcome is None:
                todo.append((plan, fresh))
            else:
                yield outcome
        check_places([plan for plan, _ in todo], set(manifest.owned), task.output.overwrite)
        jobs = [
            Job(plan.item.name, plan.item.path, work / str(number), moved(plan.outputs, out, work / str(number)))
            for number, (plan, _) in enumerate(todo)
        ]
        records = {record.item: record for _, record in todo}
        with closing(crew(jobs)) as results:
            for job, made in results:
                yield _settle(manifest, out, job, made, records[job.name])


def _note(manifest: Manifest, left_out: Sequence[LeftOut]) -> None:
    """Writes down what is left out, unless the manifest has it already."""
    for path, reason in ((str(each.path), each.reason) for each in left_out):
        last = manifest.last.get(path)
        if last is None or (last.status, last.error) != ("left out", reason):
            manifest.append(Record(path, "left out", path, 0, 0, 0, "", "", time.time(), error=reason))


def settings_hash(task: Task) -> str:
    """Hash of all options that change outputs, without the device and the weights, which have their own hash."""
    engine = {**dataclasses.asdict(task.engine), "device": None, "weights": None}
    output = {**dataclasses.asdict(task.output), "targets": None, "overwrite": None}
    source = dataclasses.asdict(task.source)
    # One decides whether there are outputs, not what is in them; the other follows from what is made.
    del source["strict"], source["deep"]
    made = [] if task.making is None else [dataclasses.asdict(task.making)]
    text = json.dumps([source, engine, output, *made], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _before(plan: Plan, fresh: Record, last: Record | None, retry: bool, strict: bool) -> Outcome | None:
    """The outcome if there is nothing to do.

    strict: damage does not do. last: what was known; fresh: what will be if it is done now.
    """
    if last is None or any(getattr(last, name) != getattr(fresh, name) for name in ("stamp", "settings", "weights")):
        return None
    if last.status == "failed":
        return None if retry else Outcome("failed", last, fresh=False)
    places = [output.path for output in last.outputs]
    if last.status == "done" and places == plan.places and last.outputs == _measured(plan.out, last.outputs):
        return Outcome("skipped", last, fresh=False)
    if last.status == "damaged" and not (retry or strict) and last.outputs == _measured(plan.out, last.outputs):
        return Outcome("damaged", last, fresh=False) if places == plan.places else None
    return None


def _settle(manifest: Manifest, out: Path, job: Job, made: Result, record: Record) -> Outcome:
    """Moves the outputs of a job to their places and records the outcome."""
    outputs: tuple[Written, ...] = ()
    made = replace(made, error=_public(made.error))
    if not made.error:
        try:
            outputs = _measured(
                job.place, [replace(each, names=_names(job.place / each.path)) for each in record.outputs]
            )
            before = {each.path: set(names(manifest.owned[each.path])) for each in outputs}
            # Whoever goes on after a kill has to know what of it is ours.
            manifest.append(replace(record, time=time.time(), outputs=outputs))
            for output in outputs:
                _publish(job.place / output.path, out / output.path, before[output.path])
        except OSError as error:
            problem = write_error(out, error)
            made, outputs = replace(made, error=problem.message, hint=problem.hint), ()
    shutil.rmtree(job.place, ignore_errors=True)
    status: Literal["done", "damaged", "failed"] = "failed" if made.error else "damaged" if made.damaged else "done"
    record = replace(record, status=status, time=time.time(), outputs=outputs, **dataclasses.asdict(made))
    manifest.append(record)
    return Outcome(status, record)


def _publish(source: Path, target: Path, before: set[str]) -> None:
    """Moves a file or folder to its place; of a folder that is there, only the files that were made `before` go."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and target.is_dir():
        aside = source.with_name(f".{source.name}{_OLD}")
        replace_folder(source, target, aside, lambda file: file.as_posix() in before)
    else:
        os.replace(source, target)


def _names(path: Path) -> tuple[Run, ...]:
    """The files of a folder; none of a file."""
    return runs(file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir())


def _measured(out: Path, outputs: Sequence[Written]) -> tuple[Written, ...]:
    """How much of these outputs lies below `out`."""
    return tuple(_measure(out / each.path, each) for each in outputs)


def _measure(path: Path, output: Written) -> Written:
    """With the number of files, and of their bytes, that are there; of a folder those that are listed."""
    if not path.is_dir():
        there = path.exists()
        return replace(output, files=int(there), size=path.stat().st_size if there else 0)
    sizes = []
    for name in names(output.names):
        with suppress(FileNotFoundError, NotADirectoryError):
            sizes.append((path / name).stat().st_size)
    return replace(output, files=len(sizes), size=sum(sizes))


def _rescue(out: Path, left: Path) -> None:
    """Of a run that was killed between two renames, the folder that it was to replace."""
    for old in left.glob(f"*/**/.*{_OLD}"):
        place = out.joinpath(*old.relative_to(left).parts[1:]).with_name(old.name[1:].removesuffix(_OLD))
        if old.is_dir() and not os.path.lexists(place):
            os.rename(old, place)


@contextmanager
def _workplace(out: Path, name: str) -> Iterator[Path]:
    """A private folder in `out`, which no message shows."""
    try:
        private = Private(out, name, partial(_rescue, out))
    except OSError as error:
        raise write_error(out, error) from error
    _LOG.addFilter(_shown)
    try:
        yield private.path
    finally:
        _LOG.removeFilter(_shown)
        private.remove()


def _public(text: str) -> str:
    """The text with the final places of outputs instead of those in the private folder."""
    return re.sub(r"/\.manifest[^/]*\.part/[0-9-]+/", "/", text)


def _shown(record: logging.LogRecord) -> bool:
    record.msg, record.args = _public(record.getMessage()), ()
    return True
