"""Runs a batch; this module alone writes the manifest and moves outputs to their places."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from flowcli.atomic import write_error
from flowcli.batch.items import LeftOut, Stamp, stamp
from flowcli.batch.listing import Run, names, runs
from flowcli.batch.makers import masks_of
from flowcli.batch.manifest import Manifest, Record, Written
from flowcli.batch.plan import Plan, check_places
from flowcli.batch.settings import settings
from flowcli.batch.standing import Outcome, Todo, differences, measured, standing
from flowcli.batch.work import Job, Result, Task, moved
from flowcli.errors import NoMasksError, OutputError
from flowcli.output.naming import Output
from flowcli.private import Private
from flowcli.renames import merge, replace_folder

_LOG = logging.getLogger("flowcli")
_OLD = ".old"

Crew = Callable[[Sequence[Job]], Generator[tuple[Job, Result]]]
"""Processes jobs and yields each one with its result, in any order."""


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

    Outputs that were finished with the same options, weights and input, and still have their sizes, are not made again,
    and of an item with all of them nothing is done. An item that failed under the same conditions fails again without a
    new attempt, unless `retry` is set. After a kill at any moment, the next run resumes. share: (i, n) for the i-th of
    n runs that write into `out` together. left_out: recorded in the manifest, once. Raises OutputError if an output
    would replace other files, or one that was made with other options unless the task says so, or if the manifest
    cannot be written, and what `crew` raises.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error) from error
    with Manifest(out, share) as manifest, _workplace(out, manifest.name) as work:
        _note(manifest, left_out)
        todo: list[Todo] = []
        for plan in plans:
            found = _look(plan, task, manifest.last.get(plan.item.name), retry)
            if isinstance(found, Todo):
                todo.append(found)
            else:
                yield found
        if not task.output.overwrite:
            _check_changed(todo)
        check_places([each.plan for each in todo], {path for path, _ in manifest.owned}, task.output.overwrite)
        jobs = [_job(each, out, work / str(number)) for number, each in enumerate(todo)]
        waiting = {each.plan.item.name: each for each in todo}
        with closing(crew(jobs)) as results:
            for job, made in results:
                yield _settle(manifest, out, job, made, waiting[job.name])


def _look(plan: Plan, task: Task, last: Record | None, retry: bool) -> Outcome | Todo:
    """How an item stands; last: what is known of it."""
    fresh = Record(
        item=plan.item.name,
        status="writing",
        input=str(plan.item.path),
        **dataclasses.asdict(_stamp(plan, task)),
        weights=task.weights,
        time=time.time(),
    )
    wanted = {each.slot: each for each in (_wanted(plan, output, task) for output in plan.outputs)}
    return standing(plan, tuple(wanted.values()), fresh, last, retry=retry, strict=task.source.strict)


def _stamp(plan: Plan, task: Task) -> Stamp:
    """The stamp of the input, and of its masks."""
    own = stamp(plan.item.path)
    if task.carrying is None:
        return own
    try:
        other = stamp(masks_of(Path(task.carrying.masks), plan.item.name))
    except NoMasksError:
        return own
    return Stamp(own.size + other.size, max(own.mtime, other.mtime), own.files + other.files)


def _wanted(plan: Plan, output: Output, task: Task) -> Written:
    return replace(plan.written(output), settings=settings(output, task))


def _check_changed(todo: Sequence[Todo]) -> None:
    """Raises OutputError if something finished would be made anew with other options."""
    changed = [(each.plan.out, *both) for each in todo for both in each.changed]
    if changed:
        out, old, new = changed[0]
        more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise OutputError(
            f"made with other options: {out / old.path}{more} ({differences(old, new)})",
            "pass -y to make them anew, or choose another folder, or a --name",
        )


def _job(todo: Todo, out: Path, place: Path) -> Job:
    """The work on an item at `place`, where each output that is recorded for itself has a folder of its own."""
    numbers = {each.slot: number for number, each in enumerate(todo.wanted)}
    outputs = [
        moved([output], out, place / str(numbers[todo.plan.written(output).slot]))[0] for output in todo.plan.outputs
    ]
    return Job(todo.plan.item.name, todo.plan.item.path, place, tuple(outputs))


def _note(manifest: Manifest, left_out: Sequence[LeftOut]) -> None:
    """Writes down what is left out, unless the manifest has it already."""
    for path, reason in ((str(each.path), each.reason) for each in left_out):
        last = manifest.last.get(path)
        if last is None or (last.status, last.error) != ("left out", reason):
            manifest.append(Record(path, "left out", path, 0, 0, 0, "", time.time(), error=reason))


def _settle(manifest: Manifest, out: Path, job: Job, made: Result, todo: Todo) -> Outcome:
    """Moves the outputs of a job to their places and records the outcome."""
    record, outputs = todo.record, todo.wanted
    made = replace(made, error=_public(made.error))
    if not made.error:
        try:
            outputs = tuple(_made(job.place / str(number), each) for number, each in enumerate(todo.wanted))
            before = {each.slot: set(names(manifest.owned[each.slot])) for each in outputs}
            # Whoever goes on after a kill has to know what of it is ours.
            begun = [replace(each, settings=None) for each in outputs]
            manifest.append(replace(record, time=time.time(), outputs=(*record.outputs, *begun)))
            for path in dict.fromkeys(each.path for each in outputs):
                same = [number for number, each in enumerate(outputs) if each.path == path]
                ours = set().union(*(before[outputs[number].slot] for number in same))
                _publish([job.place / str(number) / path for number in same], out / path, ours)
        except OSError as error:
            problem = write_error(out, error)
            made, outputs = replace(made, error=problem.message, hint=problem.hint), todo.wanted
    shutil.rmtree(job.place, ignore_errors=True)
    known = {field.name: getattr(made, field.name) for field in dataclasses.fields(made) if field.name != "barren"}
    record = replace(record, status=_status(made), time=time.time(), outputs=(*record.outputs, *outputs), **known)
    manifest.append(record)
    return Outcome(_status(made), record)


def _status(made: Result) -> Literal["done", "damaged", "skipped", "failed"]:
    if made.barren:
        return "skipped"
    return "failed" if made.error else "damaged" if made.damaged else "done"


def _made(place: Path, output: Written) -> Written:
    """The output with what there is of it at `place`."""
    return measured(place, replace(output, names=_names(place / output.path)))


def _publish(sources: Sequence[Path], target: Path, before: set[str]) -> None:
    """Moves a file, or the files of folders, to their place; of a folder there only files made `before` go."""
    source, *others = sources
    for other in others:
        merge(other, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and target.is_dir():
        aside = source.with_name(f".{source.name}{_OLD}")
        replace_folder(source, target, aside, lambda file: file.as_posix() in before)
    else:
        os.replace(source, target)


def _names(path: Path) -> tuple[Run, ...]:
    """The files of a folder; none of a file."""
    return runs(file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir())


def _rescue(out: Path, left: Path) -> None:
    """Of a run that was killed between two renames, the folder that it was to replace."""
    for old in left.glob(f"*/**/.*{_OLD}"):
        place = out.joinpath(*old.relative_to(left).parts[2:]).with_name(old.name[1:].removesuffix(_OLD))
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
    return re.sub(r"/\.manifest[^/]*\.part/[0-9-]+/[0-9]+/", "/", text)


def _shown(record: logging.LogRecord) -> bool:
    record.msg, record.args = _public(record.getMessage()), ()
    return True
