"""A batch whose items are text files and whose work is to copy their letters: no video, no network."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flowcli.batch.items import Item
from flowcli.batch.plan import Plan, plan_items
from flowcli.batch.run import run_batch
from flowcli.batch.standing import Outcome
from flowcli.batch.work import Job, Result, Task
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.options import OutputOptions

TASK = Task(SourceOptions(), EngineOptions(), OutputOptions(kinds=("color", "flo")), "w")


@dataclass
class Batch:
    """A batch of text files: the "video" of an item is its text, and each letter gives a file in a folder.

    Nothing can be made of "1", and only part of "half" can be read.
    """

    inputs: Path
    out: Path
    task: Task = TASK
    tried: list[str] = field(default_factory=list)
    """Items that the last run worked on."""
    made: dict[str, list[str]] = field(default_factory=dict)
    """The outputs that it made of each."""
    fail: bool = False
    """Whether everything fails."""

    def plans(self) -> list[Plan]:
        items = [Item(path.name, path) for path in sorted(self.inputs.iterdir())]
        return plan_items(items, self.out, self.task.output, "forward")

    def crew(self, jobs: Sequence[Job]) -> Generator[tuple[Job, Result]]:
        for job in jobs:
            self.tried.append(job.name)
            text = job.input.read_text()
            damaged = "cut off" if text == "half" else ""
            if text == "bad" or self.fail:
                yield job, Result(seconds=2.0, error="it is bad", hint="make it good")
                continue
            if text == "1":
                yield job, Result(error="only one letter", barren=True)
                continue
            for output in job.outputs:
                assert output.path is not None
                suffix = f".{output.format}"
                self.made.setdefault(job.name, []).append(
                    f"{output.path.name}/*{suffix}" if output.folder else output.path.name
                )
                output.path.parent.mkdir(parents=True, exist_ok=True)
                if not output.folder:
                    output.path.write_text(text)
                    continue
                output.path.mkdir()
                for letter in text:
                    (output.path / f"{letter}{suffix}").write_text(letter)
            yield job, Result(len(text) + 1, len(text), 1.0, damaged=damaged)

    def run(self, retry: bool = False) -> dict[str, Outcome]:
        self.tried.clear()
        self.made.clear()
        outcomes = list(run_batch(self.plans(), self.out, self.task, self.crew, retry=retry))
        assert len({outcome.record.item for outcome in outcomes}) == len(outcomes) == len(self.plans())
        assert not list(self.out.glob(".*"))
        return {outcome.record.item: outcome for outcome in outcomes}

    def status(self, retry: bool = False) -> dict[str, str]:
        return {name: outcome.status for name, outcome in self.run(retry).items()}
