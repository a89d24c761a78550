"""Processes a batch on a Ray cluster: actors that hold a model, one per GPU, or per CPU if there is no GPU."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from typing import Any

from flowcli.batch.work import Job, Result, Task, Worker
from flowcli.environment import NATIVE, PIXELS, changed, max_pixels, share_cores
from flowcli.errors import DeviceError, FlowcliError, UsageError

ATTEMPTS = 3
"""How many times an item is tried if its worker dies."""
_STARTS = 3
"""How many workers in a row may die while starting."""
_PATIENCE = 10.0
"""Seconds to wait for the answer of a cluster."""

_LOG = logging.getLogger("flowcli")


def ray_crew(jobs: Sequence[Job], task: Task, count: int | None, address: str) -> Generator[tuple[Job, Result]]:
    """Processes the jobs with at most `count` actors; the job of an actor that dies goes to another one.

    address: as for `ray.init`. All machines must see the same files and have flowcli installed. Raises DeviceError if
    there is no cluster or it lacks the devices of `task`, and WeightsError.
    """
    if task.engine.device.startswith("cuda:"):
        raise UsageError(f"on a cluster Ray chooses the GPU: --device {task.engine.device}", "use auto, cuda or cpu")
    if not jobs:
        return
    with _connected(address) as ray:
        gpus, slots = _slots(ray.cluster_resources(), task.engine.device)
        task = replace(task, engine=replace(task.engine, device="cuda" if gpus else "cpu"))
        limit = {"env_vars": {PIXELS: str(max_pixels()), NATIVE: os.environ.get(NATIVE, "auto")}}
        actor = ray.remote(num_cpus=1, num_gpus=int(gpus), scheduling_strategy="SPREAD", runtime_env=limit)(_Actor)
        yield from _drive(ray, actor, task, jobs, min(slots, len(jobs), count or slots))


class _Actor:
    """A Worker in another process, on any machine."""

    def open(self, task: Task) -> FlowcliError | None:
        """Loads the model; returns the error if that fails."""
        share_cores()
        self._said = _Said()
        _LOG.addHandler(self._said)
        try:
            self._worker = Worker(task)
        except FlowcliError as error:
            return error
        return None

    def make(self, job: Job) -> tuple[Result, list[tuple[int, str]]]:
        """The result of the job, and the messages logged meanwhile."""
        made = self._worker.make(job)
        return made, self._said.take()


class _Said(logging.Handler):
    """Keeps log messages."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append((record.levelno, record.getMessage()))

    def take(self) -> list[tuple[int, str]]:
        lines, self._lines = self._lines, []
        return lines


def _drive(ray: Any, actor: Any, task: Task, jobs: Sequence[Job], count: int) -> Generator[tuple[Job, Result]]:
    todo = deque((job, 1) for job in jobs)
    starting: dict[Any, Any] = {}
    busy: dict[Any, tuple[Any, Job, int]] = {}
    dead_on_start = 0

    def start() -> None:
        worker = actor.remote()
        starting[worker.open.remote(task)] = worker

    for _ in range(count):
        start()
    while todo or busy:
        (answer,), _ = ray.wait([*starting, *busy], num_returns=1)
        if answer in starting:
            worker = starting.pop(answer)
            try:
                problem = ray.get(answer)
            except ray.exceptions.RayError as error:
                dead_on_start += 1
                if dead_on_start == _STARTS:
                    raise DeviceError(
                        f"Ray's workers do not start: {error}", "install flowcli on all machines"
                    ) from error
                start()
                continue
            if problem is not None:
                raise problem
            dead_on_start = 0
        else:
            worker, job, attempt = busy.pop(answer)
            try:
                made, said = ray.get(answer)
            except ray.exceptions.RayError:
                _LOG.warning("the worker of %s died (attempt %d of %d)", job.name, attempt, ATTEMPTS)
                if attempt < ATTEMPTS:
                    todo.appendleft((job.again(attempt), attempt + 1))
                else:
                    yield job, Result(error=f"its worker died {attempt} times", hint="is there enough memory?")
                if todo:
                    start()
                continue
            for level, line in said:
                _LOG.log(level, "%s", line)
            yield job, made
        if todo:
            job, attempt = todo.popleft()
            busy[worker.make.remote(job)] = worker, job, attempt


def _slots(resources: dict[str, float], device: str) -> tuple[bool, int]:
    """Whether GPUs are used, and the largest number of workers. Raises DeviceError."""
    gpus = int(resources.get("GPU", 0)) if device != "cpu" else 0
    if device == "cuda" and not gpus:
        raise DeviceError("no GPU in the Ray cluster", "pass --device auto, or add machines with a GPU")
    if not (slots := gpus or int(resources.get("CPU", 0))):
        raise DeviceError("no CPU in the Ray cluster", "add machines that have some")
    return bool(gpus), slots


def _check(address: str) -> None:
    """Raises OSError if nothing answers at the address; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), _PATIENCE).close()


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """The module ray, connected to the cluster; inside this context stdout is redirected to stderr."""
    # Ray sends usage statistics unless it is told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError("--ray needs Ray, which is not installed", "pip install 'flowcli[ray]'") from error
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        _check(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
        with changed():
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"no Ray cluster at {address}: {error}", "start one: ray start --head; or give its address: --ray=HOST:6379"
        ) from error
    # Ray has replaced it by a handler of its own.
    signal.signal(signal.SIGTERM, terminated)
    try:
        # Ray prints its complaints to stdout, in a thread.
        with redirect_stdout(sys.stderr):
            yield ray
    finally:
        ray.shutdown()
