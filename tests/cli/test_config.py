"""flowcli.toml: where it is looked for, what it sets, and what it may not set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowcli.cli import estimate
from flowcli.cli.main import COMMANDS, main
from flowcli.cli.settings import find_settings, user_file
from flowcli.options import EngineOptions
from flowcli.output.options import OutputOptions


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's file; the current one is another."""
    monkeypatch.delenv("FLOWCLI_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config/flowcli").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "config/flowcli"


def found(name: str = "estimate") -> dict[str, object]:
    settings = find_settings(name, estimate.command, dict.fromkeys(COMMANDS))
    return {parameter: each.value for parameter, each in settings.items()}


def error(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main([*words]) == 2
    return capsys.readouterr().err.splitlines()


def test_the_folder_comes_before_the_user_and_a_table_before_the_top(home: Path) -> None:
    assert found() == {}
    (home / "flowcli.toml").write_text('device = "cpu"\nstyle = "arrows"\n[estimate]\ncrf = 20\nmax-side = 300\n')
    assert found() == {"device": "cpu", "style": "arrows", "crf": "20", "max_side": "300"}
    Path("flowcli.toml").write_text('style = "hsv"\ncrf = 30\n[estimate]\ncrf = 31\n[stats]\ncuts = true\n')
    assert found() == {"device": "cpu", "style": "hsv", "crf": "31", "max_side": "300"}


def test_flags_and_choices_of_one_parameter() -> None:
    Path("flowcli.toml").write_text("[estimate]\nlegend = true\nvariational = false\nboth = true\n")
    assert found() == {"legend": True, "variational": False, "direction": "both"}
    Path("flowcli.toml").write_text("[estimate]\nbackward = false\n")
    assert found() == {}


def test_the_command_line_comes_first(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[OutputOptions, EngineOptions]] = []
    monkeypatch.setattr(estimate, "run_estimate", lambda _, output, engine, talk, audio: seen.append((output, engine)))
    Path("flowcli.toml").write_text('model = "dis"\n[estimate]\nstyle = "arrows"\ncrf = 20\nboth = true\n')
    assert main(["estimate", "a.mp4", "-o", "b.mp4", "--crf", "30", "--backward"]) == 0
    assert main(["estimate", "a.mp4", "-o", "b.mp4"]) == 0
    found = [(output.style, output.crf, engine.model, engine.direction) for output, engine in seen]
    assert found == [("arrows", 30, "dis", "backward"), ("arrows", 20, "dis", "both")]


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("flowcli.toml").write_text("not TOML")
    monkeypatch.setenv("FLOWCLI_CONFIG", "off")
    assert found() == {}


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ("[estimate\n", "not a TOML file: flowcli.toml: ", "correct it; FLOWCLI_CONFIG=off goes without it"),
        (b"\xff", "not a TOML file: flowcli.toml: ", "correct it; FLOWCLI_CONFIG=off goes without it"),
        ("[estimat]\n", "no such command in flowcli.toml: [estimat]", "did you mean estimate?"),
        ("[estimate]\nstyel = 1\n", "estimate has no option styel, which flowcli.toml sets", "did you mean style?"),
        ("[estimate]\nstyle = 'arows'\n", "style in flowcli.toml: ", "did you mean arrows?"),
        ("[estimate]\ncrf = 99\n", "crf in flowcli.toml: 99 is not in the range 0<=x<=63.", "correct it"),
        ("[estimate]\ncrf = true\n", "crf in flowcli.toml: True is not a word or a number", "correct it"),
        ("[estimate]\ncrf = [1]\n", "crf in flowcli.toml: [1] is not a word or a number", "correct it"),
        ("[estimate]\nlegend = 1\n", "legend in flowcli.toml: 1 is not true or false", "correct it"),
    ],
)
def test_errors(content: str | bytes, message: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("flowcli.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    lines = error(capsys, "estimate", "a.mp4", "-o", "b.mp4")
    assert lines[0].startswith(f"error: {message}")
    assert lines[1] == f"hint: {hint}"


@pytest.mark.parametrize("option", ["out", "occlusion", "confidence", "net", "ray", "fetch", "overwrite", "debug"])
@pytest.mark.parametrize("place", ["", "[estimate]\n"])
def test_a_file_writes_nothing_and_runs_nothing(option: str, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that came from somewhere else may have one."""
    Path("flowcli.toml").write_text(f'{place}{option} = "x"\n')
    assert error(capsys, "estimate", "a.mp4") == [
        f"error: flowcli.toml sets {option}, which only the command line does",
        f"hint: remove it, and say --{option}",
    ]


def test_a_file_without_end(capsys: pytest.CaptureFixture[str]) -> None:
    Path("flowcli.toml").symlink_to("/dev/zero")
    lines = error(capsys, "estimate", "a.mp4", "-o", "b.mp4")
    assert lines[0] == "error: cannot read flowcli.toml: not a file but a device or a pipe"


def test_show(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        f"{home}/flowcli.toml (not there)",
        "flowcli.toml (not there)",
        "preset   is the same as",
        "fast     --refine 1 --max-side 640",
        "best     --precision fp32 --variational",
        "web      --short-side 480 --crf 30",
        "dataset  --short-side 256 --strict (batch: --as tsn --as rgb)",
    ]
    (home / "flowcli.toml").write_text('[estimate]\nlegend = true\n[eval]\nmodel = ["dis", "rpwc"]\n')
    Path("flowcli.toml").write_text("crf = 20\n")
    assert main(["config", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["presets"]["best"] == {"precision": "fp32", "variational": True}
    assert shown["files"] == [str(home / "flowcli.toml"), "flowcli.toml"]
    settings = {(each["command"], each["option"]): (each["value"], each["file"]) for each in shown["settings"]}
    assert settings["estimate", "legend"] == (True, f"{home}/flowcli.toml")
    assert settings["eval", "model"] == (["dis", "rpwc"], f"{home}/flowcli.toml")
    assert {name for name, option in settings if option == "crf"} >= {"estimate", "batch", "convert", "interpolate"}
    assert main(["config", "show"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[:3] == [[f"{home}/flowcli.toml"], ["flowcli.toml"], ["command", "option", "value", "from"]]
    assert ["estimate", "--legend", "true", f"{home}/flowcli.toml"] in rows
    Path("flowcli.toml").write_text("crff = 20\n")
    assert error(capsys, "config", "show") == [
        "error: no command has an option crff, which flowcli.toml sets",
        "hint: did you mean crf?",
    ]


def test_the_users_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_file() == tmp_path / ".config/flowcli/flowcli.toml"
