from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowcli.batch.run import run_batch
from flowcli.batch.settings import settings
from flowcli.batch.standing import Outcome
from flowcli.batch.work import Job, Result, Task
from flowcli.errors import OutputError
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.naming import name_outputs
from flowcli.output.options import OutputOptions
from tests.batch.fakes import TASK, Batch
from tests.batch.warm import tree
from tests.tiny import ROOT


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """A batch of the items x, with the text "abc", and y, with "de"."""
    inputs = tmp_path / "in"
    inputs.mkdir()
    (inputs / "x").write_text("abc")
    (inputs / "y").write_text("de")
    return Batch(inputs, tmp_path / "deep" / "out")


MADE = {"model": "rpwc", "weights": "w"}
"""The settings of every output."""

WHOLE = {
    "x.mp4": b"abc",
    "x/": b"",
    "x/a.flo": b"a",
    "x/b.flo": b"b",
    "x/c.flo": b"c",
    "y.mp4": b"de",
    "y/": b"",
    "y/d.flo": b"d",
    "y/e.flo": b"e",
}


def test_done_once_and_skipped_then(batch: Batch) -> None:
    first = batch.run()
    assert {name: outcome.status for name, outcome in first.items()} == {"x": "done", "y": "done"}
    assert all(outcome.fresh for outcome in first.values())
    assert tree(batch.out) == WHOLE
    manifest = (batch.out / "manifest.jsonl").read_bytes()
    again = batch.run()
    assert batch.tried == []
    assert again == {name: Outcome("skipped", outcome.record, fresh=False) for name, outcome in first.items()}
    assert (batch.out / "manifest.jsonl").read_bytes() == manifest


def test_what_is_written_down(batch: Batch) -> None:
    (batch.inputs / "y").write_text("bad")
    batch.run()
    lines = [json.loads(line) for line in (batch.out / "manifest.jsonl").read_text().splitlines()]
    assert [(line["item"], line["status"]) for line in lines] == [("x", "writing"), ("x", "done"), ("y", "failed")]
    writing, done, failed = lines
    status = (batch.inputs / "x").stat()
    assert (done["size"], done["mtime"], done["files"]) == (3, status.st_mtime_ns, 1)
    assert (done["frames"], done["flows"], done["seconds"], done["error"]) == (4, 3, 1.0, "")
    assert (done["input"], done["weights"]) == (str(batch.inputs / "x"), "w")
    flo = [["a.flo", 1], ["b.flo", 1], ["c.flo", 1]]
    assert done["outputs"] == [
        {"path": "x.mp4", "files": 1, "size": 3, "names": [], "kind": "color.mp4", "settings": MADE},
        {"path": "x", "files": 3, "size": 3, "names": flo, "kind": "flow.flo", "settings": MADE},
    ]
    assert [output["settings"] for output in writing["outputs"]] == [None, None]
    assert (failed["error"], failed["hint"], failed["seconds"]) == ("it is bad", "make it good", 2)
    assert [(output["path"], output["files"]) for output in failed["outputs"]] == [("y.mp4", 0), ("y", 0)]


def test_what_failed_is_tried_again_when_asked_or_changed(batch: Batch) -> None:
    (batch.inputs / "x").write_text("bad")
    assert batch.status() == {"x": "failed", "y": "done"}
    assert batch.tried == ["x", "y"]
    again = batch.run()
    assert batch.tried == []
    assert (again["x"].status, again["x"].fresh) == ("failed", False)
    assert again["x"].record.error == "it is bad"
    assert batch.status(retry=True) == {"x": "failed", "y": "skipped"}
    assert batch.tried == ["x"]
    (batch.inputs / "x").write_text("abc")
    assert batch.status() == {"x": "done", "y": "skipped"}
    assert tree(batch.out) == WHOLE


