from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from flowcli.cli.main import main


def test_lists_what_there_is(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = table / "rpwc.safetensors"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "rpwc",
        "  network     brightness",
        "  parameters  1",
        "  licence     MIT",
        "  source      made by the tests",
        "  trained     not at all",
        f"  sha256      {digest}",
        f"  file        {file}",
    ]
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "name": "rpwc",
            "network": "brightness",
            "file": str(file),
            "sha256": digest,
            "parameters": 1,
            "licence": "MIT",
            "source": "made by the tests",
            "trained": "not at all",
            "settings": {},
        }
    ]
    file.unlink()
    assert main(["models"]) == 0
    assert capsys.readouterr().out.endswith(f"  file        {file} (missing)\n")
