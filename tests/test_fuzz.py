"""Readers of every kind get damaged files: they read or refuse them, soon, in little memory, leaving nothing behind.

The same with more: python -m tests.fuzz READER 2000.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.fuzz import READERS, damaged
from tests.tiny import ROOT

COUNT = 100


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_damaged_inputs(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.fuzz", name, str(COUNT)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tried"] == COUNT
    assert found["crashes"] == {}
    assert found["strays"] == []
    assert found["slowest"] < 10
    assert found["memory"] < 1500
    assert found["refused"] or name == "lists"


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_what_is_damaged_was_good(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    goods, suffix, read = READERS[name]()
    for number, good in enumerate(goods):
        path = tmp_path_factory.mktemp(name) / f"{number}{suffix}"
        path.write_bytes(good)
        read(path)


def test_damage_is_repeatable_and_small() -> None:
    good = bytes(range(256)) * 4
    made = [damaged(good, np.random.default_rng([0, number])) for number in range(50)]
    assert made == [damaged(good, np.random.default_rng([0, number])) for number in range(50)]
    assert sum(each != good for each in made) > 45
    assert max(map(len, made)) < len(good) + 6 * 33
