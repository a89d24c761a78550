from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flowcli.batch import local
from flowcli.batch.local import local_crew
from flowcli.batch.makers import Watch
from flowcli.batch.work import Job, Result, Task, Worker, weights_hash
from flowcli.errors import DeviceError, WeightsError
from flowcli.flowfile import read_flow
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.naming import name_outputs
from flowcli.output.options import OutputOptions
from flowcli.run import find_weights
from tests import sample
from tests.batch.warm import tree
from tests.tiny import DOWN, write_pictures

OPTIONS = EngineOptions(device="cpu", precision="fp32")


@pytest.fixture
def task(table: Path) -> Task:
    return Task(SourceOptions(), OPTIONS, OutputOptions(), weights_hash(find_weights(OPTIONS)))


def job(folder: Path, name: str, pictures: int) -> Job:
    """To make flow/*.flo of so many pictures."""
    source = write_pictures(folder / f"{name}-in", pictures)
    place = folder / f"{name}-out"
    outputs = name_outputs(OutputOptions((f"{place}/flow/",), ("flo",)), direction="forward")
    return Job(name, source, place, tuple(outputs))


def test_jobs_are_done_side_by_side(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(2, timeout=30)
    weights = set()

    class Meeting(Worker):
        def _make(self, job: Job, watch: Watch) -> Result:
            assert self.maker.model is not None
            weights.add(tuple(each.data_ptr() for each in self.maker.model.parameters()))
            meeting.wait()
            return super()._make(job, watch)

    monkeypatch.setattr(local, "Worker", Meeting)
    jobs = [job(tmp_path, name, count) for name, count in (("x", 3), ("y", 5))]
    seen: list[tuple[str, int, int | None]] = []
    done = {each.name: made for each, made in local_crew(jobs, task, 2, lambda *news: seen.append(news))}
    assert {name: (made.frames, made.flows, made.error) for name, made in done.items()} == {
        "x": (3, 2, ""),
        "y": (5, 4, ""),
    }
    assert len(weights) == 1, "in memory once"
    for each, last in zip(jobs, (2, 4), strict=True):
        assert [news[1:] for news in seen if news[0] == each.name] == [(number, last) for number in range(last + 1)]
        files = sorted((each.place / "flow").iterdir())
        assert [path.name for path in files] == [f"f{index}.flo" for index in range(last)]
        uv, _ = read_flow(files[-1])
        np.testing.assert_allclose(uv[0], 10)
        np.testing.assert_allclose(uv[1], DOWN)


def test_a_worker_computes_with_its_share_of_the_threads(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    counts = []

    class Counting(Worker):
        def _make(self, job: Job, watch: Watch) -> Result:
            counts.append(torch.get_num_threads())
            return super()._make(job, watch)

    monkeypatch.setattr(local, "Worker", Counting)
    torch.set_num_threads(6)
    try:
        # The outputs of each job set the number to 1 for threads that start later.
        for _ in local_crew([job(tmp_path, str(number), 2) for number in range(6)], task, 2):
            pass
    finally:
        torch.set_num_threads(before)
    assert counts == [3] * 6


@pytest.mark.slow
def test_what_is_made_does_not_depend_on_what_was_made_before(library: Path, tmp_path: Path) -> None:
    """Bit for bit: networks round otherwise with another number of threads."""
    entry = find_weights(OPTIONS)
    task = Task(SourceOptions(stop=4), OPTIONS, OutputOptions(), weights_hash(entry))
    jobs = [replace(job(tmp_path, name, 2), input=sample.PATH) for name in ("first", "second", "third")]
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        errors = [made.error for _, made in local_crew(jobs, task, 1)]
    finally:
        torch.set_num_threads(before)
    assert errors == ["", "", ""]
    first, *others = [tree(each.place) for each in jobs]
    assert len(first) == 4
    assert others == [first, first]


def test_what_goes_wrong_is_told_and_the_rest_is_done(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Worker):
        def _make(self, job: Job, watch: Watch) -> Result:
            if job.name == "odd":
                raise ZeroDivisionError("division by zero")
            return super()._make(job, watch)

    monkeypatch.setattr(local, "Worker", Failing)
    jobs = [
        job(tmp_path, name, count)
        for name, count in (("one", 1), ("cut", 4), ("there", 3), ("odd", 3), ("far", 3), ("good", 3))
    ]
    (jobs[1].input / "f2.png").write_bytes(b"not a picture")
    jobs[2].place.mkdir()
    jobs[4] = replace(jobs[4], place=tmp_path / "no" / "work" / "4")
    done = {each.name: made for each, made in local_crew(jobs, task, None)}
    assert {name: (made.error, made.hint) for name, made in done.items()} == {
        "one": (f"only one frame in {jobs[0].input}", "flow needs two frames"),
        "cut": (f"not a picture, or a damaged one: {jobs[1].input}/f2.png", "remove it, or convert it to PNG"),
        "there": (f"FileExistsError: [Errno 17] File exists: '{jobs[2].place}'", ""),
        "odd": ("ZeroDivisionError: division by zero", ""),
        "far": (f"no such folder: {tmp_path}/no", "all machines of a cluster have to see the same"),
        "good": ("", ""),
    }
    assert all(made.seconds > 0 for made in done.values())
    assert done["good"].flows == 2


def test_leaving_stops_the_work(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = threading.Event()
    stopped = []

    class Slow(Worker):
        def make(self, job: Job, watch: Watch = lambda done, total: None) -> Result:
            if job.name == "quick":
                return super().make(job)
            running.set()
            try:
                while True:
                    watch(0, None)
            except BaseException as error:
                stopped.append((job.name, type(error).__name__))
                raise

    monkeypatch.setattr(local, "Worker", Slow)
    crew = local_crew([job(tmp_path, name, 2) for name in ("quick", "slow", "never")], task, 2)
    assert next(crew)[0].name == "quick"
    assert running.wait(30)
    crew.close()
    assert ("slow", "_Stopped") in stopped
    assert not [each for each in threading.enumerate() if each.name.startswith("flowcli-worker")]


def test_nothing_to_do_needs_no_worker(task: Task) -> None:
    assert list(local_crew([], replace(task, weights="other"), None)) == []


def test_workers_that_cannot_be_made(task: Task, tmp_path: Path) -> None:
    jobs: Sequence[Job] = [job(tmp_path, "x", 2)]
    with pytest.raises(WeightsError, match=r"^weights rpwc are not the same everywhere: "):
        next(local_crew(jobs, replace(task, weights="other"), None))
    with pytest.raises(DeviceError):
        next(local_crew(jobs, replace(task, engine=replace(OPTIONS, device="cuda:99")), None))


@pytest.mark.parametrize(
    ("name", "gpus", "devices"),
    [
        ("auto", 0, ["auto"]),
        ("cuda", 0, ["cuda"]),
        ("auto", 2, ["cuda:0", "cuda:1"]),
        ("cuda", 2, ["cuda:0", "cuda:1"]),
        ("cuda:1", 2, ["cuda:1"]),
        ("cpu", 2, ["cpu"]),
    ],
)
def test_all_gpus_are_used(name: str, gpus: int, devices: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert local._devices(name) == devices
