"""A batch that is killed at any moment goes on as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from flowcli.pictures import write_picture
from tests.batch.warm import Warm, tree
from tests.video.clips import lavfi

pytestmark = pytest.mark.slow

KILLS = 50
OPEN = 40
"""How many of them at least have to come while an output is being written."""

ITEMS = ["a/x.mkv", "f", "g", "h"]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A tiny video and three folders of frames."""
    folder = tmp_path / "clips"
    (folder / "a").mkdir(parents=True)
    lavfi(folder / "a" / "x.mkv", "testsrc2=size=96x64:rate=10:duration=1.2", "-c:v", "ffv1")
    dice = np.random.default_rng(0)
    for name in ("f", "g", "h"):
        (folder / name).mkdir()
        for index in range(12):
            write_picture(folder / name / f"{index}.png", dice.integers(0, 256, (64, 96, 3), np.uint8))
    return folder


def is_open(out: Path) -> bool:
    """Whether an output is being written: not yet published, not even in the private folder of its item."""
    return any(".part" in path.name for path in out.glob(".manifest.*.part/**/*"))


def done(out: Path) -> list[str]:
    """The items that the manifest calls done, in order; a torn line is none."""
    path = out / "manifest.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    records = [json.loads(line) for line in lines if line.endswith(b"}")]
    return [record["item"] for record in records if record["status"] == "done"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.timeout(600)
def test_killed_at_random(clips: Path, tmp_path: Path) -> None:
    """One time in five at any time, otherwise at any time after the first output was opened."""

    def arguments(out: Path) -> list[str]:
        kinds = ("--as", "color.mkv", "--as", "flo")
        return ["batch", str(clips), "--out", str(out), *kinds, "-m", "dis", "--workers", "2", "-q"]

    def until_open(out: Path) -> None:
        while not is_open(out) and len(done(out)) < len(ITEMS):
            time.sleep(0.001)

    dice = random.Random(0)
    with Warm() as warm:
        for number in range(2):
            whole = tmp_path / f"whole{number}"
            started = time.monotonic()
            warm.start(arguments(whole))
            until_open(whole)
            opened_first = time.monotonic()
            assert warm.wait() == 0
            before_open, after_open = opened_first - started, time.monotonic() - opened_first
        expected = tree(whole)
        assert tree(tmp_path / "whole0") == expected
        # 4 videos, 44 files of flow, 5 folders.
        assert len(expected) == 53
        killed = opened = finished = 0
        for number in range(4 * KILLS):
            out = tmp_path / f"out{number}"
            pid = warm.start(arguments(out))
            if number % 5:
                until_open(out)
                time.sleep(dice.uniform(0, after_open))
            else:
                time.sleep(dice.uniform(0, before_open + after_open))
            os.kill(pid, signal.SIGKILL)
            code = warm.wait()
            killed += code == -signal.SIGKILL
            opened += is_open(out)
            before = done(out)
            finished += len(before)
            warm.start(arguments(out))
            assert warm.wait() == 0
            assert tree(out) == expected
            after = done(out)
            assert after[: len(before)] == before
            assert sorted(after) == ITEMS
            shutil.rmtree(out)
            if killed >= KILLS and opened >= OPEN:
                break
    print(f"{killed} killed, {opened} of them while an output was open; {finished} items were finished before")
    assert killed >= KILLS
    assert opened >= OPEN
    assert finished > 0
