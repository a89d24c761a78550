"""What one output cannot hold ends that one alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowcli.cli.main import main
from tests.video import clips


def test_a_size_that_one_output_cannot_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # H.264 ends at 16384 pixels.
    clips.write(Path("wide.mkv"), clips.numbered(3, 32, 17_000))
    assert main(["estimate", "wide.mkv", "-o", "a.mp4", "-o", "b/", "-o", "c.npy", "-m", "dis", "-q"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: cannot write a.mp4: ")
    assert (
        hint == "hint: this kind of video takes no pictures of that size: write a folder of pictures, or another kind"
    )
    assert sorted(path.name for path in Path().iterdir()) == ["b", "c.npy", "wide.mkv"]
    assert len(list(Path("b").iterdir())) == 2
