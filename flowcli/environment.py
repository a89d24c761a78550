"""Environment variables: what children get of them, and what is set in them for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

from flowcli.errors import UsageError

FOLDERS = (
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "PATH",
    "PYTHONPATH",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "LIBRARY_PATH",
    "COMPILER_PATH",
)
"""Lists of folders. An empty entry means the current one, where a stranger's video may lie, and a library beside it."""


SPINS = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
"""How long the threads of OpenMP run in circles while they wait for each other: of GNU's in turns, of LLVM's in ms."""
_WAITING = {*SPINS, "OMP_WAIT_POLICY"}


def share_cores() -> None:
    """Has the threads of OpenMP sleep soon when they wait, so that others get the core; a choice of the user's stays.

    To be called before torch is imported. A pair of frames has hundreds of barriers, and on a busy machine the thread
    that the others wait for is often one that does not run.
    """
    if _WAITING.isdisjoint(os.environ):
        os.environ.update(SPINS)


NATIVE = "FLOWCLI_NATIVE"
"""Says where native kernels come from: see `flowcli.ops.native`."""


@contextmanager
def kernels_first() -> Iterator[None]:
    """Has what runs meanwhile wait for native kernels, unless the user has said otherwise."""
    with changed({NATIVE: "wait"}) if os.environ.get(NATIVE, "auto") in ("", "auto") else nullcontext():
        yield


PIXELS = "FLOWCLI_MAX_PIXELS"
MORE_PIXELS = f"--max-pixels N or {PIXELS}=N allows more"
_MOST = 178_956_970
"""Pixels of the largest picture that Pillow opens without being told to."""


def max_pixels() -> int:
    """Of the largest picture that is read, since a tiny file can say that it holds any number. Raises UsageError."""
    text = os.environ.get(PIXELS) or str(_MOST)
    if not text.isdecimal() or not 0 < int(text[:20]) < 2**62:
        raise UsageError(f"{PIXELS} is {text!r}", "set it to a number of pixels, or unset it")
    return int(text)


def for_children() -> dict[str, str]:
    """The environment of this process, without the empty entries in lists of folders."""
    cleaned = dict(os.environ)
    for name in FOLDERS:
        if name in cleaned:
            cleaned[name] = os.pathsep.join(filter(None, cleaned[name].split(os.pathsep)))
            if not cleaned[name]:
                del cleaned[name]
    return cleaned


@contextmanager
def changed(variables: Mapping[str, str] | None = None) -> Iterator[None]:
    """Sets the variables; afterwards they, and the lists of folders, are again what they were.

    What is started meanwhile gets no empty entries in lists of folders either.
    """
    names = {*FOLDERS, *(variables or {})}
    before = {name: os.environ[name] for name in names if name in os.environ}
    inherited = for_children() | dict(variables or {})
    try:
        _set(names, inherited)
        yield
    finally:
        _set(names, before)


def _set(names: set[str], values: Mapping[str, str]) -> None:
    for name in names:
        if name in values:
            os.environ[name] = values[name]
        else:
            os.environ.pop(name, None)
