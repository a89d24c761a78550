from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from flowcli.cli.main import main
from flowcli.evaluation.scores import METRICS
from tests import tiny
from tests.pairs import write_pair

pytestmark = pytest.mark.usefixtures("table")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The network `brightness` is right about `still`, and 7.5 pixels off about `moving`: v is half a pixel for it."""
    write_pair(tmp_path / "data" / "still", "s", u=0, v=tiny.DOWN)
    write_pair(tmp_path / "data" / "moving", "m", u=0, v=8)
    write_pair(tmp_path / "data" / "moving", "n", brightness=20, u=20, v=tiny.DOWN)
    return tmp_path / "data"


def test_table(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(dataset)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    header, moving, still = (line.split() for line in out.splitlines())
    assert header == ["set", "pairs", "method", "EPE", "s0-10", "s10-40", "Fl", "1px", "3px", "5px", "AE", "s/pair"]
    assert moving[:10] == ["moving", "2", "rpwc", "3.75", "7.50", "0.00", "50.0%", "50.0%", "50.0%", "50.0%"]
    assert still[:5] == ["still", "1", "rpwc", "0.00", "0.00"]


def test_every_pair_of_it(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(dataset), "-v"]) == 0
    lines = [line.split()[:4] for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["set", "pair", "method", "EPE"]
    assert lines[3:] == [
        ["moving", "m", "rpwc", "7.50"],
        ["moving", "n", "rpwc", "0.00"],
        ["still", "s", "rpwc", "0.00"],
    ]


def test_json(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(dataset), "--json", "--baseline", "dis"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert [(each["set"], each["method"], each["pairs"]) for each in found["sets"]] == [
        ("moving", "rpwc", 2), ("moving", "dis", 2), ("still", "rpwc", 1), ("still", "dis", 1),
    ]  # fmt: skip
    assert set(METRICS) <= set(found["pairs"][0])
    assert [each["EPE"] for each in found["pairs"] if each["method"] == "rpwc"] == [7.5, 0, 0]
    assert found["pairs"][0]["noc"] is None
    assert found["pairs"][0]["seconds"] >= 0


def test_csv(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(dataset), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["set"], row["pair"], row["pairs"], row["EPE"]) for row in rows] == [
        ("moving", "", "2", "3.75"),
        ("still", "", "1", "0.0"),
        ("moving", "m", "", "7.5"),
        ("moving", "n", "", "0.0"),
        ("still", "s", "", "0.0"),
    ]
    assert list(rows[0]) == ["set", "pair", "pairs", "method", *METRICS, "seconds"]
    assert rows[0]["noc"] == ""


def test_save(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", str(dataset), "--baseline", "farneback", "--save", str(tmp_path / "out")]
    assert main(arguments) == 0
    kinds = (".flo", "_error.png", "_sheet.png")
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")} == {
        f"{method}/{pair}{kind}"
        for method in ("rpwc", "farneback")
        for pair in ("moving/m", "moving/n", "still/s")
        for kind in kinds
    }
    capsys.readouterr()
    assert main(arguments) == 1
    assert capsys.readouterr().err == (
        f"error: output exists already: {tmp_path / 'out'}\nhint: pass -y to replace it, or choose another name\n"
    )
    assert main([*arguments, "-y"]) == 0


def test_models_by_name_and_by_file(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.write_weights(tmp_path / "other.safetensors", settings='{"gain": 2}')
    assert main(["eval", str(dataset), "-m", str(tmp_path / "other.safetensors"), "-m", "rpwc", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["EPE"] for each in found["pairs"] if each["pair"] == "n"] == [20, 0]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["nowhere"], "no such folder: nowhere", "give the folder of a dataset"),
        (["data", "--csv", "--json"], "--csv and --json contradict each other", "leave one out"),
        (["data", "-m", "rpwc", "-m", "rpwc"], "two methods have the name rpwc", "rename one of the files"),
    ],
)
def test_errors(
    arguments: list[str], message: str, hint: str, dataset: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["eval", *arguments]) == (1 if arguments == ["nowhere"] else 2)
    assert capsys.readouterr() == ("", f"error: {message}\nhint: {hint}\n")


def test_a_damaged_pair_leaves_nothing_behind(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = dataset / "still" / "s_flow.flo"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert main(["eval", str(dataset), "--save", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith(f"error: damaged .flo file: {damaged} says ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "weights"]
