from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flowcli.batch import cluster as module
from flowcli.batch.cluster import ray_crew
from flowcli.batch.work import Job, Result, Task
from flowcli.cli.main import main
from flowcli.errors import DeviceError, FlowcliError, UsageError, WeightsError
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.options import OutputOptions
from tests.batch.warm import tree
from tests.tiny import ROOT
from tests.video.clips import lavfi

TASK = Task(SourceOptions(), EngineOptions(), OutputOptions(), "w")


class WorkerDied(Exception):
    pass


class Ray:
    """A cluster in this process. script: what becomes of each actor's calls, "ok" if nothing is said of them."""

    exceptions = SimpleNamespace(RayError=WorkerDied)

    def __init__(self, *script: str | FlowcliError) -> None:
        self.script = list(script)
        self.calls: list[str] = []
        self.answers: dict[str, Any] = {}

    def remote(self) -> Any:
        return SimpleNamespace(
            open=SimpleNamespace(remote=lambda task: self._call("open", None)),
            make=SimpleNamespace(remote=lambda job: self._call(f"make {job.place.name}", (Result(flows=1), []))),
        )

    def _call(self, what: str, value: Any) -> str:
        self.calls.append(what)
        answer = f"{len(self.calls)}"
        said = self.script.pop(0) if self.script else "ok"
        self.answers[answer] = value if said == "ok" else WorkerDied(said) if isinstance(said, str) else said
        return answer

    def wait(self, answers: Sequence[str], num_returns: int) -> tuple[list[str], list[str]]:
        return [answers[0]], list(answers[1:])

    def get(self, answer: str) -> Any:
        value = self.answers.pop(answer)
        if isinstance(value, WorkerDied):
            raise value
        return value


def driven(ray: Ray, jobs: int, workers: int = 1) -> list[tuple[str, str]]:
    """Places and errors of jobs, in the order of their end."""
    todo = [Job(str(number), Path("in"), Path("work", str(number)), ()) for number in range(jobs)]
    return [(job.place.name, made.error) for job, made in module._drive(ray, ray, TASK, todo, workers)]


def test_one_actor_does_one_job_after_the_other() -> None:
    ray = Ray()
    assert driven(ray, 3) == [("0", ""), ("1", ""), ("2", "")]
    assert ray.calls == ["open", "make 0", "make 1", "make 2"]


def test_a_job_whose_worker_dies_is_given_to_another(caplog: pytest.LogCaptureFixture) -> None:
    ray = Ray("ok", "killed")
    assert driven(ray, 2) == [("0-1", ""), ("1", "")]
    assert ray.calls == ["open", "make 0", "open", "make 0-1", "make 1"]
    assert [record.getMessage() for record in caplog.records] == ["the worker of 0 died (attempt 1 of 3)"]


def test_a_job_that_kills_every_worker_fails_and_the_rest_is_done() -> None:
    ray = Ray("ok", "killed", "ok", "killed", "ok", "killed")
    assert driven(ray, 2) == [("0-1-2", "its worker died 3 times"), ("1", "")]


def test_workers_that_die_on_their_start() -> None:
    ray = Ray("killed", "killed")
    assert driven(ray, 1) == [("0", "")]
    with pytest.raises(DeviceError, match=r"^Ray's workers do not start: no memory$"):
        driven(Ray("killed", "killed", "no memory"), 1)


def test_what_is_wrong_on_a_worker_ends_the_batch() -> None:
    with pytest.raises(WeightsError, match=r"^other weights$"):
        driven(Ray(WeightsError("other weights")), 1)


@pytest.mark.parametrize(
    ("resources", "device", "expected"),
    [
        ({"CPU": 4.0}, "auto", (False, 4)),
        ({"CPU": 4.0, "GPU": 2.0}, "auto", (True, 2)),
        ({"CPU": 4.0, "GPU": 2.0}, "cuda", (True, 2)),
        ({"CPU": 4.0, "GPU": 2.0}, "cpu", (False, 4)),
    ],
)
def test_a_worker_for_each_gpu_or_cpu(resources: dict[str, float], device: str, expected: tuple[bool, int]) -> None:
    assert module._slots(resources, device) == expected


