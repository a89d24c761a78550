"""A batch whose items are text files and whose work is to copy their letters: no video, no network."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flowcli.api import EngineOptions, SourceOptions
from flowcli.batch.items import Item
from flowcli.batch.plan import Plan, plan_items
from flowcli.batch.run import Outcome, run_batch
from flowcli.batch.work import Job, Result, Task
from flowcli.output.options import OutputOptions

TASK = Task(SourceOptions(), EngineOptions(), OutputOptions(kinds=("color", "flo")), "w")


@dataclass
class Batch:
    """A batch of text files: the "video" of an item is its text, and each letter gives a file of "flow"."""

    inputs: Path
    out: Path
    task: Task = TASK
    tried: list[str] = field(default_factory=list)
    """Items that the last run worked on."""

    def plans(self) -> list[Plan]:
        items = [Item(path.name, path) for path in sorted(self.inputs.iterdir())]
        return plan_items(items, self.out, self.task.output, "forward")

    def crew(self, jobs: Sequence[Job]) -> Generator[tuple[Job, Result]]:
        for job in jobs:
            self.tried.append(job.name)
            text = job.input.read_text()
            damaged = "cut off" if text == "half" else ""
            if text == "bad":
                yield job, Result(seconds=2.0, error="it is bad", hint="make it good")
                continue
            video, folder = (output.path for output in job.outputs)
            assert video is not None
            assert folder is not None
            folder.mkdir(parents=True)
            video.write_text(text)
            for letter in text:
                (folder / f"{letter}.flo").write_text(letter)
            yield job, Result(len(text) + 1, len(text), 1.0, damaged=damaged)

    def run(self, retry: bool = False) -> dict[str, Outcome]:
        self.tried.clear()
        outcomes = list(run_batch(self.plans(), self.out, self.task, self.crew, retry=retry))
        assert len({outcome.record.item for outcome in outcomes}) == len(outcomes) == len(self.plans())
        assert not list(self.out.glob(".*"))
        return {outcome.record.item: outcome for outcome in outcomes}

    def status(self, retry: bool = False) -> dict[str, str]:
        return {name: outcome.status for name, outcome in self.run(retry).items()}
