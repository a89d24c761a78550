"""Builds the C++ and CUDA kernels on first use, keeps them in the user's cache folder, and says which kernels run.

FLOWCLI_NATIVE: `auto` (the default) logs one warning and lets the plain torch kernels run where the native ones cannot
be had, `off` uses the plain torch kernels, `require` raises DeviceError instead of the warning.

torch.utils.cpp_extension builds them, with compilers that end with this process, and is not imported when there is
nothing to build: it takes seconds to import, 46 ms when all is built, and the lock file of a killed build makes it wait
forever.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import TimeoutError as PoolTimeout
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Literal

import torch

from flowcli.environment import changed, for_children
from flowcli.errors import DeviceError, FlowcliError
from flowcli.ops import _cache
from flowcli.private import Private

SUFFIXES = {"cpu": ".cpp", "cuda": ".cu"}
"""Of the sources of each type of device, which lie beside this file."""
PATIENCE = 600
"""Seconds after which a build counts as failed."""
_ROOM = 2**25
"""Bytes that a build needs at least."""

_log = logging.getLogger("flowcli")
_OFF = "FLOWCLI_NATIVE=off silences this"
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
    """What runs on devices of this type, after building and loading the native kernels if they can be had.

    device: a torch device type, "cpu" or "cuda"; others have no native kernels. Only the first call does work, and it
    logs a warning if it fails. Raises DeviceError if FLOWCLI_NATIVE=require and there are none, FlowcliError if the
    variable has another value than off, auto and require.
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
    mode = os.environ.get("FLOWCLI_NATIVE") or "auto"
    if mode not in ("off", "auto", "require"):
        raise FlowcliError(f"FLOWCLI_NATIVE is {mode!r}", "set it to off, auto or require")
    if mode == "off":
        return NativeStatus("fallback", "FLOWCLI_NATIVE=off", hint="unset FLOWCLI_NATIVE for the faster kernels")
    # AMD's GPUs are called cuda, too.
    if device not in SUFFIXES or (device == "cuda" and torch.version.cuda is None):
        reason = f"there are no native kernels for {device} in torch {torch.__version__}"
        if mode == "require":
            raise DeviceError(reason, "FLOWCLI_NATIVE=auto runs the torch kernels")
        return NativeStatus("fallback", reason)
    try:
        path = _load(device)
    except DeviceError as error:
        if mode == "require":
            raise
        _log.warning("%s; the slower torch kernels run on %s (%s)", error.message, device, error.hint)
        return NativeStatus("fallback", error.message, hint=error.hint)
    return NativeStatus("native", f"built for torch {torch.__version__}", path)


def _load(device: str) -> Path:
    sources = sorted(Path(__file__).parent.glob(f"*{SUFFIXES[device]}"))
    flags = _cpu_flags() if device == "cpu" else _FLAGS
    architectures = _architectures() if device == "cuda" else ""
    name = f"flowcli-{device}-{_key(sources, [*flags, architectures])}"
    try:
        folder = _cache.checked(cache_folder())
        path = _cache.find(folder, name)
        if path is not None:
            # An error: it was built beside another C library.
            with suppress(OSError):
                torch.ops.load_library(path)
                return path
        return _build(device, sources, flags, architectures, folder, name)
    except OSError as error:
        reason = f"cannot build native kernels in {cache_folder()}: {error.strerror or error}"
        raise DeviceError(reason, "set XDG_CACHE_HOME to a folder that can be written to") from error


def _key(sources: list[Path], flags: list[str]) -> str:
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


def _build(device: str, sources: list[Path], flags: list[str], architectures: str, folder: Path, name: str) -> Path:
    """Builds and loads the library, and keeps it in `folder` by this name.

    Raises DeviceError with the reason if it cannot; a build that failed is not tried again, unless FLOWCLI_NATIVE is
    `require`. Raises OSError if nothing can be written there.
    """
    compiler = _cxx()
    note = _cache.Note(folder, name, shlex.join(compiler))
    if os.environ.get("FLOWCLI_NATIVE") != "require" and (reason := note.failure()):
        raise DeviceError(reason, f"to try again: rm {shlex.quote(str(note.path))}; {_OFF}")
    _check_room(folder)
    try:
        # It runs nvcc.
        with changed():
            from torch.utils import cpp_extension
    except ImportError as error:
        raise DeviceError(f"native kernels need setuptools: {error}", "pip install setuptools") from error
    if device == "cuda":
        _check_nvcc(cpp_extension.CUDA_HOME)
    _log.warning("building the native kernel for %s, once: it takes about half a minute", device)
    note.write("")
    # A build that was killed, or runs beside this one, is never in the way.
    private = Private(folder, "build")
    # One below: torch has locks of its own.
    place = private.path / "build"
    try:
        place.mkdir()
        _compile(device, sources, flags, architectures, compiler, place)
        # It stays loaded: from its new place it would be loaded a second time.
        path = _cache.keep(folder, name, next(place.glob("*.so")))
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


def _check_room(folder: Path) -> None:
    """Raises DeviceError where a build would only fail at its end."""
    if shutil.disk_usage(folder).free < _ROOM:
        raise DeviceError(f"there is no room for native kernels in {folder}", "make room there, or set XDG_CACHE_HOME")
    if hasattr(os, "ST_NOEXEC") and os.statvfs(folder).f_flag & os.ST_NOEXEC:
        raise DeviceError(f"nothing can be run from {folder} (noexec)", "set XDG_CACHE_HOME to another folder")