def test_devices_that_the_cluster_lacks() -> None:
    with pytest.raises(DeviceError, match=r"^no GPU in the Ray cluster$"):
        module._slots({"CPU": 4.0}, "cuda")
    with pytest.raises(DeviceError, match=r"^no CPU in the Ray cluster$"):
        module._slots({}, "auto")
    task = replace(TASK, engine=EngineOptions(device="cuda:1"))
    with pytest.raises(UsageError, match=r"^on a cluster Ray chooses the GPU: --device cuda:1$"):
        next(ray_crew([], task, None, "auto"))


@pytest.mark.slow
def test_a_cluster_that_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason="Ray is not installed", exc_type=ImportError)
    (tmp_path / "x.mp4").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = ["batch", str(tmp_path / "x.mp4"), "--out", str(tmp_path / "out"), "-m", "dis"]
    assert main([*command, f"--ray=127.0.0.1:{port}"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: no Ray cluster at 127.0.0.1:{port}: [Errno 111] Connection refused"
    assert hint == "hint: start one: ray start --head; or give its address: --ray=HOST:6379"


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "x.mp4").touch()
    assert main(["batch", str(tmp_path / "x.mp4"), "--out", str(tmp_path / "out"), "-m", "dis", "--ray"]) == 2
    expected = "error: --ray needs Ray, which is not installed\nhint: pip install 'flowcli[ray]'\n"
    assert capsys.readouterr().err == expected


_CLUSTER = """
import sys
from ray.cluster_utils import Cluster

node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
cluster.add_node(**node)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a Ray cluster of two nodes on this machine, with room for one worker each."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", _CLUSTER], env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield next(line.strip() for line in process.stdout if re.fullmatch(r"\S+:\d+\n", line))
        finally:
            process.communicate(timeout=60)


def writers(out: Path) -> set[int]:
    """The processes that are writing outputs, by the locks of what they write."""
    found = set()
    for path in out.glob(".manifest.*.part/*/*/.*.part/lock"):
        with suppress(FileNotFoundError, IndexError):
            found.add(int(path.read_text().split()[1]))
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_nodes_and_a_worker_that_is_killed(address: str, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("a", "b", "c"):
        lavfi(clips / f"{name}.mkv", "testsrc2=size=192x144:rate=60:duration=1", "-c:v", "ffv1")
    (clips / "bad.mp4").write_text("no video")
    command = ["batch", str(clips), "-m", "dis", "--device", "cpu", "--as", "mkv", "--json"]
    assert main([*command, "-q", "--out", str(tmp_path / "here")]) == 3

    out = tmp_path / "out"
    start = [sys.executable, "-m", "flowcli", *command, f"--ray={address}", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(start, env=environment, text=True, **pipes)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + 240
        while not (found := writers(out)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        victim = found.pop()
        seen = {victim}
        os.kill(victim, signal.SIGKILL)
        while process.poll() is None:
            assert time.monotonic() < deadline
            seen |= writers(out)
            time.sleep(0.01)
    finally:
        process.kill()
        stdout, stderr = process.communicate()
    assert process.returncode == 3, stderr
    assert tree(out) == tree(tmp_path / "here")
    assert set(tree(out)) == {"a.mkv", "b.mkv", "c.mkv"}
    records = {record["item"]: record for record in map(json.loads, stdout.splitlines())}
    assert {name: record["flows"] for name, record in records.items()} == {
        "a.mkv": 59,
        "b.mkv": 59,
        "c.mkv": 59,
        "bad.mp4": 0,
    }
    assert re.search(r"^warning: the worker of [abc]\.mkv died \(attempt 1 of 3\)$", stderr, re.MULTILINE)
    # Not on the same node, which has room for one.
    assert len(seen) >= 2
