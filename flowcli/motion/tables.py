"""Tables as files, such as the outputs of `flowcli stats`: rows are dataclasses, and sinks write them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from flowcli.atomic import Part, write_error
from flowcli.errors import OutputError, UsageError
from flowcli.targets import check_distinct, check_package, check_target, pair_kinds
from flowcli.types import Sink, open_all

if TYPE_CHECKING:
    from flowcli.motion.stats import Row

KINDS = ("csv", "json", "jsonl", "parquet", "png", "svg")
_EXTRAS = {"parquet": ("pyarrow", "parquet"), "png": ("matplotlib", "plot"), "svg": ("matplotlib", "plot")}
"""The optional package that a kind needs, and the extra of flowcli that installs it."""
_BATCH = 4096
"""Rows in a block of a Parquet file."""


@dataclass(frozen=True)
class Table:
    """One place to write to. `path` is None for stdout."""

    path: Path | None
    kind: str


def plan(
    targets: Sequence[str], kinds: Sequence[str] = (), *, overwrite: bool = False, inputs: Sequence[str] = ()
) -> list[Table]:
    """The outputs that `targets` name, checked as far as possible before there are rows.

    kinds: none, or one for each target. inputs: files that no output may replace. Raises UsageError for a
    contradiction, OutputError for a name that cannot be written.
    """
    tables = [_table(*each) for each in pair_kinds(targets, kinds)]
    check_distinct((table.path, "") for table in tables)
    for table in tables:
        if table.path is not None:
            check_target(table.path, map(Path, inputs), overwrite)
    return tables


def open_tables(tables: Sequence[Table], row: type[Row], overwrite: bool, stdout: TextIO) -> list[Sink[Row]]:
    """The sinks of the tables, for rows of this type. If one cannot be opened, nothing is left of the others."""
    return open_all(tables, lambda table: open_table(table, row, overwrite, stdout))


def open_table(table: Table, row: type[Any], overwrite: bool, stdout: TextIO) -> Sink[Any]:
    """A sink for rows of this type, a dataclass; plots are for those of `flowcli stats`. Raises OutputError."""
    columns = [each.name for each in fields(row)]
    if table.path is None:
        return _WholeFile(_Lines(stdout, table.kind, columns, live=True), Path("stdout"))
    part = Part(table.path, overwrite)
    try:
        return _WholeFile(_open_at(part.path, table.kind, row, columns), part.target, part)
    except BaseException as error:
        part.discard()
        if isinstance(error, OSError):
            raise write_error(part.target, error) from error
        raise


def _table(target: str, kind: str) -> Table:
    path = None if target == "-" else Path(target)
    if path is None:
        kind = kind or "csv"
        if kind not in ("csv", "jsonl"):
            raise UsageError(f"{kind} cannot be written to stdout", "use --as csv or --as jsonl")
    elif not kind:
        kind = path.suffix[1:].lower()
        if kind not in KINDS:
            known = " ".join(f".{name}" for name in KINDS)
            raise OutputError(f"unknown suffix {path.suffix or '(none)'}: {target}", f"use {known}, or name it by --as")
    package, extra = _EXTRAS.get(kind, ("", ""))
    check_package(package, extra, kind, target)
    return Table(path, kind)


def _open_at(path: Path, kind: str, row: type[Any], columns: Sequence[str]) -> Sink[Any]:
    if kind in ("csv", "json", "jsonl"):
        return _Lines(path.open("w", encoding="utf-8", newline=""), kind, columns)
    if kind == "parquet":
        return _Parquet(path, row)
    from flowcli.motion.plot import Plot

    return Plot(path, kind)


class _WholeFile:
    """A sink whose file appears whole, under its own name, or not at all; errors state that name."""

    def __init__(self, sink: Sink[Any], target: Path, part: Part | None = None) -> None:
        self._sink = sink
        self._target = target
        self._part = part

    def write(self, row: Any) -> None:
        with self._naming_target():
            self._sink.write(row)

    def close(self) -> None:
        with self._naming_target():
            self._sink.close()
        if self._part is not None:
            self._part.publish()

    def abort(self) -> None:
        self._sink.abort()
        if self._part is not None:
            self._part.discard()

    @contextmanager
    def _naming_target(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise write_error(self._target, error) from error


class _Lines:
    """CSV with a header, unknown numbers empty; or JSON, where they are null: lines, or one list.

    live: each row is flushed, and the file is not closed.
    """

    def __init__(self, file: TextIO, kind: str, columns: Sequence[str], live: bool = False) -> None:
        self._file = file
        self._live = live
        self._csv = csv.DictWriter(file, columns, lineterminator="\n") if kind == "csv" else None
        self._list = kind == "json"
        self._between = "[\n"
        if self._csv is not None:
            self._csv.writeheader()

    def write(self, row: Any) -> None:
        if self._csv is not None:
            self._csv.writerow(vars(row))
        elif self._list:
            self._file.write(self._between + json.dumps(vars(row)))
            self._between = ",\n"
        else:
            self._file.write(json.dumps(vars(row)) + "\n")
        if self._live:
            self._file.flush()

    def close(self) -> None:
        if self._list:
            self._file.write("[]\n" if self._between == "[\n" else "\n]\n")
        if not self._live:
            self._file.close()

    def abort(self) -> None:
        if not self._live:
            self._file.close()


class _Parquet:
    """A Parquet file with a typed column for each field of a row, written in blocks."""

    def __init__(self, path: Path, row: type[Any]) -> None:
        import pyarrow
        import pyarrow.parquet

        # Annotations of a Row are text.
        types = {"int": pyarrow.int64(), "float": pyarrow.float64(), "bool": pyarrow.bool_()}
        self._schema = pyarrow.schema([(each.name, types[str(each.type).split(" ")[0]]) for each in fields(row)])
        self._batch = pyarrow.RecordBatch
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, row: Any) -> None:
        self._rows.append(vars(row))
        if len(self._rows) >= _BATCH:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def abort(self) -> None:
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_batch(self._batch.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()
