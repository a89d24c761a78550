"""Runs the examples in the README and in the pages in docs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import flowcli
from flowcli.cli.main import commands, main
from flowcli.cli.presets import PRESETS
from flowcli.video import ffmpeg_path
from tests.pairs import mask as write_hidden
from tests.pairs import write_pair
from tests.plates import write_dpx, write_exr

README = Path(__file__).parent.parent / "README.md"
SHORT = ["--steps", "1", "--batch", "2", "--crop", "64", "--scenes", "2", "--workers", "0"]
"""Arguments with which training takes seconds."""
QUICK = {"train": SHORT, "bench": ["network", "--size", "64x64", "--seconds", "0"]}
"""Arguments added to examples of these commands, so that they take seconds."""


def without_numbers(text: str) -> str:
    """Numbers depend on the machine, and the width of columns on numbers."""
    return " ".join(re.sub(r"-?\d+(\.\d+)?", "N", text).split())


def block(name: str) -> str:
    """The fenced block that follows the line <!-- name -->."""
    match = re.search(rf"^<!-- {name} -->\n```\w+\n(.*?)^```$", README.read_text(encoding="utf-8"), re.M | re.S)
    assert match is not None, name
    return match[1]


def examples() -> list[str]:
    return [line.split("  #")[0].rstrip() for line in block("examples").splitlines()]


CLIPS = ("in.mp4", "in.mkv", "shot.mov", "clips/a.mp4", "clips/b.mp4", "videos/a.mp4", "videos/more/b.mp4")
PICTURES = ("first.png", "second.png", "a.png", "b.png", "photos/a.png")
FRAMES = tuple(f"{folder}/{number}.png" for folder in ("frames", "plate") for number in (1, 2, 3))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all the inputs that the pages speak of, `flowcli` and `ffmpeg` on PATH, and a home of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / ".home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".home"))
    monkeypatch.delenv("FLOWCLI_CONFIG")
    # matplotlib keeps its settings there, and makes the folder when it is first imported.
    (tmp_path / ".home").mkdir()
    tools = tmp_path / ".tools"
    tools.mkdir()
    (tools / "ffmpeg").symlink_to(ffmpeg_path())
    paths = [str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(paths))
    monkeypatch.chdir(tmp_path)
    dice = np.random.default_rng(0)
    for name in (*CLIPS, *PICTURES, *FRAMES):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in CLIPS:
            source = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=3"]
            subprocess.run([ffmpeg_path(), "-v", "error", *source, name], check=True, stdin=subprocess.DEVNULL)
        else:
            cv2.imwrite(name, dice.integers(0, 256, (64, 96, 3), np.uint8))
    write_masks(("mask.png", "keys/000000.png", "keys/000020.png"), "L")
    write_masks(("palette/000000.png",), "P")
    for name in ("painted.png", "again.png"):
        cv2.imwrite(name, np.pad(dice.integers(0, 256, (20, 30, 4), np.uint8), ((20, 24), (30, 36), (0, 0))))
    Path("points.csv").write_text("frame,id,x,y\n0,nose,41.5,30\n20,nose,55,31.25\n0,ear,37,22\n")
    Path("features").mkdir()
    for number in (0, 20):
        np.savez(f"features/{number:06d}.npz", features=dice.normal(size=(4, 8, 12)))
    Path("flow_files").mkdir()
    for number in range(2):
        flowcli.write_flow(f"flow_files/{number}.flo", dice.normal(0, 3, (2, 64, 96)).astype(np.float32))
    write_pair(Path("pairs"))
    write_hidden(Path("pairs/a_occ.png"), slice(0, 5))
    for folder in ("plates", "scan"):
        Path(folder).mkdir()
    for number in (1001, 1002, 1003):
        plate = dice.random((64, 96)).astype(np.float32)
        write_exr(Path(f"plates/shot.{number}.exr"), dict.fromkeys("RGB", plate))
        write_dpx(Path(f"scan/shot.{number:07d}.dpx"), dice.integers(0, 1024, (64, 96, 3)))
    return tmp_path


def write_masks(names: Sequence[str], mode: str) -> None:
    """Masks of a frame of `in.mp4`, with a thing in the middle."""
    mask = np.zeros((64, 96), np.uint8)
    mask[20:40, 30:60] = 1 if mode == "P" else 255
    image = Image.fromarray(mask)
    if mode == "P":
        image.putpalette([0, 0, 0, 128, 0, 0])
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        image.save(name)


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in examples() if "|" not in line])
def test_example(line: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(line)
    assert words[0] == "flowcli"
    if "runs/mine/weights.safetensors" in words:
        assert main(["train", "runs/mine", *SHORT]) == 0
        capsys.readouterr()
    before = set(place.iterdir())
    assert main([*words[1:], *QUICK.get(words[1], [])]) == 0, capsys.readouterr().err
    out, _ = capsys.readouterr()
    if words[1] in ("estimate", "interpolate", "propagate", "convert", "view", "stats", "batch"):
        outputs = {word for option, word in pairwise(words) if option in ("--out", "--occlusion", "--confidence")}
        backward = {"warped_bwd.webm"} & {name.replace(".", "_bwd.") for name in outputs}
        assert {path.name for path in set(place.iterdir()) - before} == {
            name.rstrip("/") for name in outputs
        } | backward
        if words[1] == "stats":
            assert "speed_mean" in out
        if "both/" in outputs:
            assert sorted(path.name for path in Path("both").iterdir()) == ["1.flo", "1_bwd.flo", "2.flo", "2_bwd.flo"]
    elif words[1] == "train":
        assert Path("runs/mine/weights.safetensors").is_file()
    elif words[1] == "config":
        files, presets = out.splitlines()[:2], out.splitlines()[3:]
        assert files == [f"{place}/.home/flowcli/flowcli.toml (not there)", "flowcli.toml (not there)"]
        assert [line.split()[0] for line in presets] == list(PRESETS)
    else:
        assert "rpwc" in out
    if "--save" in words:
        assert Path("sheets/dis/pairs/a_sheet.png").is_file()


def in_bash(line: str) -> None:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    if shutil.which("flowcli") is None:
        pytest.skip("flowcli is not installed in this environment")
    subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in examples() if "|" in line])
def test_example_in_a_pipe(line: str, place: Path) -> None:
    in_bash(line)
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


@pytest.mark.slow
def test_the_main_job(place: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install, estimate = block("run").strip().split(" && ")
    assert install == "pip install ."
    shutil.copytree(root / "tests/data", "tests/data")
    assert main(shlex.split(estimate)[1:]) == 0, capsys.readouterr().err
    assert Path("flow.mp4").stat().st_size > 1000


def test_every_command_is_shown() -> None:
    shown = {line.split()[1] for line in examples() if line.startswith("flowcli ")}
    assert shown == set(commands.list_commands(click.Context(commands)))


@pytest.mark.slow
def test_the_five_commands(place: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The README shows what these commands print, except for numbers."""
    shutil.copy(root / "tests/data/sample.mp4", "in.mp4")
    shutil.copy("in.mp4", "clips/a.mp4")
    commands_and_outputs = re.findall(r"^\$ flowcli (.*)\n((?:[^$].*\n)*)", block("five"), re.M)
    assert len(commands_and_outputs) == 5
    for line, shown in commands_and_outputs:
        assert main(shlex.split(line)) == 0
        out, err = capsys.readouterr()
        assert without_numbers(out + err) == without_numbers(shown), line


