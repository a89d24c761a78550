from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from flowcli.errors import OutputError, UsageError
from flowcli.motion import tables
from flowcli.motion.stats import Row
from flowcli.motion.tables import KINDS, Table, open_tables, plan
from flowcli.pictures import read_picture
from flowcli.types import drain

ROWS = [
    Row(0, 0.0, False, None, None),
    Row(1, 0.04, False, 0.25, 0.0, speed_mean=1.5, direction=-90.0, zoom=1.000001),
    Row(2, 0.08, True, 0.9, 0.0),
    Row(3, 0.12, False, 0.0, 1.0, speed_mean=0.0, zoom=1.0),
]
COLUMNS = [each.name for each in fields(Row)]


def written(path: Path, rows: list[Row] = ROWS) -> Path:
    assert drain(rows, open_tables(plan([str(path)]), Row, False, io.StringIO())) == len(rows)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def as_row(values: dict[str, str]) -> Row:
    """A line of CSV, read by what each column holds."""
    read: dict[str, Callable[[str], object]] = {"frame": int, "cut": lambda text: {"True": True, "False": False}[text]}
    return Row(**{name: read.get(name, float)(text) if text else None for name, text in values.items()})  # type: ignore[arg-type]


def test_csv(tmp_path: Path) -> None:
    text = written(tmp_path / "rows.csv").read_text()
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert text.splitlines()[3] == "2,0.08,True,0.9,0.0" + "," * (len(COLUMNS) - 5)
    assert [as_row(each) for each in csv.DictReader(io.StringIO(text))] == ROWS


def test_json_lines(tmp_path: Path) -> None:
    lines = written(tmp_path / "rows.jsonl").read_text().splitlines()
    assert [Row(**json.loads(line)) for line in lines] == ROWS
    assert list(json.loads(lines[0])) == COLUMNS


def test_json(tmp_path: Path) -> None:
    rows = json.loads(written(tmp_path / "rows.json").read_text())
    assert [Row(**row) for row in rows] == ROWS
    assert json.loads(written(tmp_path / "none.json", []).read_text()) == []


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BATCH", 3)
    path = written(tmp_path / "rows.parquet")
    table = pyarrow.parquet.read_table(path)
    assert [Row(**each) for each in table.to_pylist()] == ROWS
    kinds = {name: str(table.schema.field(name).type) for name in COLUMNS}
    assert kinds == {**dict.fromkeys(COLUMNS, "double"), "frame": "int64", "cut": "bool"}
    assert pyarrow.parquet.ParquetFile(path).num_row_groups == 2
    empty = pyarrow.parquet.read_table(written(tmp_path / "empty.parquet", []))
    assert (empty.num_rows, empty.column_names) == (0, COLUMNS)


@pytest.mark.slow
def test_plots(tmp_path: Path) -> None:
    image = read_picture(written(tmp_path / "plot.png"))
    assert image.shape[0] > 500
    assert (image == 255).mean() > 0.5
    assert (image < 128).any()
    assert b"<svg" in written(tmp_path / "plot.svg").read_bytes()[:2000]


def test_several_at_once_and_on_stdout(tmp_path: Path) -> None:
    out = io.StringIO()
    targets = [str(tmp_path / name) for name in ("b.csv", "c.x")]
    found = plan(["-", *targets], ["jsonl", "csv", "jsonl"])
    assert found == [Table(None, "jsonl"), Table(tmp_path / "b.csv", "csv"), Table(tmp_path / "c.x", "jsonl")]
    drain(ROWS, open_tables(found, Row, False, out))
    assert out.getvalue() == (tmp_path / "c.x").read_text() == written(tmp_path / "d.jsonl").read_text()
    assert names(tmp_path) == ["b.csv", "c.x", "d.jsonl"]
    assert plan(["-"]) == [Table(None, "csv")]


