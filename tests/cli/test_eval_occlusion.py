from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowcli.cli.main import main
from tests import pairs

pytestmark = pytest.mark.usefixtures("table")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The network `brightness` moves `left` by 20 pixels, out of the frame; half of it is said to be occluded."""
    folder = pairs.write_pair(tmp_path / "data" / "set", "left", brightness=20)
    pairs.mask(folder / "left_occ.png", slice(0, 33))
    pairs.mask(folder / "left_invalid.png", slice(22, 55))
    pairs.write_pair(folder, "unmarked")
    return tmp_path / "data"


def test_table(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", str(dataset), "--task", "occlusion", "--baseline", "consistency"]
    assert main(arguments) == 0
    header, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header == ["set", "pairs", "method", "precision", "recall", "F1", "s/pair"]
    # Of 33 valid rows, 22 are occluded; 20 of 98 columns of all of them are found.
    numbers = ["66.7%", "20.4%", "31.2%"]
    assert rows[0][:-1] == ["set", "1", "rpwc", *numbers]
    assert rows[1][:-1] == ["set", "1", "rpwc", "consistency", *numbers]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["pair"], each["method"]) for each in found["pairs"]] == [
        ("left", "rpwc"), ("left", "rpwc consistency"),
    ]  # fmt: skip
    exact = {"precision": 22 / 33, "recall": 20 / 98, "F1": 2 * 22 * 20 / (33 * 20 + 22 * 98)}
    assert {name: found["sets"][0][name] for name in exact} == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["--baseline", "dis"], 2, "no baseline has the name dis", "there are: consistency"),
        (["--save", "out"], 2, "--save is not for occlusion", "leave it out"),
        (["--every", "4"], 2, "--every is not for occlusion", "leave it out"),
        ([], 1, "no masks of occlusion in data", "MPI-Sintel and KITTI have them"),
    ],
)
def test_errors(
    arguments: list[str], code: int, message: str, hint: str, dataset: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (dataset / "set" / "left_occ.png").unlink()
    monkeypatch.chdir(dataset.parent)
    assert main(["eval", "data", "--task", "occlusion", *arguments]) == code
    assert capsys.readouterr() == ("", f"error: {message}\nhint: {hint}\n")
