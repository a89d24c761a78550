"""What is damaged is said to be, and with --strict does not count."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from flowcli.cli.main import main
from tests.video import clips


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A video of 12 frames with a hole in it."""
    monkeypatch.chdir(tmp_path)
    path = clips.write(Path("a.mkv"), clips.numbered(12))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1000] = bytes(1000)
    path.write_bytes(data)
    return path


def test_estimate(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "a.mkv", "-o", "out/", "-m", "dis", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["damaged"]
    assert 0 < found["frames"] < 12
    assert main(["estimate", "a.mkv", "-o", "strict/", "-m", "dis", "--strict", "-q"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    told = f"a.mkv is damaged or cut off ({found['damaged']}): {found['frames']} frames could be read"
    assert error == f"error: {told}"
    assert hint == "hint: get it again; without --strict these frames are used"
    assert sorted(path.name for path in Path().iterdir()) == ["a.mkv", "out"]


def test_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("frames").mkdir()
    for number in range(1, 8):
        stored = cv2.imencode(".jpg", np.random.default_rng(number).integers(0, 255, (65, 97, 3), np.uint8))[
            1
        ].tobytes()
        damaged = number in (2, 3, 5, 6, 7)
        half = stored[: len(stored) // 2] + b"\xff\xd9"
        Path(f"frames/{number}.jpg").write_bytes(half if damaged else stored)
    damage = "frames/2.jpg is damaged (Corrupt JPEG data: premature end of data segment)"
    whole = f"{damage}; so are 4 more: 3.jpg, 5.jpg, 6.jpg and 1 more"
    arguments = ["estimate", "frames", "-o", "out/", "-m", "dis", "--json", "-y"]
    assert main(arguments) == 0
    out, err = capfd.readouterr()
    assert err == f"warning: {whole}\n"
    assert json.loads(out)["damaged"] == whole
    assert main([*arguments, "-q"]) == 0
    assert capfd.readouterr().err == ""
    assert main([*arguments, "--strict"]) == 1
    hint = "get it again; without --strict it is used as far as it goes"
    assert capfd.readouterr().err == f"error: {damage}\nhint: {hint}\n"


def test_what_is_whole_is_not_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = clips.write(tmp_path / "b.mkv", clips.numbered(3))
    assert main(["estimate", str(clip), "-o", str(tmp_path / "out"), "-m", "dis", "--json", "--strict"]) == 0
    assert json.loads(capsys.readouterr().out)["damaged"] is None


def test_batch(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["batch", "a.mkv", "--out", "out", "-m", "dis", "--as", "flo", "--json", "-q"]
    for _ in range(2):
        assert main(arguments) == 0
        record = json.loads(capsys.readouterr().out)
        assert record["status"] == "damaged"
        assert record["damaged"]
    assert main([*arguments, "--strict"]) == 3
    record = json.loads(capsys.readouterr().out)
    assert record["status"] == "failed"
    assert record["error"].startswith(f"{damaged.absolute()} is damaged or cut off (")
