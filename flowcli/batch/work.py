"""The work on one item: from its input to its outputs, in a private folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowcli.api import EngineOptions, SourceOptions, count_pairs, find_weights, open_engine, open_input, open_run
from flowcli.errors import MEMORY_HINT, FlowcliError, OutputError, WeightsError, first_line, is_memory_error
from flowcli.output.naming import Output
from flowcli.output.opening import open_flows
from flowcli.output.options import OutputOptions
from flowcli.types import FlowPair, drain, open_all

if TYPE_CHECKING:
    from flowcli.engine.engine import Engine
    from flowcli.models.base import FlowModel
    from flowcli.weights.entries import Entry

Watch = Callable[[int, int | None], None]
"""Called with the flows of an item so far and their total, if known; an exception ends the item."""


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


def weights_hash(entry: Entry) -> str:
    """The identity of weights, for a Task."""
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
    seconds: float = 0.0
    error: str = ""
    hint: str = ""
    damaged: str = ""
    """What of the input could not be read, if its outputs were made all the same."""
    arithmetic: str = ""
    """What decides the last bits of the flow, beside weights and options."""


class Worker:
    """Processes jobs one after the other with one engine.

    model: the network of `task`, if it is already loaded. Raises DeviceError, and WeightsError, also if the weights are
    not those of `task`.
    """

    def __init__(self, task: Task, model: FlowModel | None = None) -> None:
        self.task = task
        self.entry = find_weights(task.engine)
        if (found := weights_hash(self.entry)) != task.weights:
            raise WeightsError(
                f"weights {self.entry.name} are not the same everywhere: {found} and {task.weights}",
                "install the same flowcli, and the same weights, on all machines",
            )
        self.engine = open_engine(self.entry, task.engine, model)

    def make(self, job: Job, watch: Watch = lambda done, total: None) -> Result:
        """Makes the outputs of the job. Errors are in the result; only exceptions of `watch` are raised."""
        began = time.perf_counter()
        try:
            made = self._make(job, watch)
        except FlowcliError as error:
            return Result(seconds=time.perf_counter() - began, error=error.message, hint=error.hint)
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
        name = str(job.input)
        with (
            open_input(replace(task.source, input=name)) as frames,
            open_run(frames, name, self.entry, task.engine, self.engine, job.outputs) as run,
        ):
            info = frames.info
            writers = open_all(job.outputs, lambda each: open_flows(each, info, task.output, sys.stdout.buffer))
            flows = drain(_watched(run.pairs, count_pairs(info, task.engine), watch), writers)
        return Result(run.decode.items, flows, damaged=frames.damage, arithmetic=_arithmetic(self.engine))


def _arithmetic(engine: Engine) -> str:
    """In words: precision, frames per step, device, threads, instructions, kernels, and the version of torch."""
    import torch

    from flowcli.ops import native

    where = str(engine.device)
    if engine.device.type == "cpu":
        where += f" with {torch.get_num_threads()} threads of {torch.backends.cpu.get_cpu_capability()}"
    kernel = native.status(engine.device.type).kernel
    return f"{engine.precision}, {engine.batch} at once, {where}, {kernel} kernels, torch {torch.__version__}"


def _watched(pairs: Iterator[FlowPair], total: int | None, watch: Watch) -> Iterator[FlowPair]:
    watch(0, total)
    for done, pair in enumerate(pairs, 1):
        yield pair
        watch(done, total)