def test_rows_reach_stdout_at_once() -> None:
    class Flushed(io.StringIO):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1

    out = Flushed()
    (sink,) = open_tables(plan(["-"]), Row, False, out)
    sink.write(ROWS[0])
    assert out.flushes == 1
    sink.close()
    assert not out.closed


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_of_a_run_that_fails(tmp_path: Path, kind: str) -> None:
    def rows() -> object:
        yield ROWS[0]
        raise ValueError("broken")

    with pytest.raises(ValueError, match=r"^broken$"):
        drain(rows(), open_tables(plan([str(tmp_path / f"rows.{kind}")]), Row, False, io.StringIO()))  # type: ignore[arg-type]
    assert names(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_exists_is_replaced_only_when_asked(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    path.write_text("old")
    with pytest.raises(OutputError, match=r"^output exists already: "):
        plan([str(path)])
    sinks = open_tables(plan([str(path)], overwrite=True), Row, True, io.StringIO())
    assert path.read_text() == "old"
    drain(ROWS, sinks)
    assert path.read_bytes() != b"old"
    assert names(tmp_path) == [path.name]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_stdout_is_a_file_on_a_full_disk(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        sinks = open_tables(plan(["-", str(tmp_path / "rows.csv")]), Row, False, full)
        with pytest.raises(OutputError, match=r"^cannot write stdout: No space left on device$"):
            drain(ROWS, sinks)
        assert names(tmp_path) == []
        # What is in the buffer would fail again when the file is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_cannot_grow(tmp_path: Path, kind: str) -> None:
    import resource

    dice = np.random.default_rng(0).random((6000, 2))
    rows = [Row(index, index / 25, False, *pair) for index, pair in enumerate(dice.tolist())]
    path = tmp_path / f"rows.{kind}"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OutputError) as caught:
            drain(rows, open_tables(plan([str(path)]), Row, False, io.StringIO()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.message.startswith(f"cannot write {path}: ")
    assert "File too large" in caught.value.message
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["csv", "parquet", "svg"])
def test_a_folder_that_goes_away(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    found = plan([str(tmp_path / "rows.csv"), str(folder / f"rows.{kind}")])
    folder.rmdir()
    with pytest.raises(OutputError):
        drain(ROWS, open_tables(found, Row, False, io.StringIO()))
    assert [name for name in names(tmp_path) if name != "rows.csv"] == []


@pytest.mark.parametrize(
    ("targets", "kinds", "error", "message", "hint"),
    [
        (["rows.txt"], [], OutputError, "unknown suffix .txt: rows.txt",
         "use .csv .json .jsonl .parquet .png .svg, or name it by --as"),
        (["rows"], [], OutputError, "unknown suffix (none): rows",
         "use .csv .json .jsonl .parquet .png .svg, or name it by --as"),
        (["a.csv", "b.csv"], ["csv"], UsageError, "1 --as for 2 --out", "give one --as per --out, in the same order"),
        (["-"], ["svg"], UsageError, "svg cannot be written to stdout", "use --as csv or --as jsonl"),
        (["-", "-"], ["csv", "jsonl"], UsageError, "two outputs have the same name: stdout",
         "only one output can go there"),
        (["a.csv", "./a.csv"], [], UsageError, "two outputs have the same name: a.csv",
         "give each --out a name of its own"),
        (["no/a.csv"], [], OutputError, "no such folder for the output: no", "create it: mkdir -p no"),
        (["in.png"], [], OutputError, "output would replace the input: in.png", "choose another name"),
    ],
)  # fmt: skip
def test_errors(
    targets: list[str], kinds: list[str], error: type[OutputError], message: str, hint: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("in.png").write_text("a picture")
    with pytest.raises(error) as caught:
        plan(targets, kinds, overwrite=True, inputs=["gone.png", "in.png"])
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("kind", "package", "extra"),
    [("parquet", "pyarrow", "parquet"), ("png", "matplotlib", "plot"), ("svg", "matplotlib", "plot")],
)
def test_a_package_that_is_missing(
    kind: str, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else True)
    path = tmp_path / f"rows.{kind}"
    with pytest.raises(OutputError) as caught:
        plan([str(path)])
    assert caught.value.message == f"{package} is needed to write {kind}: {path}"
    assert caught.value.hint == f"pip install 'flowcli[{extra}]'"
    assert plan([str(tmp_path / "rows.csv")]) == [Table(tmp_path / "rows.csv", "csv")]