def _compile(
    device: str, sources: list[Path], flags: list[str], architectures: str, compiler: list[str], folder: Path
) -> None:
    """Builds the library in the folder, and loads it. Raises DeviceError."""
    from torch.utils import cpp_extension

    def load() -> None:
        cpp_extension.load(
            name=f"flowcli_{device}",
            sources=[str(source) for source in sources],
            extra_cflags=flags,
            extra_cuda_cflags=flags,
            # OpenMP's library is not named: the one that torch has loaded serves both, two would make two
            # pools of threads. -z now: were it missing, loading would say so.
            extra_ldflags=["-Wl,-z,now"] if sys.platform == "linux" else [],
            build_directory=str(folder),
            with_cuda=device == "cuda",
            is_python_module=False,
        )

    path = os.pathsep.join([*_ninja_folders(), for_children().get("PATH") or os.defpath])
    variables = {
        "PATH": os.pathsep.join([*_guarded_ninja(folder, path), path]),
        "CXX": _one_word(compiler, folder),
        "TORCH_CUDA_ARCH_LIST": architectures,
        # The check tells nothing that the compiler does not, but logs warnings of its own.
        "TORCH_DONT_CHECK_COMPILER_ABI": "1",
        "LC_ALL": "C",  # For _telling.
    }
    with changed(variables):
        _patiently(load, compiler[0] if device == "cpu" else "nvcc")


def _guarded_ninja(folder: Path, path: str) -> list[str]:
    """A folder with a ninja that ends, and its compilers too, when this process or `folder` is gone; none without."""
    ninja = shutil.which("ninja", path=path)
    if ninja is None or sys.platform == "win32":
        return []
    guard = [sys.executable, "-I", str(Path(__file__).with_name("_guard.py")), str(os.getpid()), str(folder), ninja]
    place = folder / "guarded"
    place.mkdir()
    _script(place / "ninja", guard)
    return [str(place)]


def _cxx() -> list[str]:
    name, *options = shlex.split(os.environ.get("CXX") or "c++")
    found = shutil.which(name, path=for_children().get("PATH"))
    if found is None:
        raise DeviceError(f"native kernels need a C++ compiler, {name!r} is not there", "install g++ or set CXX")
    return [found, *options]


def _one_word(compiler: list[str], folder: Path) -> str:
    """A command without options, since some versions of cpp_extension quote the whole of CXX."""
    if len(compiler) == 1:
        return compiler[0]
    return _script(folder / "cxx", compiler)


def _script(path: Path, command: list[str]) -> str:
    """The path of a script that runs the command with the arguments that it gets."""
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
    path.chmod(0o700)
    return str(path)


def _check_nvcc(home: str | None) -> None:
    """Raises DeviceError unless `home` has an nvcc of torch's CUDA; cpp_extension.load does not look."""
    wanted = str(torch.version.cuda)
    nvcc = shutil.which("nvcc", path=f"{home}/bin") if home else None
    hint = f"install the CUDA toolkit {wanted}, or set CUDA_HOME to it"
    if nvcc is None:
        raise DeviceError("native kernels need nvcc, which is not there", hint)
    told = subprocess.run(
        [nvcc, "--version"], capture_output=True, text=True, errors="replace", env=for_children()
    ).stdout
    release = re.search(r"release (\S+?),", told)
    # Two CUDA runtimes of different major versions in one process do not get along.
    if release is None or release[1].split(".")[0] != wanted.split(".")[0]:
        version = release[1] if release else "an unknown version"
        raise DeviceError(f"{nvcc} is CUDA {version}, torch is built for {wanted}", hint)


def _ninja_folders() -> list[str]:
    """Where pip puts ninja. PATH need not name it: `<venv>/bin/flowcli` runs without the venv being active."""
    folders = [sysconfig.get_path("scripts")]
    with suppress(ImportError):
        folders.append(getattr(import_module("ninja"), "BIN_DIR", ""))
    return [folder for folder in folders if folder]


def _patiently(load: Callable[[], None], compiler: str) -> None:
    """Calls `load`, which sets itself no limit, and waits for PATIENCE seconds. Raises DeviceError if it fails."""
    # The pool's thread is a daemon: one that waits for ever keeps nobody from leaving.
    pool = ThreadPool(1)
    try:
        pool.apply_async(load).get(PATIENCE)
    except PoolTimeout as error:
        raise DeviceError(f"building native kernels took more than {PATIENCE} seconds", _OFF) from error
    except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
        raise DeviceError(f"{compiler} cannot build native kernels: {_telling(error)}", _OFF) from error
    finally:
        pool.close()


def _telling(error: Exception) -> str:
    """The line that tells why, of the many that ninja and the compiler write."""
    before, _, after = str(error).partition("FAILED: ")
    if not after:
        # torch says only which library it could not load; the cause says why.
        cause = error.__cause__ if isinstance(error, OSError) else None
        return str(cause or before).partition("\n")[0]
    target, _command, *output = after.splitlines()
    telling = (line.strip() for line in output if re.search("error|fatal|undefined|cannot find", line))
    return next(telling, f"FAILED: {target.strip()}")
