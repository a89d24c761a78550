"""Builds the C++ and CUDA kernels on first use, keeps them in the user's cache folder, and says which kernels run.

FLOWCLI_NATIVE: `auto` (the default) lets the plain torch kernels run where there are no native ones: those that can be
built are built beside, for the next process; `wait` builds them first. Both log one warning where they cannot be built;
`require` raises DeviceError instead. `off` uses the plain torch kernels. The choice is made once in each process, so
that one run never mixes kernels.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shlex
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from flowcli.environment import NATIVE
from flowcli.errors import DeviceError, FlowcliError
from flowcli.ops import _beside, _cache
from flowcli.ops._compile import OFF, Recipe, check, compile_library, find_compiler
from flowcli.private import Private

Mode = Literal["off", "auto", "wait", "require"]
"""The values of FLOWCLI_NATIVE."""
_MODES: tuple[Mode, ...] = get_args(Mode)

SUFFIXES = {"cpu": ".cpp", "cuda": ".cu"}
"""Of the sources of each type of device, which lie beside this file."""
PATIENCE = 600.0
"""Seconds after which a build counts as failed, or is no longer waited for."""
_PATIENCE_BESIDE = 3600.0
"""The same for a build that gets only the time that others leave."""
_POLL = 0.1
"""Seconds."""

_log = logging.getLogger("flowcli")
_WAIT = f"{NATIVE}=wait waits for them"
_FLAGS = ["-std=c++20", "-O3"]


@dataclass(frozen=True)
class NativeStatus:
    """Which kernels run on a device, and why; `path`: the library that was loaded, `hint`: how to get native ones."""

    kernel: Literal["native", "fallback", "unused"]
    reason: str
    path: Path | None = None
    hint: str = ""


_known: dict[str, NativeStatus] = {}
_lock = threading.RLock()


def status(device: str = "cpu") -> NativeStatus:
    """What runs on devices of this type so far. Builds and loads nothing; see `ensure`."""
    return _known.get(device, NativeStatus("unused", "no operator has run"))


def ensure(device: str = "cpu") -> NativeStatus:
    """What runs on devices of this type from now on, after loading the native kernels if there are any.

    device: a torch device type, "cpu" or "cuda"; others have no native kernels. Only the first call does work: it
    builds them, or has them built beside this process, as FLOWCLI_NATIVE says, and logs a warning if it cannot. Raises
    DeviceError if FLOWCLI_NATIVE=require and there are none, FlowcliError if the variable has an unknown value.
    """
    with _lock:
        if device not in _known:
            _known[device] = _decide(device)
        return _known[device]


def cache_folder() -> Path:
    """The folder of the built libraries, which need not be there. Raises DeviceError if there is no place for it."""
    named = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None)
    if named:
        return Path(named) / "flowcli"
    try:
        return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "flowcli"
    except RuntimeError as error:
        raise DeviceError("no home folder to keep native kernels in", "set XDG_CACHE_HOME to a folder") from error


def _decide(device: str) -> NativeStatus:
    mode = _mode()
    if mode == "off":
        return NativeStatus("fallback", "FLOWCLI_NATIVE=off", hint="unset FLOWCLI_NATIVE for the faster kernels")
    # AMD's GPUs are called cuda, too.
    if device not in SUFFIXES or (device == "cuda" and torch.version.cuda is None):
        reason = f"there are no native kernels for {device} in torch {torch.__version__}"
        if mode == "require":
            raise DeviceError(reason, "FLOWCLI_NATIVE=auto runs the torch kernels")
        return NativeStatus("fallback", reason)
    try:
        path = _load(device, mode)
    except DeviceError as error:
        if mode == "require":
            raise
        _log.warning("%s; the slower torch kernels run on %s (%s)", error.message, device, error.hint)
        return NativeStatus("fallback", error.message, hint=error.hint)
    if path is None:
        _log.warning(
            "this run uses the slower torch kernels; the fast ones for %s are being built beside it, for the next run "
            f"({_WAIT})",
            device,
        )
        return NativeStatus("fallback", "the native kernels are being built", hint=_WAIT)
    return NativeStatus("native", f"built for torch {torch.__version__}", path)


def _mode() -> Mode:
    value = os.environ.get(NATIVE) or "auto"
    for mode in _MODES:
        if mode == value:
            return mode
    raise FlowcliError(f"{NATIVE} is {value!r}", "set it to off, auto, wait or require")


def _load(device: str, mode: Mode) -> Path | None:
    """The library, which is loaded; None if it is being built beside this process."""
    recipe = _recipe(device)
    try:
        folder = _cache.checked(cache_folder())
        return _loaded(folder, recipe.name) or _build(recipe, folder, mode)
    except OSError as error:
        reason = f"cannot build native kernels in {cache_folder()}: {error.strerror or error}"
        raise DeviceError(reason, "set XDG_CACHE_HOME to a folder that can be written to") from error


def _loaded(folder: Path, name: str) -> Path | None:
    path = _cache.find(folder, name)
    if path is not None:
        # An error: it was built beside another C library.
        with suppress(OSError):
            torch.ops.load_library(path)
            return path
    return None


def _recipe(device: str) -> Recipe:
    sources = tuple(sorted(Path(__file__).parent.glob(f"*{SUFFIXES[device]}")))
    flags = _cpu_flags() if device == "cpu" else _FLAGS
    architectures = _architectures() if device == "cuda" else ""
    name = f"flowcli-{device}-{_key(sources, [*flags, architectures])}"
    return Recipe(device, sources, tuple(flags), architectures, name)


def _key(sources: Sequence[Path], flags: list[str]) -> str:
    """Names everything that the library depends on: a cache may be shared by unlike machines and environments."""
    parts = [
        *(file.read_text(encoding="utf-8") for file in (*sources, *sorted(sources[0].parent.glob("*.h")))),
        *flags,
        torch.__version__,
        platform.machine(),
        torch.backends.cpu.get_cpu_capability(),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _cpu_flags() -> list[str]:
    # Not -march=native: the key knows torch's capability of the machine and these flags, and no more may be assumed.
    capability = torch.backends.cpu.get_cpu_capability()
    vectors = {
        "AVX2": ["-mavx2", "-mfma", "-mf16c"],
        "AVX512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mf16c"],
    }.get(capability)
    if vectors and capability == "AVX512" and getattr(torch.cpu, "_is_avx512_bf16_supported", bool)():
        vectors = [*vectors, "-mavx512bf16"]
    chosen = [*vectors, f"-DCPU_CAPABILITY={capability}", f"-DCPU_CAPABILITY_{capability}"] if vectors else []
    threads = ["-fopenmp"] if sys.platform == "linux" else []
    return [*_FLAGS, *threads, "-fno-math-errno", "-fno-trapping-math", *chosen]


def _architectures() -> str:
    """Those of all GPUs, as TORCH_CUDA_ARCH_LIST has them."""
    found = {torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())}
    return ";".join(f"{major}.{minor}+PTX" for major, minor in sorted(found))


def _build(recipe: Recipe, folder: Path, mode: Mode) -> Path | None:
    """Builds and loads the library, and keeps it in `folder`; None if that is done beside this process.

    Raises DeviceError with the reason if it cannot; a build that failed is not tried again, unless `mode` is require.
    Raises OSError if nothing can be written there.
    """
    compiler = find_compiler()
    note = _cache.Note(folder, recipe.name, shlex.join(compiler))
    _check_note(note, mode)
    check(recipe, folder)
    if mode == "auto":
        try:
            claim = note.claim()
        except BlockingIOError:
            return None
    else:
        claim = _claim_in_turn(note, recipe.device)
    try:
        # Who built it meanwhile has let go of the note.
        path = _loaded(folder, recipe.name)
        if path is not None:
            note.forget()
            return path
        _check_note(note, mode)
        # Without locks nobody could tell that it is being built.
        if mode == "auto" and claim is not None:
            _beside.start(recipe.device, claim)
            return None
        _log.warning("building the native kernel for %s, once: it takes about half a minute", recipe.device)
        return _make(recipe, compiler, folder, note, PATIENCE, None)
    finally:
        if claim is not None:
            os.close(claim)


def _check_note(note: _cache.Note, mode: Mode) -> None:
    if mode != "require" and (reason := note.failure()):
        raise DeviceError(reason, f"to try again: rm {shlex.quote(str(note.path))}; {OFF}")


def _claim_in_turn(note: _cache.Note, device: str) -> int | None:
    """Claims the note as soon as no other process builds; None where there are no locks, or it takes too long."""
    deadline, said = time.monotonic() + PATIENCE, False
    while time.monotonic() < deadline:
        try:
            return note.claim()
        except BlockingIOError:
            if not said:
                _log.warning("another process builds the native kernel for %s: waiting for it", device)
            said = True
            time.sleep(_POLL)
    return None


def build_claimed(device: str) -> None:
    """Builds the library for the processes to come; to be called in a process that has inherited the claim to it.

    Why it failed, if it did, is in a note for them.
    """
    recipe, folder = _recipe(device), cache_folder()
    with suppress(DeviceError):
        compiler = find_compiler()
        note = _cache.Note(folder, recipe.name, shlex.join(compiler))
        _make(recipe, compiler, folder, note, _PATIENCE_BESIDE, _beside.jobs())


def _make(
    recipe: Recipe, compiler: list[str], folder: Path, note: _cache.Note, patience: float, jobs: int | None
) -> Path:
    note.write("")
    # A build that was killed, or runs beside this one, is never in the way.
    private = Private(folder, "build")
    # One below: torch has locks of its own.
    place = private.path / "build"
    try:
        place.mkdir()
        built = compile_library(recipe, compiler, place, patience, jobs)
        # It stays loaded: from its new place it would be loaded a second time.
        path = _cache.keep(folder, recipe.name, built)
    except DeviceError as error:
        note.write(error.message)
        raise
    except BaseException:
        # Interrupted, which tells nothing.
        note.forget()
        raise
    finally:
        private.remove()
    note.forget()
    return path
