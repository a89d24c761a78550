"""What the README shows, run as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import click
import cv2
import numpy as np
import pytest

import flowcli
from flowcli.cli.main import commands, main
from flowcli.video import ffmpeg_path
from tests.pairs import write_pair

README = Path(__file__).parent.parent / "README.md"
SHORT = ["--steps", "1", "--batch", "2", "--crop", "64", "--scenes", "2", "--workers", "0"]
"""For training, so that it takes seconds."""


def block(name: str) -> str:
    """The fenced block that follows the line <!-- name -->."""
    match = re.search(rf"^<!-- {name} -->\n```\w+\n(.*?)^```$", README.read_text(encoding="utf-8"), re.M | re.S)
    assert match is not None, name
    return match[1]


def examples() -> list[str]:
    return [line.split("  #")[0].rstrip() for line in block("examples").splitlines()]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all the inputs that the README speaks of."""
    monkeypatch.chdir(tmp_path)
    for name in ("in.mp4", "in.mkv"):
        source = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=3"]
        subprocess.run([ffmpeg_path(), "-v", "error", *source, name], check=True, stdin=subprocess.DEVNULL)
    dice = np.random.default_rng(0)
    for folder in ("frames", "photos"):
        Path(folder).mkdir()
    for name in ("first.png", "second.png", "frames/1.png", "frames/2.png", "frames/10.png", "photos/a.png"):
        cv2.imwrite(name, dice.integers(0, 256, (64, 96, 3), np.uint8))
    write_pair(Path("pairs"))
    return tmp_path


@pytest.mark.parametrize("line", [line for line in examples() if "|" not in line])
def test_example(line: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(line)
    assert words[0] == "flowcli"
    if "runs/mine/weights.safetensors" in words:
        assert main(["train", "runs/mine", *SHORT]) == 0
        capsys.readouterr()
    before = set(place.iterdir())
    assert main([*words[1:], *(SHORT if words[1] == "train" else [])]) == 0, capsys.readouterr().err
    out, _ = capsys.readouterr()
    if words[1] == "estimate":
        outputs = {word for option, word in pairwise(words) if option == "--out"}
        backward = {"warped_bwd.webm"} & {name.replace(".", "_bwd.") for name in outputs}
        assert {path.name for path in set(place.iterdir()) - before} == {
            name.rstrip("/") for name in outputs
        } | backward
        if "both/" in outputs:
            assert sorted(path.name for path in Path("both").iterdir()) == ["1.flo", "1_bwd.flo", "2.flo", "2_bwd.flo"]
    elif words[1] == "train":
        assert Path("runs/mine/weights.safetensors").is_file()
    else:
        assert "rpwc" in out
    if "--save" in words:
        assert Path("sheets/dis/pairs/a_sheet.png").is_file()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("line", [line for line in examples() if "|" in line])
def test_example_in_a_pipe(line: str, place: Path) -> None:
    scripts = Path(sys.executable).parent
    if not (scripts / "flowcli").is_file():
        pytest.skip("flowcli is not installed in this environment")
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=True, env=environment, timeout=120)
    (made,) = set(place.iterdir()) & {place / line.split(">")[1].strip()}
    planes = 3 * 64 * 96 * 4
    assert 29 * planes < made.stat().st_size < 29 * (planes + 200) + 1000


def test_python(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = block("python")
    assert len(code.splitlines()) <= 8
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert lines[3].startswith("frame 3: mean ")
    uv, _ = flowcli.read_flow("000003.flo")
    assert f"mean {np.hypot(*uv).mean():.2f} px" in lines[3]


def test_the_main_job(place: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install, estimate = block("run").strip().split(" && ")
    assert install == "pip install ."
    shutil.copytree(root / "tests/data", "tests/data")
    assert main(shlex.split(estimate)[1:]) == 0, capsys.readouterr().err
    assert Path("flow.mp4").stat().st_size > 1000


def test_every_command_is_shown() -> None:
    shown = {line.split()[1] for line in examples() if line.startswith("flowcli ")}
    assert shown == set(commands.list_commands(click.Context(commands)))
