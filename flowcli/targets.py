"""Checks of the names of outputs, before anything is written."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from flowcli.atomic import check_free
from flowcli.errors import OutputError, UsageError


def pair_kinds(targets: Sequence[str], kinds: Sequence[str]) -> list[tuple[str, str]]:
    """Each target with its kind, or "" if there are no kinds. Raises UsageError if their numbers differ."""
    if kinds and len(kinds) != len(targets):
        raise UsageError(f"{len(kinds)} --as for {len(targets)} --out", "give one --as per --out, in the same order")
    return list(zip(targets, kinds or ("",) * len(targets), strict=True))


def check_distinct(places: Iterable[tuple[Path | None, str]]) -> None:
    """Raises UsageError if two outputs have the same place.

    places: path and mark of each output. The path is None for stdout; the mark is "" for a file, and for a folder it
    tells the output's files from those of other outputs in that folder.
    """
    seen: set[tuple[Path | None, str]] = set()
    for path, mark in places:
        if (key := (path and Path(os.path.realpath(path)), mark)) in seen:
            hint = "give each --out a name of its own" if path else "only one output can go there"
            raise UsageError(f"two outputs have the same name: {_shown(path, bool(mark)) if path else 'stdout'}", hint)
        seen.add(key)


def check_target(target: Path, inputs: Iterable[Path], overwrite: bool, folder: bool = False) -> None:
    """Raises OutputError if `target` is one of the inputs, is taken, or cannot be made."""
    if os.path.exists(target) and any(path.exists() and target.samefile(path) for path in inputs):
        raise OutputError(f"output would replace the input: {_shown(target, folder)}", "choose another name")
    check_free(target, overwrite, folder)


def check_package(package: str, extra: str, kind: str, target: str) -> None:
    """Raises OutputError if `package`, which this kind of output needs, is missing. extra: flowcli's extra with it."""
    if package and importlib.util.find_spec(package) is None:
        raise OutputError(f"{package} is needed to write {kind}: {target}", f"pip install 'flowcli[{extra}]'")


def _shown(path: Path, folder: bool) -> str:
    return f"{path}{'/' if folder else ''}"