PAGES = sorted((README.parent / "docs").glob("*.md"))
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.M | re.S)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_of_the_documentation(page: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All blocks of `sh` and `python`, one after the other, in one folder; `text` is not for every machine."""
    if page.stem == "research":
        torch.manual_seed(0)
        names = json.loads((Path(__file__).parent / "models/flow/keys/spynet.json").read_text())["keys"]
        torch.save({key: 0.01 * torch.randn(shape) for key, shape in names}, "network.pth")
    count = 0
    for _, language, content in FENCE.findall(page.read_text(encoding="utf-8")):
        assert language in ("sh", "python", "text"), language
        lines = content.splitlines() if language == "sh" else []
        for line in (line.split("  #")[0].strip() for line in lines):
            words = shlex.split(line)
            if not words:
                continue
            count += 1
            if words[0] == "flowcli" and not {"|", ">", "<"} & set(words):
                assert main([*words[1:], *QUICK.get(words[1], [])]) == 0, (line, capsys.readouterr().err)
                capsys.readouterr()
            else:
                in_bash(line)
        if language == "python":
            count += 1
            exec(compile(content, page.name, "exec"), {})
    assert count


@pytest.mark.parametrize("page", [*sorted(README.parent.glob("*.md")), *PAGES], ids=lambda page: page.stem)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
