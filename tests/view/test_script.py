"""The page's script, checked by eslint where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from flowcli.view.page import script


@pytest.mark.slow
def test_the_script_passes_eslint(root: Path) -> None:
    eslint = shutil.which("eslint")
    if eslint is None:
        pytest.skip("needs eslint: npm install -g eslint")
    command = [eslint, "--stdin", "--max-warnings", "0", "--config", str(root / "eslint.config.mjs")]
    done = subprocess.run(command, input=script(), capture_output=True, text=True, cwd=root, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_every_part_of_the_script_is_in_it(root: Path) -> None:
    text = script()
    parts = sorted((root / "flowcli" / "view").glob("*.js"))
    assert len(parts) > 1
    for part in parts:
        assert text.count(part.read_text(encoding="utf-8")) == 1
