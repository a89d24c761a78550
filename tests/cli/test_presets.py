"""`--preset`: what comes before what, what gives way, and that each preset is one that the commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowcli.cli import batch, estimate
from flowcli.cli.main import main
from flowcli.cli.presets import PRESETS, in_words
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.options import OutputOptions

Seen = list[tuple[SourceOptions, OutputOptions, EngineOptions]]


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What estimate is asked for, in a folder where flowcli.toml counts."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("FLOWCLI_CONFIG")
    monkeypatch.chdir(tmp_path)
    asked: Seen = []
    monkeypatch.setattr(
        estimate, "run_estimate", lambda source, output, engine, talk, audio: asked.append((source, output, engine))
    )
    return asked


def estimated(seen: Seen, words: str) -> dict[str, Any]:
    assert main(["estimate", "a.mp4", "-o", "b.mp4", *words.split()]) == 0
    source, output, engine = seen.pop()
    return {
        "short_side": source.short_side,
        "resize": source.resize,
        "strict": source.strict,
        "crf": output.crf,
        "model": engine.model,
        "refine": engine.refine,
        "max_side": engine.max_side,
        "precision": engine.precision,
        "variational": engine.variational,
    }


def test_option_then_file_then_preset_then_default(seen: Seen) -> None:
    fast = {"refine": 1, "max_side": 640, "precision": "auto", "crf": None}
    assert estimated(seen, "--preset fast").items() >= fast.items()
    assert estimated(seen, "--preset fast --max-side 800").items() >= {**fast, "max_side": 800}.items()
    best = {"precision": "fp32", "variational": True, "refine": None, "max_side": None}
    assert estimated(seen, "--preset best").items() >= best.items()
    assert estimated(seen, "--preset web").items() >= {"short_side": 480, "crf": 30, "strict": False}.items()
    assert estimated(seen, "--preset dataset").items() >= {"short_side": 256, "crf": None, "strict": True}.items()
    Path("flowcli.toml").write_text('preset = "fast"\n[estimate]\nmax-side = 500\n')
    assert estimated(seen, "").items() >= {**fast, "max_side": 500}.items(), "a file may name the preset"
    assert estimated(seen, "--preset best").items() >= {**best, "max_side": 500}.items()
    assert estimated(seen, "--preset best --max-side 9").items() >= {**best, "max_side": 9}.items()


def test_a_preset_gives_way_to_what_contradicts_it(seen: Seen) -> None:
    found = estimated(seen, "--preset dataset --resize 340x256")
    assert (found["short_side"], found["resize"]) == (None, (340, 256))
    found = estimated(seen, "--preset fast -m dis")
    assert (found["refine"], found["max_side"]) == (None, 640), "dis has nothing to refine"
    assert estimated(seen, "--preset fast -m dis --refine 3")["refine"] == 3
    Path("flowcli.toml").write_text('model = "dis"\nresize = "96x64"\n')
    found = estimated(seen, "--preset fast")
    assert (found["model"], found["refine"], found["max_side"]) == ("dis", None, 640)
    found = estimated(seen, "--preset dataset")
    assert (found["short_side"], found["resize"]) == (None, (96, 64))


def test_all_are_taken_by_both_commands(seen: Seen, capsys: pytest.CaptureFixture[str]) -> None:
    for name in PRESETS:
        for command in (estimate.command, batch.command):
            context = command.make_context(command.name, ["in.mp4", "--out", "b", "--preset", name])
            words = in_words(name, command.name)
            plain = command.make_context(command.name, ["in.mp4", "--out", "b", *words.split()])
            assert context.params == plain.params, (name, command.name)
    assert main(["estimate", "a.mp4", "-o", "b.mp4", "--preset", "fst"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: Invalid value for '--preset': 'fst' is not one of 'fast', 'best', 'web', 'dataset'.",
        "hint: did you mean fast?",
    ]
