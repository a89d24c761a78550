"""The manifest of a batch: the outcome of each item, one JSON object per line, append-only."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args

from flowcli.atomic import write_error
from flowcli.batch.items import Stamp
from flowcli.batch.listing import Run
from flowcli.errors import OutputError
from flowcli.output.kinds import CONTAINERS
from flowcli.private import lock
from flowcli.types import Closes

Status = Literal["writing", "done", "damaged", "skipped", "failed", "left out"]
Values = TypeVar("Values", "Record", "Written")

_PATIENCE, _POLL = 2.0, 0.05
"""Seconds for which another run may hold the manifest, and between looks."""


@dataclass(frozen=True)
class Written:
    """An output on disk: `path` relative to the batch's folder, number of files, and bytes."""

    path: str
    files: int = 0
    """0: it could not be made."""
    size: int = 0
    names: tuple[Run, ...] = ()
    """The files of a folder, by their paths in it; another output may have files of its own there."""
    kind: str = ""
    """Content and format."""
    settings: dict[str, str] | None = None
    """The options that it was made with, as far as they matter; None if it is not finished."""

    @property
    def slot(self) -> tuple[str, str]:
        """Where it lies: outputs with equal slots take each other's place."""
        form = self.kind.rpartition(".")[2]
        container = CONTAINERS.get(form)
        return self.path, form if container is not None and container.place in ("files", "folder") else ""


@dataclass(frozen=True)
class Record:
    """The state of an item: `writing` before its outputs are moved to their places, `done` afterwards, or `failed`.

    `skipped` is one of which nothing can be made. `left out` is the state of a path among the inputs that is no item.
    `error` says why.
    """

    item: str
    status: Status
    input: str
    size: int
    """Size of the input in bytes; for a folder, of all its pictures."""
    mtime: int
    """Time of the input's latest change, nanoseconds."""
    files: int
    weights: str
    """SHA-256 of the weights, or the name of a method without weights."""
    time: float
    """When this record was written, seconds since 1970."""
    frames: int = 0
    flows: int = 0
    """Or frames that were made."""
    seconds: float = 0.0
    error: str = ""
    hint: str = ""
    damaged: str = ""
    """What of the input could not be read, if the status says so: its outputs hold the rest."""
    arithmetic: str = ""
    """What decides the last bits of its flow beside settings and weights; no reason to do it anew."""
    cuts: tuple[int, ...] = ()
    """Frames at which shots were found to begin: the flow to each is unknown, 0 in files that cannot say so."""
    duplicates: tuple[int, ...] = ()
    """Frames that were found to repeat the one before."""
    outputs: tuple[Written, ...] = ()

    @property
    def stamp(self) -> Stamp:
        """The stamp of the input before it was read."""
        return Stamp(self.size, self.mtime, self.files)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Manifest(Closes):
    """The manifest in `folder`, which only one run at a time can have open. Earlier records are read first.

    share: of the run, (2, 8) for --shard 2/8, each of which writes a manifest of its own. A line that is torn, since
    its writer was killed, counts as not written. Which record of an item is the latest does not hang on clocks: each
    run counts on from the highest number in all manifests. Raises OutputError if another run has it, or it cannot be
    written.
    """

    def __init__(self, folder: Path, share: tuple[int, int] | None = None) -> None:
        self.name = "manifest" if share is None else "manifest-{}of{}".format(*share)
        self.path = folder / f"{self.name}.jsonl"
        try:
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            self._lock(folder)
            found = sorted(_lines(folder), key=lambda line: (line[0], line[1].time))
            if _is_torn(self.path):
                self._write(b"\n")
        except BaseException:
            self.close()
            raise
        self._count = found[-1][0] if found else 0
        self.last = {record.item: record for _, record in found}
        """The latest record of each item, whichever run wrote it."""
        self.owned: dict[tuple[str, str], set[Run]] = defaultdict(set)
        """The slot of every output that was ever made or begun here, with the files of folders."""
        for _, record in found:
            self._own(record)

    def append(self, record: Record) -> None:
        """Writes the record and waits until the disk has it. Raises OutputError."""
        self._count += 1
        self._write(json.dumps({"sequence": self._count, **record.as_dict()}).encode() + b"\n")
        self.last[record.item] = record
        self._own(record)

    def close(self) -> None:
        self._file.close()

    def _lock(self, folder: Path) -> None:
        """Waits a little for a run that was killed: what it had just started still holds its files for a moment."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                lock(self._file.fileno())
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise OutputError(
                        f"another run is writing into {folder}", "wait for it, or give each run a --shard of its own"
                    ) from None
            time.sleep(_POLL)

    def _own(self, record: Record) -> None:
        for output in record.outputs:
            if output.files:
                self.owned[output.slot].update(output.names)

    def _write(self, data: bytes) -> None:
        try:
            if self._file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error


def _lines(folder: Path) -> Iterator[tuple[int, Record]]:
    """The records of all manifests in the folder, each with its number. Raises OutputError."""
    for path in sorted(folder.glob("manifest*.jsonl")):
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise OutputError(f"cannot read {path}: {error.strerror}", "check its permissions") from error
        for place, line in enumerate(lines, 1):
            # What others wrote into it, or a disk made of it, is passed over.
            with suppress(ValueError, TypeError, KeyError, RecursionError):
                yield _read(line, place)


def _read(line: bytes, place: int) -> tuple[int, Record]:
    """Number and record of a line; without a number, its place. Raises ValueError, TypeError, KeyError."""
    values = _mapping(json.loads(line))
    number = values.pop("sequence", place)
    outputs = values.pop("outputs")
    # Of version 0.1, of all options as a hash.
    values.pop("settings", None)
    written = tuple(map(_written, map(_mapping, outputs)))
    places = {name: _numbers(values.pop(name, [])) for name in ("cuts", "duplicates")}
    record = _typed(Record, {**values, **places, "outputs": written})
    if type(number) is not int or record.status not in get_args(Status):
        raise ValueError(number, record.status)
    return number, record


def _mapping(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise TypeError(value)
    return value


def _written(values: dict[str, Any]) -> Written:
    settings = values.get("settings")
    if settings is not None and not all(type(value) is str for value in _mapping(settings).values()):
        raise TypeError(settings)
    return _typed(Written, {**values, "names": _runs(values.get("names", [])), "settings": settings})


def _runs(listed: Any) -> tuple[Run, ...]:
    runs = tuple((name, count) for name, count in listed)
    if not all(type(name) is str and type(count) is int and 0 < count < _MOST for name, count in runs):
        raise TypeError(listed)
    return runs


def _numbers(listed: Any) -> tuple[int, ...]:
    numbers = tuple(listed)
    if not all(type(number) is int for number in numbers):
        raise TypeError(listed)
    return numbers


def _typed(kind: type[Values], values: dict[str, Any]) -> Values:
    """The dataclass of these values. Raises TypeError if one has another type than its field."""
    for field in dataclasses.fields(kind):
        value, wanted = values.get(field.name, field.default), _TYPES.get(str(field.type), (tuple,))
        if type(value) not in wanted:
            raise TypeError(field.name, value)
    return kind(**values)


_TYPES = {
    "str": (str,),
    "Status": (str,),
    "int": (int,),
    "float": (float, int),
    "dict[str, str] | None": (dict, NoneType),
}
_MOST = 10**7
"""Files in a run: more are a mistake, or a bomb."""


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"