def test_damage_is_a_status_of_its_own(batch: Batch) -> None:
    (batch.inputs / "x").write_text("half")
    first = batch.run()
    assert {name: outcome.status for name, outcome in first.items()} == {"x": "damaged", "y": "done"}
    assert (first["x"].record.damaged, first["x"].record.error) == ("cut off", "")
    assert (batch.out / "x.mp4").read_text() == "half"
    again = batch.run()
    assert again["x"] == Outcome("damaged", first["x"].record, fresh=False)
    assert batch.tried == []
    assert batch.status(retry=True) == {"x": "damaged", "y": "skipped"}
    assert batch.tried == ["x"]
    batch.task = replace(TASK, source=SourceOptions(strict=True))
    assert batch.status() == {"x": "damaged", "y": "skipped"}
    assert batch.tried == ["x"], "with --strict what is damaged does not do"
    (batch.inputs / "x").write_text("abc")
    assert batch.status() == {"x": "done", "y": "skipped"}
    assert tree(batch.out) == WHOLE


def test_a_changed_input_is_done_again_and_leaves_nothing_of_before(batch: Batch) -> None:
    batch.run()
    (batch.out / "x" / "notes.txt").write_text("mine")
    (batch.inputs / "x").write_text("bz")
    assert batch.status() == {"x": "done", "y": "skipped"}
    changed = {name: content for name, content in WHOLE.items() if not name.startswith("x/")}
    changed |= {"x.mp4": b"bz", "x/": b"", "x/b.flo": b"b", "x/z.flo": b"z", "x/notes.txt": b"mine"}
    assert tree(batch.out) == changed
    assert batch.status() == {"x": "skipped", "y": "skipped"}
    os.utime(batch.inputs / "y", ns=(5, 5))
    assert batch.status() == {"x": "skipped", "y": "done"}


def test_files_that_the_batch_did_not_make_stay_in_a_folder(batch: Batch) -> None:
    batch.run()
    for name in ("mine.flo", "0.flo", "sub/a.flo"):
        path = batch.out / "x" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    assert batch.status() == {"x": "skipped", "y": "skipped"}
    (batch.inputs / "x").write_text("az")
    assert batch.status() == {"x": "done", "y": "skipped"}
    mine = {"x/mine.flo": b"mine", "x/0.flo": b"mine", "x/sub/": b"", "x/sub/a.flo": b"mine"}
    other = {name: content for name, content in WHOLE.items() if name[0] == "y"}
    made = {"x.mp4": b"az", "x/": b"", "x/a.flo": b"a", "x/z.flo": b"z"}
    assert tree(batch.out) == {**other, **made, **mine}


@pytest.mark.parametrize("damage", ["missing", "shorter", "frame missing", "folder missing", "frame longer"])
def test_outputs_that_are_not_as_they_were_are_made_again(batch: Batch, damage: str) -> None:
    batch.run()
    if damage == "missing":
        (batch.out / "x.mp4").unlink()
    elif damage == "shorter":
        (batch.out / "x.mp4").write_text("ab")
    elif damage == "frame missing":
        (batch.out / "x" / "b.flo").unlink()
    elif damage == "frame longer":
        (batch.out / "x" / "b.flo").write_text("bb")
    else:
        for path in (batch.out / "x").iterdir():
            path.unlink()
        (batch.out / "x").rmdir()
    assert batch.status() == {"x": "done", "y": "skipped"}
    assert tree(batch.out) == WHOLE


def test_hidden_files_in_a_folder_change_nothing(batch: Batch) -> None:
    batch.run()
    (batch.out / "x" / ".DS_Store").touch()
    assert batch.status() == {"x": "skipped", "y": "skipped"}


