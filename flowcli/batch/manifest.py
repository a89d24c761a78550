"""The manifest of a batch: the outcome of each item, one JSON object per line, append-only."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flowcli.atomic import write_error
from flowcli.batch.items import Stamp
from flowcli.errors import OutputError
from flowcli.types import Closes

Status = Literal["writing", "done", "failed", "left out"]


@dataclass(frozen=True)
class Written:
    """An output on disk: `path` relative to the batch's folder, number of files, and bytes."""

    path: str
    files: int = 0
    size: int = 0


@dataclass(frozen=True)
class Record:
    """The state of an item: `writing` before its outputs are moved to their places, `done` afterwards, or `failed`.

    `left out` is the state of a path among the inputs that is no item; `error` says why.
    """

    item: str
    status: Status
    input: str
    size: int
    """Size of the input in bytes; for a folder, of all its pictures."""
    mtime: int
    """Time of the input's latest change, nanoseconds."""
    files: int
    settings: str
    """Hash of all options that change outputs."""
    weights: str
    """SHA-256 of the weights, or the name of a method without weights."""
    time: float
    """When this record was written, seconds since 1970."""
    frames: int = 0
    flows: int = 0
    seconds: float = 0.0
    error: str = ""
    hint: str = ""
    outputs: tuple[Written, ...] = ()

    @property
    def stamp(self) -> Stamp:
        """The stamp of the input before it was read."""
        return Stamp(self.size, self.mtime, self.files)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Manifest(Closes):
    """The manifest in `folder`, which only one run at a time can have open. Earlier records are read first.

    share: the part of this run, (2, 8) for --shard 2/8; each part writes its own manifest. A torn line, whose writer
    was killed, is ignored. Raises OutputError if another run has it open, or it cannot be written.
    """

    def __init__(self, folder: Path, share: tuple[int, int] | None = None) -> None:
        self.name = "manifest" if share is None else "manifest-{}of{}".format(*share)
        self.path = folder / f"{self.name}.jsonl"
        try:
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            _lock(self._file.fileno(), folder)
            found = sorted(_records(folder), key=lambda record: record.time)
            if _is_torn(self.path):
                self._write(b"\n")
        except BaseException:
            self.close()
            raise
        self.last = {record.item: record for record in found}
        """The latest record of each item, whichever run wrote it."""
        self.owned = {output.path for record in found for output in record.outputs}
        """Every output that was ever made or started here."""

    def append(self, record: Record) -> None:
        """Writes the record and waits until it is on disk. Raises OutputError."""
        self._write(json.dumps(record.as_dict()).encode() + b"\n")
        self.last[record.item] = record
        self.owned.update(output.path for output in record.outputs)

    def close(self) -> None:
        self._file.close()

    def _write(self, data: bytes) -> None:
        try:
            if self._file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error


def _records(folder: Path) -> Iterator[Record]:
    """The records of all manifests in the folder."""
    for path in sorted(folder.glob("manifest*.jsonl")):
        for line in path.read_bytes().splitlines():
            with suppress(ValueError, TypeError, KeyError):
                values = json.loads(line)
                yield Record(**{**values, "outputs": tuple(Written(**each) for each in values["outputs"])})


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def _lock(descriptor: int, folder: Path) -> None:
    """Locks the file until it is closed or this process dies, on systems that have such locks."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            f"another run is writing into {folder}", "wait for it, or give each run a --shard of its own"
        ) from None
    except OSError:
        # Some network file systems have no locks.
        return
