from __future__ import annotations

import io
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from flowcli.cli import main as module
from flowcli.cli.main import COMMANDS, commands, main
from flowcli.cli.options import talk_options
from flowcli.errors import InputError
from flowcli.weights import entries


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        ("estimat", 2, "no such command: estimat", "did you mean estimate?"),
        ("zzz", 2, "no such command: zzz", f"there are: {', '.join(COMMANDS)}"),
        ("--helpp", 2, "No such option '--helpp'.*", "flowcli --help shows what there is"),
        ("estimate", 2, "Missing argument 'INPUT'.", "flowcli estimate --help shows what there is"),
        (
            "estimate x --out a.mp4 --start soon",
            2,
            "Invalid value for '--start': 'soon' is not a frame number (250) or a time (2.5s, 00:01:02.5)",
            "flowcli estimate --help shows what there is",
        ),
        (
            "estimate x --out a.mp4 --fps 0",
            2,
            "Invalid value for '--fps': '0' is not a number of frames per second (25, 29.97, 30000/1001)",
            "flowcli estimate --help shows what there is",
        ),
        (
            "estimate x --out a.mp4 --every 0",
            2,
            "Invalid value for '--every': 0 is not in the range x>=1.",
            "flowcli estimate --help shows what there is",
        ),
        (
            "estimate x --out a.mp4 -q -v",
            2,
            "--quiet and --verbose contradict each other",
            "leave one out",
        ),
        (
            "estimate x",
            2,
            "no output is named",
            "add --out flow.mp4, --out flow/ (a folder of .flo files) or --out -",
        ),
    ],
)
def test_usage_errors(arguments: str, code: int, error: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments.split()) == code
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith(f"error: {error[:-1]}") if error.endswith("*") else first == f"error: {error}"
    assert second == f"hint: {hint}"


def test_nothing_at_all_is_a_usage_error_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: flowcli ")


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr() == ("flowcli 0.1.0\n", "")
    assert main(["-h"]) == 0
    out, err = capsys.readouterr()
    assert [name for name in COMMANDS if f"\n  {name} " in out] == list(COMMANDS)
    assert err == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    assert command.name == name
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def fails_with(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    @click.command()
    @talk_options
    def command(talk: object) -> None:
        act()

    monkeypatch.setattr(module.Commands, "get_command", lambda self, context, name: command)


def test_who_measures_or_runs_for_long_waits_for_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str | None] = []
    fails_with(monkeypatch, lambda: modes.append(os.environ.get("FLOWCLI_NATIVE")))
    monkeypatch.delenv("FLOWCLI_NATIVE", raising=False)
    assert [main([name]) for name in COMMANDS] == [0] * len(COMMANDS)
    waiting = [name for name, mode in zip(COMMANDS, modes, strict=True) if mode == "wait"]
    assert waiting == ["batch", "doctor", "eval", "train", "bench"]
    assert set(modes) == {None, "wait"}
    # What the user has said stays.
    for mode in ("off", "require"):
        monkeypatch.setenv("FLOWCLI_NATIVE", mode)
        assert main(["batch"]) == 0
        assert modes.pop() == mode