@pytest.mark.parametrize(
    "task",
    [
        replace(TASK, weights="other"),
        replace(TASK, source=SourceOptions(every=2)),
        replace(TASK, engine=EngineOptions(refine=1)),
        replace(TASK, output=replace(TASK.output, crf=5)),
    ],
)
def test_other_options_replace_nothing_without_being_asked(batch: Batch, task: Task) -> None:
    batch.run()
    before = tree(batch.out)
    batch.task = task
    with pytest.raises(OutputError, match=rf"^made with other options: {batch.out}/x\.mp4, and [13] more \(") as caught:
        batch.run()
    assert caught.value.hint == "pass -y to make them anew, or choose another folder, or a --name"
    assert (batch.tried, tree(batch.out)) == ([], before)
    batch.task = replace(task, output=replace(task.output, overwrite=True))
    assert batch.status() == {"x": "done", "y": "done"}
    assert batch.status() == {"x": "skipped", "y": "skipped"}
    assert tree(batch.out) == WHOLE


@pytest.mark.parametrize(
    "task",
    [
        replace(TASK, engine=EngineOptions(device="cpu")),
        replace(TASK, output=replace(TASK.output, overwrite=True)),
        replace(TASK, output=replace(TASK.output, holes="keep", exr="fusion")),
    ],
)
def test_options_that_change_no_output(batch: Batch, task: Task) -> None:
    batch.run()
    batch.task = task
    assert batch.status() == {"x": "skipped", "y": "skipped"}


def test_files_of_others_are_not_touched(batch: Batch) -> None:
    batch.out.mkdir(parents=True)
    (batch.out / "y.mp4").write_text("mine")
    with pytest.raises(OutputError, match=r"^output exists already: .*/y\.mp4$"):
        batch.run()
    assert tree(batch.out) == {"y.mp4": b"mine"}
    batch.task = replace(TASK, output=replace(TASK.output, overwrite=True))
    assert batch.status() == {"x": "done", "y": "done"}
    assert tree(batch.out) == WHOLE


def test_an_output_that_cannot_be_placed_fails_alone(batch: Batch) -> None:
    batch.run()
    shutil.rmtree(batch.out / "x")
    (batch.out / "x").write_text("mine")
    outcomes = batch.run()
    assert {name: outcome.status for name, outcome in outcomes.items()} == {"x": "failed", "y": "skipped"}
    assert outcomes["x"].record.error == f"cannot write {batch.out}: Not a directory"
    assert (batch.out / "x").read_text() == "mine"
    (batch.out / "x").unlink()
    assert batch.status(retry=True) == {"x": "done", "y": "skipped"}
    assert tree(batch.out) == WHOLE


def test_runs_that_were_killed_leave_nothing(batch: Batch) -> None:
    batch.out.mkdir(parents=True)
    stale = batch.out / ".manifest.0a1b2c3d.part"
    (stale / "3" / "deep").mkdir(parents=True)
    (stale / "3" / "deep" / "1.mp4").touch()
    (stale / "lock").touch()
    others = [batch.out / ".manifest-1of2.0a1b2c3d.part", batch.out / ".mine.part"]
    for folder in others:
        folder.mkdir()
    list(run_batch(batch.plans(), batch.out, TASK, batch.crew))
    assert sorted(batch.out.glob(".*")) == others
    list(run_batch(batch.plans(), batch.out, TASK, batch.crew, share=(1, 2)))
    assert sorted(batch.out.glob(".*")) == others[1:]


def test_messages_show_the_final_places(batch: Batch, caplog: pytest.LogCaptureFixture) -> None:
    def crew(jobs: Sequence[Job]) -> Generator[tuple[Job, Result]]:
        for job in jobs:
            logging.getLogger("flowcli").warning("%s is odd", job.outputs[0].path)
            again = job.again(1)
            yield again, Result(error=f"cannot write {again.outputs[1].path}: full")

    outcomes = list(run_batch(batch.plans(), batch.out, TASK, crew))
    assert [record.getMessage() for record in caplog.records] == [f"{batch.out}/{name}.mp4 is odd" for name in "xy"]
    assert [outcome.record.error for outcome in outcomes] == [f"cannot write {batch.out}/{name}: full" for name in "xy"]


