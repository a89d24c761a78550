"""Builds the C++ and CUDA kernels on first use, keeps them in the user's cache folder, and says which kernels run.

FLOWCLI_NATIVE: `auto` (the default) logs one warning and lets the plain torch kernels run where the native ones cannot
be had, `off` uses the plain torch kernels, `require` raises DeviceError instead of the warning.

The compiler is called directly: torch.utils.cpp_extension.load wants ninja and setuptools, takes 46 ms when all is
built, and the lock file of a killed build makes it wait forever.
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
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from flowcli.errors import DeviceError, FlowcliError

SOURCES = {"cpu": "correlation.cpp", "cuda": "correlation.cu"}
PATIENCE = 600
"""Seconds after which a build counts as failed, and the folder of one that was killed as left over."""

_log = logging.getLogger("flowcli")
_OFF = "FLOWCLI_NATIVE=off silences this"


@dataclass(frozen=True)
class NativeStatus:
    """Which kernels run on a device, and why; `path`: the library that was loaded, `hint`: how to get native ones."""

    kernel: Literal["native", "fallback"]
    reason: str
    path: Path | None = None
    hint: str = ""


_known: dict[str, NativeStatus] = {}
_lock = threading.RLock()


def status(device: str = "cpu") -> NativeStatus:
    """What runs on devices of this type so far. Builds and loads nothing; see `ensure`."""
    return _known.get(device, NativeStatus("fallback", "not loaded yet"))


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
    if device not in SOURCES or (device == "cuda" and torch.version.cuda is None):
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
    source = Path(__file__).with_name(SOURCES[device])
    flags = _cpu_flags() if device == "cpu" else _cuda_flags()
    path = cache_folder() / f"{source.stem}-{device}-{_key(source, flags)}.so"
    if path.is_file():
        try:
            torch.ops.load_library(path)
            return path
        except OSError:
            pass  # Damaged, or built beside another C library: build it anew.
    _build(device, source, flags, path)
    try:
        torch.ops.load_library(path)
    except OSError as error:
        raise DeviceError(f"cannot load {path}: {error}", _OFF) from error
    return path


def _key(source: Path, flags: list[str]) -> str:
    """Names everything that the library depends on: a cache may be shared by unlike machines and environments."""
    parts = [
        source.read_text(encoding="utf-8"),
        *flags,
        torch.__version__,
        platform.machine(),
        torch.backends.cpu.get_cpu_capability(),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _common_flags() -> list[str]:
    return ["-std=c++20", "-O3", f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"]


def _cpu_flags() -> list[str]:
    # Not -march=native: the key knows torch's capability of the machine, and no more may be assumed of it.
    capability = torch.backends.cpu.get_cpu_capability()
    vectors = {
        "AVX2": ["-mavx2", "-mfma", "-mf16c"],
        "AVX512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mf16c"],
    }.get(capability)
    chosen = [*vectors, f"-DCPU_CAPABILITY={capability}", f"-DCPU_CAPABILITY_{capability}"] if vectors else []
    threads = ["-fopenmp"] if sys.platform == "linux" else []
    return [*_common_flags(), "-fPIC", *threads, "-fno-math-errno", "-fno-trapping-math", *chosen]


def _cuda_flags() -> list[str]:
    devices = {torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())}
    flags = [*_common_flags(), "-Xcompiler", "-fPIC", "--expt-relaxed-constexpr"]
    for major, minor in sorted(devices):
        flags += ["-gencode", f"arch=compute_{major}{minor},code=[sm_{major}{minor},compute_{major}{minor}]"]
    return flags


def _build(device: str, source: Path, flags: list[str], path: Path) -> None:
    """Writes the library to `path`, whole or not at all. Raises DeviceError with the reason if that is impossible."""
    compiler = _cxx() if device == "cpu" else _nvcc()
    torch_folder = Path(torch.__file__).parent
    includes = [f"-I{torch_folder / folder}" for folder in ("include", "include/torch/csrc/api/include")]
    libraries = [f"-L{torch_folder / 'lib'}", "-lc10", "-ltorch_cpu"]
    if device == "cuda":
        libraries += ["-lc10_cuda", "-cudart", "shared"]
    elif sys.platform == "linux":
        # OpenMP's library is not named: the one that torch has loaded serves both, two would make two pools of threads.
        libraries += ["-Wl,-z,now"]
    _log.warning("building the native kernel for %s, once: it takes about half a minute", device)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(".build-*"):
            if time.time() - left.stat().st_mtime > PATIENCE:
                shutil.rmtree(left, ignore_errors=True)
        # Private: a build that was killed, or runs beside this one, is never in the way.
        with tempfile.TemporaryDirectory(prefix=".build-", dir=path.parent, ignore_cleanup_errors=True) as folder:
            compiled, linked = Path(folder, "kernel.o"), Path(folder, path.name)
            _run([*compiler, *flags, *includes, "-c", str(source), "-o", str(compiled)], Path(folder, "log"))
            _run([*compiler, "-shared", str(compiled), "-o", str(linked), *libraries], Path(folder, "log"))
            os.replace(linked, path)
    except OSError as error:
        reason = f"cannot build native kernels in {path.parent}: {error.strerror or error}"
        raise DeviceError(reason, "set XDG_CACHE_HOME to a folder that can be written to") from error


def _cxx() -> list[str]:
    name, *options = shlex.split(os.environ.get("CXX") or "c++")
    found = shutil.which(name)
    if found is None:
        raise DeviceError(f"native kernels need a C++ compiler, {name!r} is not there", "install g++ or set CXX")
    return [found, *options]


def _nvcc() -> list[str]:
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [f"{home}/bin" for home in homes if home]
    found = shutil.which("nvcc", path=os.pathsep.join([*folders[:-1], os.environ.get("PATH", ""), folders[-1]]))
    wanted = str(torch.version.cuda)
    if found is None:
        raise DeviceError("native kernels need nvcc, which is not there", f"install the CUDA toolkit {wanted}")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, errors="replace").stdout
    release = re.search(r"release (\S+?),", told)
    # Two CUDA runtimes of different major versions in one process do not get along.
    if release is None or release[1].split(".")[0] != wanted.split(".")[0]:
        version = release[1] if release else "an unknown version"
        raise DeviceError(
            f"{found} is CUDA {version}, torch is built for {wanted}", f"install the CUDA toolkit {wanted}"
        )
    return [found]


def _run(command: list[str], log: Path) -> None:
    try:
        # Into a file: a pipe would be waited for until the last child of a compiler that was stopped has gone.
        with log.open("wb") as out:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"building native kernels took more than {PATIENCE} seconds", _OFF) from error
    if done.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        telling = [line.strip() for line in lines if re.search("error|fatal|undefined|cannot find", line)]
        reason = telling[0] if telling else f"exit code {done.returncode}"
        raise DeviceError(f"{command[0]} cannot build native kernels: {reason}", _OFF)
