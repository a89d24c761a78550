from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import pytest

from flowcli.cli import options, outputs
from flowcli.cli.words import UnknownWord
from flowcli.errors import UsageError
from flowcli.options import EngineOptions, SourceOptions
from flowcli.output.options import OutputOptions


def received(*arguments: str) -> dict[str, Any]:
    """What a command with all the groups of options is handed."""

    @click.command()
    @options.source_options
    @options.engine_options
    @outputs.output_options
    @options.talk_options
    def command(**values: Any) -> dict[str, Any]:
        return values

    result: dict[str, Any] = command.main(list(arguments), standalone_mode=False)
    return result


def test_defaults_are_those_of_the_dataclasses() -> None:
    assert received("in.mp4") == {
        "source": SourceOptions("in.mp4"),
        "engine": EngineOptions(),
        "output": OutputOptions(()),
        "talk": options.TalkOptions(),
    }


def test_values_arrive() -> None:
    arguments = (
        "a.png b.png --start 3 --stop 1:00 --every 2 --deinterlace -o x -o - --as flo --as warp -m net "
        "--refine 4 --device cuda:1 --precision bf16 --max-side 512 --tile 640 --batch 3 --both --last zero "
        "--max-flow 20 --legend --holes keep --fps 24 --crf 18 --style trails --dim 0 --floor 0 "
        "--occlusion o/ -y --json -v"
    )
    assert received(*arguments.split()) == {
        "source": SourceOptions("a.png", "b.png", 3, Fraction(60), 2, deinterlace=True),
        "engine": EngineOptions("net", 4, "cuda:1", "bf16", 512, "both", "zero", tile=640, batch=3),
        "output": OutputOptions(
            ("x", "-"),
            ("flo", "warp"),
            Fraction(24),
            18,
            True,
            max_flow=20.0,
            legend=True,
            holes="keep",
            occlusion=("o/",),
            style="trails",
            dim=0,
            floor=0.0,
        ),
        "talk": options.TalkOptions(json=True, verbose=True),
    }
    assert received("x", "--backward")["engine"].direction == "backward"
    assert received("x", "--percentile", "90", "--confidence", "c.mp4")["output"] == OutputOptions(
        confidence=("c.mp4",), percentile=90
    )


def test_what_the_shell_made_of_one_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my new clip.mp4").touch()
    for words, hint in (
        ("f/a.png f/b.png f/c.png", "quote a pattern, so that it stays one input: 'f/*.png'"),
        ("my new clip.mp4", "quote a name with spaces: 'my new clip.mp4'"),
        ("a.mp4 b.mp4 c.mp4", "flowcli batch takes many videos"),
    ):
        with pytest.raises(UsageError) as caught:
            received(*words.split(), "-o", "x")
        assert caught.value.message == "3 inputs, but a video, a folder or two pictures are taken"
        assert caught.value.hint == hint


def test_the_closest_word_is_named() -> None:
    """By choices of click, and by values that have names among others."""
    for option, word, hint in (
        ("--style", "arows", "did you mean arrows?"),
        ("--last", "reapet", "did you mean repeat?"),
        ("--max-flow", "clp", "did you mean clip?"),
        ("--tile", "of", "did you mean off?"),
        ("--device", "cda", "did you mean cuda?"),
        ("--device", "gpu", ""),
        ("--start", "soon", ""),
    ):
        with pytest.raises(UnknownWord) as caught:
            received("in.mp4", option, word)
        assert caught.value.hint == hint, word


def test_names_that_look_like_options() -> None:
    assert received("--", "-x.mp4")["source"].input == "-x.mp4"
    assert received("-")["source"].input == "-"
