"""Processes a batch on this machine: threads with an engine each; threads on one device share the weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from flowcli.batch.work import Job, Result, Task, Worker
from flowcli.pipeline import use_threads

if TYPE_CHECKING:
    from flowcli.models.base import FlowModel

Report = Callable[[str, int, int | None], None]
"""Called in the worker's thread with an item's name, its flows so far, and their total if known."""


class _Stopped(BaseException):
    """Raised to stop a running job."""


def local_crew(
    jobs: Sequence[Job], task: Task, count: int | None, report: Report = lambda name, done, total: None
) -> Generator[tuple[Job, Result]]:
    """Processes the jobs with `count` workers, None for one per device. Raises DeviceError, WeightsError."""
    if not jobs:
        return
    import torch

    workers = _workers(task, count)
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)
    stop = threading.Event()

    def do(job: Job) -> Result:
        def watch(done: int, total: int | None) -> None:
            if stop.is_set():
                raise _Stopped
            report(job.name, done, total)

        worker = idle.get()
        try:
            return worker.make(job, watch)
        finally:
            idle.put(worker)

    threads = max(1, torch.get_num_threads() // len(workers))
    pool = ThreadPoolExecutor(len(workers), "flowcli-worker", use_threads, (threads,))
    try:
        futures = {pool.submit(do, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _workers(task: Task, count: int | None) -> list[Worker]:
    devices = _devices(task.engine.device)
    models: dict[str, FlowModel] = {}
    workers = []
    for number in range(count or len(devices)):
        device = devices[number % len(devices)]
        worker = Worker(replace(task, engine=replace(task.engine, device=device)), models.get(device))
        if worker.maker.model is not None:
            models[device] = worker.maker.model
        workers.append(worker)
    return workers


def _devices(name: str) -> list[str]:
    """The devices that a name stands for; "auto" and "cuda" mean all GPUs."""
    import torch

    gpus = torch.cuda.device_count() if name in ("auto", "cuda") and torch.cuda.is_available() else 0
    return [f"cuda:{index}" for index in range(gpus)] or [name]