def test_an_error_of_the_crew_ends_the_batch_and_cleans_up(batch: Batch) -> None:
    def crew(jobs: Sequence[Job]) -> Generator[tuple[Job, Result]]:
        yield next(batch.crew(jobs))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_batch(batch.plans(), batch.out, TASK, crew))
    assert tree(batch.out) == {name: content for name, content in WHOLE.items() if name[0] == "x"}
    assert batch.status() == {"x": "skipped", "y": "done"}
    assert tree(batch.out) == WHOLE


_DYING = """
import itertools, os, signal, sys
from pathlib import Path
from tests.batch.fakes import Batch

inputs, base = map(Path, sys.argv[1:])

def dies(step, function):
    # This process, at the call of that number.
    def call(*arguments, **options):
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

for last in itertools.count():
    pid = os.fork()
    if pid == 0:
        batch = Batch(inputs, base / str(last))
        if base.name == "again":
            # Of the same size, and so are the outputs.
            (inputs / "x").write_text("abz")
            batch.run()
            (inputs / "x").write_text("abc")
            os.utime(inputs / "x", (1, 1))
        steps = itertools.count()
        for name in ("replace", "rename", "mkdir", "rmdir", "unlink", "fsync"):
            setattr(os, name, dies(last, getattr(os, name)))
        batch.run()
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
        break
print(last)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("run", ["first", "again"])
def test_killed_before_each_step(batch: Batch, tmp_path: Path, run: str) -> None:
    """Before each call that changes the disk: of a first run, and of one that does a changed item again."""
    base = tmp_path / run
    command = [sys.executable, "-c", _DYING, str(batch.inputs), str(base)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, check=True, timeout=120, stdout=subprocess.PIPE)
    steps = int(done.stdout)
    assert steps > 15
    for step in range(steps):
        killed = Batch(batch.inputs, base / str(step))
        assert set(killed.status().values()) <= {"done", "skipped"}
        assert tree(killed.out) == WHOLE


def of(*kinds: str, **options: Any) -> Task:
    return replace(TASK, output=OutputOptions(kinds=kinds, **options))


def times(batch: Batch, *names: str) -> list[int]:
    return [(batch.out / name).stat().st_mtime_ns for name in names]


def test_another_kind_is_made_beside_what_is_there(batch: Batch) -> None:
    """Also one into the same folder; options that do not matter for what is there may change."""
    batch.task = of("flo")
    batch.run()
    flo = {name: content for name, content in WHOLE.items() if not name.endswith(".mp4")}
    assert tree(batch.out) == flo
    before = times(batch, "x/a.flo", "y/d.flo")
    batch.task = of("flo", "color", max_flow=5.0)
    made = batch.run()
    assert {name: outcome.status for name, outcome in made.items()} == {"x": "done", "y": "done"}
    assert batch.made == {"x": ["x.mp4"], "y": ["y.mp4"]}
    assert tree(batch.out) == WHOLE
    (folder, video) = made["x"].record.outputs
    assert (folder.settings, video.settings) == ({**MADE}, {**MADE, "max-flow": "5.0"})
    batch.task = of("npy", "flo", max_flow=9.0)
    assert batch.status() == {"x": "done", "y": "done"}
    assert batch.made == {"x": ["x/*.npy"], "y": ["y/*.npy"]}
    npy = {f"{name[:-4]}.npy": content for name, content in flo.items() if name.endswith(".flo")}
    assert tree(batch.out) == {**WHOLE, **npy}
    assert times(batch, "x/a.flo", "y/d.flo") == before
    for kinds in (("flo",), ("npy",), ("flo", "npy")):
        batch.task = of(*kinds)
        assert batch.status() == {"x": "skipped", "y": "skipped"}
    batch.task = of("color", max_flow=5.0)
    assert batch.status() == {"x": "skipped", "y": "skipped"}


def test_two_kinds_in_one_folder_from_the_beginning(batch: Batch) -> None:
    batch.task = of("flo", "npy")
    made = batch.run()["x"].record.outputs
    assert [(each.kind, each.files, each.names[0]) for each in made] == [
        ("flow.flo", 3, ("a.flo", 1)),
        ("flow.npy", 3, ("a.npy", 1)),
    ]
    whole = tree(batch.out)
    (batch.out / "x" / "b.npy").unlink()
    assert batch.status() == {"x": "done", "y": "skipped"}
    assert batch.made == {"x": ["x/*.npy"]}
    assert tree(batch.out) == whole
    (batch.inputs / "x").write_text("z")
    assert batch.status() == {"x": "done", "y": "skipped"}
    left = {name: content for name, content in whole.items() if not name.startswith("x/")}
    assert tree(batch.out) == {**left, "x/": b"", "x/z.flo": b"z", "x/z.npy": b"z"}


def test_another_content_under_the_same_name_replaces_nothing(batch: Batch) -> None:
    batch.task = of("color.png", "color")
    batch.run()
    for kind, name in (("warp.png", "x"), ("warp", "x.mp4"), ("hsv", "x.mp4")):
        batch.task = of(kind)
        what = kind.partition(".")[0]
        with pytest.raises(OutputError) as caught:
            batch.run()
        form = "png" if "." in kind else "mp4"
        assert caught.value.message == (
            f"made with other options: {batch.out}/{name}, and 1 more (as color.{form}, now {what}.{form})"
        )
    assert batch.tried == []


def test_a_kind_that_fails_leaves_the_others(batch: Batch) -> None:
    batch.task = of("flo")
    batch.run()
    batch.task = of("flo", "color")
    batch.fail = True
    assert batch.status() == {"x": "failed", "y": "failed"}
    batch.fail = False
    assert batch.status() == {"x": "failed", "y": "failed"}
    batch.task = of("flo")
    assert batch.status() == {"x": "skipped", "y": "skipped"}
    batch.task = of("flo", "color")
    assert batch.status(retry=True) == {"x": "done", "y": "done"}
    assert batch.made == {"x": ["x.mp4"], "y": ["y.mp4"]}
    assert tree(batch.out) == WHOLE


def test_what_nothing_can_be_made_of_is_skipped(batch: Batch) -> None:
    (batch.inputs / "x").write_text("1")
    first = batch.run()
    assert {name: outcome.status for name, outcome in first.items()} == {"x": "skipped", "y": "done"}
    assert (first["x"].record.status, first["x"].record.error) == ("skipped", "only one letter")
    again = batch.run(retry=True)
    assert batch.tried == []
    assert again["x"] == Outcome("skipped", first["x"].record, fresh=False)
    batch.task = of("npy")
    assert batch.status() == {"x": "skipped", "y": "done"}
    assert batch.tried == ["x", "y"]


def test_records_of_version_0_1_are_read(batch: Batch) -> None:
    """What they tell of is made again, since its options are not known, and its files are known as ours."""
    batch.run()
    path = batch.out / "manifest.jsonl"
    old = [json.loads(line) for line in path.read_text().splitlines()]
    for record in old:
        record["settings"] = "0123"
        record["outputs"] = [
            {key: each[key] for key in ("path", "files", "size", "names")} for each in record["outputs"]
        ]
    path.write_text("".join(f"{json.dumps(record)}\n" for record in old))
    assert batch.status() == {"x": "done", "y": "done"}
    assert tree(batch.out) == WHOLE


def test_options_of_drawing_are_settings_of_what_is_drawn() -> None:
    kinds = ("flo", "color", "side-by-side", "hsv")
    task = of(*kinds, targets=("a/", "b.mp4", "c.mp4", "d.mp4"), style="arrows", floor=0.5)
    flo, arrows, beside, hsv = (settings(each, task) for each in name_outputs(task.output, direction="forward"))
    assert flo == MADE
    # The style of the others is their content.
    assert arrows == hsv == {**MADE, "floor": "0.5"}
    assert beside == {**MADE, "floor": "0.5", "style": "arrows"}
