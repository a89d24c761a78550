from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowcli.cli.main import main


def test_a_line_for_each_check(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok    python: 3.")
    assert lines[-1].startswith("ok    estimate: rpwc, two pictures of 128x128, ")
    assert {line.split()[0] for line in lines} <= {"ok", "warn", "hint:"}


def test_what_fails_decides_the_exit_code(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (table / "rpwc.safetensors").unlink()
    assert main(["doctor", "-q"]) == 1
    lines = capsys.readouterr().out.splitlines()
    message = f"cannot read weights: {table / 'rpwc.safetensors'}: No such file or directory"
    assert lines[: lines.index("      hint: install flowcli again") + 1][-2:] == [
        f"fail  weights rpwc: {message}",
        "      hint: install flowcli again",
    ]
    assert not any(line.startswith("ok") for line in lines)


def test_json(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in checks][:3] == ["python", "ffmpeg", "weights rpwc"]
    assert {"name", "status", "text", "hint"} == set(checks[0])
