from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests import notebook


@pytest.mark.slow
def test_the_notebook_runs_and_shows_what_it_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells print what is stored with them, except for numbers, which depend on the machine."""
    monkeypatch.chdir(tmp_path)
    stored = json.loads(notebook.NOTEBOOK.read_text(encoding="utf-8"))
    assert (stored["nbformat"], stored["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in stored["cells"]}) == len(stored["cells"])
    before = notebook.printed(stored)
    pictures = [json.dumps(cell).count("image/png") for cell in stored["cells"]]
    notebook.run(stored)
    assert sum(pictures) >= 4
    assert [json.dumps(cell).count("image/png") for cell in stored["cells"]] == pictures
    assert list(map(without_numbers, notebook.printed(stored))) == list(map(without_numbers, before))


def without_numbers(text: str) -> str:
    return re.sub(r"-?\d+(\.\d+)?", "N", text)
