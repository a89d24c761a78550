"""Runs a batch; this module alone writes the manifest and moves outputs to their places."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from flowcli.atomic import merge, write_error
from flowcli.batch.items import LeftOut, stamp
from flowcli.batch.manifest import Manifest, Record, Written
from flowcli.batch.plan import Plan, check_places
from flowcli.batch.work import Job, Result, Task, moved

_LOG = logging.getLogger("flowcli")

Crew = Callable[[Sequence[Job]], Generator[tuple[Job, Result]]]
"""Processes jobs and yields each one with its result, in any order."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of an item. `fresh`: it was processed in this run."""

    status: Literal["done", "skipped", "failed"]
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
            outcome = _before(plan, fresh, manifest.last.get(plan.item.name), retry)
            if outcome is None:
                todo.append((plan, fresh))
            else:
                yield outcome
        check_places([plan for plan, _ in todo], manifest.owned, task.output.overwrite)
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
    text = json.dumps([dataclasses.asdict(task.source), engine, output], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _before(plan: Plan, fresh: Record, last: Record | None, retry: bool) -> Outcome | None:
    """The outcome if there is nothing to do, else None. last: the record so far; fresh: the record of a new attempt."""
    if last is None or any(getattr(last, name) != getattr(fresh, name) for name in ("stamp", "settings", "weights")):
        return None
    if last.status == "failed":
        return None if retry else Outcome("failed", last, fresh=False)
    if last.status == "done" and last.outputs == _measured(plan.out, plan.places):
        return Outcome("skipped", last, fresh=False)
    return None


def _settle(manifest: Manifest, out: Path, job: Job, made: Result, record: Record) -> Outcome:
    """Moves the outputs of a job to their places and records the outcome."""
    outputs: tuple[Written, ...] = ()
    made = replace(made, error=_public(made.error))
    if not made.error:
        manifest.append(replace(record, time=time.time()))
        places = [output.path for output in record.outputs]
        try:
            for place in places:
                _publish(job.place / place, out / place)
            outputs = _measured(out, places)
        except OSError as error:
            problem = write_error(out, error)
            made = replace(made, error=problem.message, hint=problem.hint)
    shutil.rmtree(job.place, ignore_errors=True)
    status: Literal["done", "failed"] = "failed" if made.error else "done"
    record = replace(record, status=status, time=time.time(), outputs=outputs, **dataclasses.asdict(made))
    manifest.append(record)
    return Outcome(status, record)


def _publish(source: Path, target: Path) -> None:
    """Moves a file or folder to its place; in an existing folder, it replaces all files of the same kind."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not (source.is_dir() and target.is_dir()):
        os.replace(source, target)
        return
    names = {file.relative_to(source) for file in source.rglob("*") if file.is_file()}
    for folder, suffix in {(name.parent, name.suffix) for name in names}:
        for old in (target / folder).glob(f"*{suffix}"):
            if old.relative_to(target) not in names:
                old.unlink()
    merge(source, target)


def _measured(out: Path, places: Sequence[str]) -> tuple[Written, ...]:
    """The files and sizes at these places below `out`."""
    return tuple(Written(place, *_measure(out / place)) for place in places)


def _measure(path: Path) -> tuple[int, int]:
    """Number of files and of bytes, without hidden files."""
    if not path.is_dir():
        return (1, path.stat().st_size) if path.exists() else (0, 0)
    sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")]
    return len(sizes), sum(sizes)


@contextmanager
def _workplace(out: Path, name: str) -> Iterator[Path]:
    """A private folder in `out`, which messages do not show; folders of killed runs are removed."""
    for stale in out.glob(f".{name}.*.part"):
        _remove(stale, name)
    work = _private(out, name)
    work.mkdir()
    _LOG.addFilter(_shown)
    try:
        yield work
    finally:
        _LOG.removeFilter(_shown)
        _remove(work, name)


def _remove(folder: Path, name: str) -> None:
    # Renamed first, so that a worker that is still running cannot create more files in it.
    with suppress(OSError):
        shutil.rmtree(folder.rename(_private(folder.parent, name)), ignore_errors=True)


def _private(out: Path, name: str) -> Path:
    return out / f".{name}.{secrets.token_hex(4)}.part"


def _public(text: str) -> str:
    """The text with the final places of outputs instead of those in the private folder."""
    return re.sub(r"/\.manifest[^/]*\.part/[0-9-]+/", "/", text)


def _shown(record: logging.LogRecord) -> bool:
    record.msg, record.args = _public(record.getMessage()), ()
    return True
