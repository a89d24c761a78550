"""The work on one item: from its input to its outputs, in a private folder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from flowcli.batch.makers import FlowMaker, FrameMaker, Maker, MaskMaker, Watch
from flowcli.carry.run import CarryOptions
from flowcli.errors import (
    MEMORY_HINT,
    FlowcliError,
    NoMasksError,
    OneFrameError,
    OutputError,
    WeightsError,
    first_line,
    is_memory_error,
)
from flowcli.interpolation.options import InterpolationOptions
from flowcli.interpolation.run import find_method
from flowcli.once import warned_once
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.naming import Output
from flowcli.output.options import OutputOptions
from flowcli.run import find_weights, open_input
from flowcli.types import drain

if TYPE_CHECKING:
    from flowcli.models.base import FlowModel
    from flowcli.weights.entries import Entry

Item = TypeVar("Item")


@dataclass(frozen=True)
class Task:
    """What to do with every item."""

    source: SourceOptions
    """Options of the source, without its input."""
    engine: EngineOptions
    output: OutputOptions
    """Options of the outputs, without targets."""
    weights: str
    """SHA-256 of the weights, or the name of a method without weights."""
    making: InterpolationOptions | None = None
    """Makes frames between frames instead of flow."""
    carrying: CarryOptions | None = None
    """Carries masks along the flow; `masks` is the folder in which those of each item are."""


def task_weights(engine: EngineOptions, making: InterpolationOptions | None = None) -> str:
    """The identity of the weights that flow or frames are made with, for a Task. Raises WeightsError."""
    if making is None:
        return weights_hash(find_weights(engine))
    method = find_method(making.method, engine, along=True)
    entry = method.weights or method.flow
    return method.name if entry is None else weights_hash(entry)


def weights_hash(entry: Entry) -> str:
    """The identity of weights."""
    return entry.sha256 or entry.name


@dataclass(frozen=True)
class Job:
    """An item to process. `place` is a folder that does not exist yet, in which the outputs have their paths."""

    name: str
    input: Path
    place: Path
    outputs: tuple[Output, ...]

    def again(self, attempt: int) -> Job:
        """The same job in another place, since this one may still be in use or hold leftovers."""
        place = self.place.with_name(f"{self.place.name}-{attempt}")
        return replace(self, place=place, outputs=moved(self.outputs, self.place, place))


def moved(outputs: Sequence[Output], folder: Path, other: Path) -> tuple[Output, ...]:
    """The same outputs in the `other` folder."""
    return tuple(replace(each, path=each.path and other / each.path.relative_to(folder)) for each in outputs)


@dataclass(frozen=True)
class Result:
    """The result of a job; `error` is empty if it succeeded."""

    frames: int = 0
    flows: int = 0
    """Or frames that were made."""
    seconds: float = 0.0
    error: str = ""
    hint: str = ""
    barren: bool = False
    """Whether the input is whole, but nothing can be made of it; `error` says why."""
    damaged: str = ""
    """What of the input could not be read, if its outputs were made all the same."""
    arithmetic: str = ""
    """What decides the last bits of the flow, beside weights and options."""
    cuts: tuple[int, ...] = ()
    """Frames at which shots were found to begin, across which flow is unknown."""
    duplicates: tuple[int, ...] = ()
    """Frames that were found to repeat the one before."""


class Worker:
    """Processes jobs one after the other with one network.

    model: the network of `task`, if it is already loaded. Raises DeviceError, and WeightsError, also if the weights are
    not those of `task`.
    """

    def __init__(self, task: Task, model: FlowModel | None = None) -> None:
        self.task = task
        if (found := task_weights(task.engine, task.making)) != task.weights:
            raise WeightsError(
                f"weights {task.engine.model} are not the same everywhere: {found} and {task.weights}",
                "install the same flowcli, and the same weights, on all machines",
            )
        self.maker = self._open_maker(model)

    def _open_maker(self, model: FlowModel | None) -> Maker:
        task = self.task
        if task.making is not None:
            return FrameMaker(task.engine, task.making, task.output, model)
        if task.carrying is not None:
            return MaskMaker(task.engine, task.carrying, task.output, model)
        return FlowMaker(task.engine, task.output, model)

    def make(self, job: Job, watch: Watch = lambda done, total: None) -> Result:
        """Makes the outputs of the job. Errors are in the result; only exceptions of `watch` are raised."""
        began = time.perf_counter()
        try:
            made = self._make(job, watch)
        except FlowcliError as error:
            barren = isinstance(error, OneFrameError | NoMasksError)
            return Result(seconds=time.perf_counter() - began, error=error.message, hint=error.hint, barren=barren)
        except Exception as error:  # noqa: BLE001 - one bad item must not end the batch
            if is_memory_error(error):
                message = f"not enough memory: {first_line(error)}"
                return Result(seconds=time.perf_counter() - began, error=message, hint=MEMORY_HINT)
            return Result(seconds=time.perf_counter() - began, error=f"{type(error).__name__}: {error}")
        return replace(made, seconds=time.perf_counter() - began)

    def _make(self, job: Job, watch: Watch) -> Result:
        task = self.task
        try:
            job.place.mkdir()
        except FileNotFoundError as error:
            # Without creating parents, or outputs would be written where nobody finds them.
            folder = job.place.parent.parent
            raise OutputError(f"no such folder: {folder}", "all machines of a cluster have to see the same") from error
        for output in job.outputs:
            assert output.path is not None
            output.path.parent.mkdir(parents=True, exist_ok=True)
        deep = task.making is not None or any(each.deep for each in job.outputs)
        source = replace(task.source, input=str(job.input), deep=deep)
        with (
            warned_once(),
            open_input(source) as frames,
            self.maker.open(job.name, frames, source, job.outputs, watch) as run,
        ):
            made = drain(_watched(run.items, run.total, watch), run.writers)
        cuts, duplicates, arithmetic = tuple(run.cuts), tuple(run.duplicates), self.maker.arithmetic()
        return Result(
            run.decode.items, made, damaged=frames.damage, arithmetic=arithmetic, cuts=cuts, duplicates=duplicates
        )


def _watched(items: Iterator[Item], total: int | None, watch: Watch) -> Iterator[Item]:
    watch(0, total)
    for done, item in enumerate(items, 1):
        yield item
        watch(done, total)