def test_errors_are_two_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def act() -> None:
        raise InputError("no such\nfile: x", "check the name")

    fails_with(monkeypatch, act)
    assert main(["estimate"]) == 1
    assert capsys.readouterr() == ("", "error: no such file: x\nhint: check the name\n")
    with pytest.raises(InputError):
        main(["estimate", "--debug"])


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("cp1252", b"\\u52d5\\u304d caf\xe9 \\udce9\n"), ("utf-8", "動き café \\udce9\n".encode())],
)
def test_names_that_an_encoding_lacks_are_printed(
    encoding: str, printed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr("sys.stdout", stdout)
    fails_with(monkeypatch, lambda: click.echo("動き café \udce9"))
    assert main(["estimate"]) == 0
    assert stdout.buffer.getvalue() == printed


def test_signals_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        fails_with(monkeypatch, lambda number=number: signal.raise_signal(number))  # type: ignore[misc]
        assert main(["estimate"]) == 130
        assert capsys.readouterr() == ("", "interrupted\n")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        fails_with(monkeypatch, lambda: signal.raise_signal(signal.SIGHUP))
        assert main(["estimate"]) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_log_becomes_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    def act() -> None:
        logging.getLogger("flowcli").warning("slow: %d", 3)
        logging.getLogger("flowcli.ops").info("more")

    fails_with(monkeypatch, act)
    for arguments, said in (([], "warning: slow: 3\n"), (["-q"], ""), (["-v"], "warning: slow: 3\ninfo: more\n")):
        assert main(["estimate", *arguments]) == 0
        assert capsys.readouterr() == ("", said)


def test_reader_of_stdout_that_went_away(root: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "flowcli", "--help"], cwd=root, stdout=write, stderr=subprocess.PIPE, timeout=60
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def completed(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a shell is told that may stand in the place of the last word."""
    monkeypatch.setenv("_FLOWCLI_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert main([]) == 0
    return capsys.readouterr().out.split()


def test_completion_in_a_shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert completed("flowcli est", monkeypatch, capsys) == ["plain,estimate"]
    found = completed("flowcli estimate --st", monkeypatch, capsys)
    assert found == ["plain,--start", "plain,--stop", "plain,--strict", "plain,--style"]
    assert completed("flowcli estimate in", monkeypatch, capsys) == ["file,in"], "the shell completes names of files"
    for shell in ("bash", "zsh", "fish"):
        monkeypatch.setenv("_FLOWCLI_COMPLETE", f"{shell}_source")
        assert main([]) == 0
        assert f"_FLOWCLI_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_completion_of_values(table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of models, kinds, devices, styles and presets; where nothing fits, the shell offers files."""
    entries.home().mkdir(parents=True)
    (entries.home() / "rmine.safetensors").touch()
    for words, expected in (
        ("estimate -m r", ["rpwc", "rmine"]),
        ("estimate -m pwcn", ["pwcnet"]),
        ("estimate --versus d", ["dis"]),
        ("interpolate --model sp", ["splat"]),
        ("interpolate --model v", ["videoinr"]),
        ("interpolate --flow far", ["farneback"]),
        ("eval --model rp", ["rpwc"]),
        ("models info f", ["farneback", "flownet2"]),
        ("models remove r", ["rmine"]),
        ("models fetch videoi", ["videoinr"]),
        ("estimate --as co", ["color", "confidence"]),
        ("batch --as ts", ["tsn"]),
        ("stats --device c", ["cpu", "cuda"]),
        ("estimate --max-flow cl", ["clip"]),
        ("convert --style a", ["arrows"]),
        ("batch --preset b", ["best"]),
    ):
        found = completed(f"flowcli {words}", monkeypatch, capsys)
        assert set(found) >= {f"plain,{word}" for word in expected}, words
        begun = words.split()[-1]
        assert all(word.startswith(f"plain,{begun}") for word in found), words
    assert completed("flowcli estimate -m ./w", monkeypatch, capsys) == ["file,./w"]
    assert completed("flowcli estimat x", monkeypatch, capsys) == [], "no error where none is read"


FAULTS = """
import resource, sys
import numpy as np
from flowcli.cli.main import main

if sys.argv[1] == "main":
    main(["--version"])
def fill():
    # Smaller than those for which numpy asks for large pages.
    arrays = [np.ones(300_000 + 1000 * number) for number in range(10)]
    del arrays
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_that_is_freed_is_not_asked_for_again(root: Path) -> None:
    def faults(way: str) -> int:
        words = [sys.executable, "-c", FAULTS, way]
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True, timeout=60)
        return int(done.stdout.split()[-1])

    assert faults("main") < 100
    assert faults("bare") > 10_000, "this test shows nothing here"
