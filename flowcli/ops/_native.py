"""Builds the C++ and CUDA kernels on first use, keeps them in the user's cache folder, and says which kernels run.

FLOWCLI_NATIVE: `auto` (the default) warns once and lets the plain torch kernels run where the native ones cannot be
had, `off` uses the plain torch kernels, `require` raises DeviceError instead of warning. The cache is
`flowcli` in FLOWCLI_CACHE, else XDG_CACHE_HOME, else ~/.cache.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from flowcli.errors import DeviceError, FlowcliError

SOURCES = {"cpu": "correlation.cpp", "cuda": "correlation.cu"}
PATIENCE = 600
"""Seconds after which a build counts as failed."""


@dataclass(frozen=True)
class NativeStatus:
    """Which kernels run on a device, and why; `path` is the library that was loaded."""

    kernel: Literal["native", "fallback"]
    reason: str
    path: Path | None = None


_known: dict[str, NativeStatus] = {}
_lock = threading.RLock()


def status(device: str = "cpu") -> NativeStatus:
    """What runs on devices of this type so far. Builds and loads nothing; see `ensure`."""
    return _known.get(device, NativeStatus("fallback", "not loaded yet"))


def ensure(device: str = "cpu") -> NativeStatus:
    """What runs on devices of this type, after building and loading the native kernels if they can be had.

    device: a torch device type, "cpu" or "cuda"; others have no native kernels. Only the first call does work, and it
    warns if it fails. Raises DeviceError if FLOWCLI_NATIVE=require and there are none, FlowcliError if the variable has
    another value than off, auto and require.
    """
    with _lock:
        if device not in _known:
            _known[device] = _decide(device)
        return _known[device]


def _decide(device: str) -> NativeStatus:
    mode = os.environ.get("FLOWCLI_NATIVE") or "auto"
    if mode not in ("off", "auto", "require"):
        raise FlowcliError(f"FLOWCLI_NATIVE is {mode!r}", "set it to off, auto or require")
    if mode == "off":
        return NativeStatus("fallback", "FLOWCLI_NATIVE=off")
    if device not in SOURCES:
        return NativeStatus("fallback", f"there are no native kernels for {device}")
    try:
        path = _load(device)
    except DeviceError as error:
        if mode == "require":
            raise
        warnings.warn(
            f"{error.message}: {device} runs the slower torch kernels ({error.hint})", RuntimeWarning, stacklevel=2
        )
        return NativeStatus("fallback", error.message)
    return NativeStatus("native", f"built for torch {torch.__version__}", path)


def _load(device: str) -> Path:
    source = Path(__file__).with_name(SOURCES[device])
    flags = _cpu_flags() if device == "cpu" else _cuda_flags()
    path = _cache() / f"{source.stem}-{device}-{_key(source, flags)}.so"
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
        raise DeviceError(f"cannot load {path}: {error}", "FLOWCLI_NATIVE=off silences this") from error
    return path


def _cache() -> Path:
    """The folder of the built libraries. Raises DeviceError if there is no place for it."""
    try:
        base = os.environ.get("FLOWCLI_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    except RuntimeError as error:
        raise DeviceError("no home folder to build native kernels in", "set FLOWCLI_CACHE to a folder") from error
    return Path(base) / "flowcli"


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


def _cpu_flags() -> list[str]:
    # Not -march=native: the key knows torch's capability of the machine, and no more may be assumed of it.
    capability = torch.backends.cpu.get_cpu_capability()
    vectors = {
        "AVX2": ["-mavx2", "-mfma", "-mf16c"],
        "AVX512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mf16c"],
    }.get(capability)
    chosen = [*vectors, f"-DCPU_CAPABILITY={capability}", f"-DCPU_CAPABILITY_{capability}"] if vectors else []
    return ["-std=c++20", "-O3", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", *chosen]


def _cuda_flags() -> list[str]:
    major, minor = torch.cuda.get_device_capability()
    arch = f"{major}{minor}"
    return [
        *("-std=c++20", "-O3", "-Xcompiler", "-fPIC", "--expt-relaxed-constexpr"),
        *("-gencode", f"arch=compute_{arch},code=[sm_{arch},compute_{arch}]"),
    ]


def _build(device: str, source: Path, flags: list[str], path: Path) -> None:
    """Writes the library to `path`, whole or not at all. Raises DeviceError with the reason if that is impossible."""
    compiler = _compiler(device)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Private: a build that was killed, or runs beside this one, is never in the way.
        with tempfile.TemporaryDirectory(prefix=".build-", dir=path.parent, ignore_cleanup_errors=True) as folder:
            part = Path(folder) / path.name
            _compile([*compiler, *flags, str(source), "-shared", "-o", str(part), *_torch_paths(device)])
            os.replace(part, path)
    except OSError as error:
        reason = f"cannot build native kernels in {path.parent}: {error.strerror or error}"
        raise DeviceError(reason, "set FLOWCLI_CACHE to a folder that can be written to") from error


def _compiler(device: str) -> list[str]:
    name, wanted = (os.environ.get("CXX") or "c++", "a C++ compiler") if device == "cpu" else ("nvcc", "the CUDA toolkit")
    words = shlex.split(name)
    found = shutil.which(words[0])
    if found is None:
        raise DeviceError(f"native kernels need {wanted}, {words[0]!r} is not there", f"install {wanted}")
    return [found, *words[1:]]


def _torch_paths(device: str) -> list[str]:
    """Where a build finds torch. OpenMP's library is left out on purpose: torch brings its own, two make two pools."""
    try:
        from torch.utils import cpp_extension  # Needs setuptools, and takes its time.
    except ImportError as error:
        raise DeviceError(f"native kernels need {error.name} to be built", f"pip install {error.name}") from error
    libraries = ["c10", "torch_cpu"] + (["c10_cuda", "torch_cuda"] if device == "cuda" else [])
    return [
        *(f"-I{folder}" for folder in cpp_extension.include_paths()),
        *(f"-L{folder}" for folder in cpp_extension.library_paths()),
        *(f"-l{name}" for name in libraries),
        *(["-Wl,-z,now"] if device == "cpu" else ["-cudart", "shared"]),
    ]


def _compile(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        reason = f"building native kernels took more than {PATIENCE} seconds"
        raise DeviceError(reason, "FLOWCLI_NATIVE=off silences this") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if "error" in line] or [f"exit {done.returncode}"]
        raise DeviceError(f"{command[0]} cannot build native kernels: {lines[0]}", "FLOWCLI_NATIVE=off silences this")
