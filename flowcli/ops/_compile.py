"""Compiles the native kernels with torch.utils.cpp_extension, and says in one line why it cannot.

Its compilers end with this process. torch.utils.cpp_extension is not imported when there is nothing to build: it takes
seconds to import, 46 ms when all is built, and the lock file of a killed build makes it wait forever.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import TimeoutError as PoolTimeout
from multiprocessing.pool import ThreadPool
from pathlib import Path

import torch

from flowcli.environment import changed, for_children
from flowcli.errors import DeviceError

OFF = "FLOWCLI_NATIVE=off silences this"
_ROOM = 2**25
"""Bytes that a build needs at least."""


@dataclass(frozen=True)
class Recipe:
    """What a library is made of; `name` names it all, without the compiler."""

    device: str
    sources: tuple[Path, ...]
    flags: tuple[str, ...]
    architectures: str
    """Of GPUs, as TORCH_CUDA_ARCH_LIST has them."""
    name: str


def check(recipe: Recipe, folder: Path) -> None:
    """Raises DeviceError if a build in this folder could only fail, or there is not what it needs."""
    _check_room(folder)
    try:
        # It runs nvcc.
        with changed():
            from torch.utils import cpp_extension
    except ImportError as error:
        raise DeviceError(f"native kernels need setuptools: {error}", "pip install setuptools") from error
    if recipe.device == "cuda":
        _check_nvcc(cpp_extension.CUDA_HOME)


def _check_room(folder: Path) -> None:
    if shutil.disk_usage(folder).free < _ROOM:
        raise DeviceError(f"there is no room for native kernels in {folder}", "make room there, or set XDG_CACHE_HOME")
    if hasattr(os, "ST_NOEXEC") and os.statvfs(folder).f_flag & os.ST_NOEXEC:
        raise DeviceError(f"nothing can be run from {folder} (noexec)", "set XDG_CACHE_HOME to another folder")


def compile_library(recipe: Recipe, compiler: list[str], folder: Path, patience: float, jobs: int | None) -> Path:
    """Builds the library in the folder, loads it, and returns its path.

    compiler: its command, from `find_compiler`. patience: seconds after which the build counts as failed. jobs:
    compilers at once, None for ninja's choice. Raises DeviceError.
    """
    from torch.utils import cpp_extension

    def load() -> None:
        cpp_extension.load(
            name=f"flowcli_{recipe.device}",
            sources=[str(source) for source in recipe.sources],
            extra_cflags=list(recipe.flags),
            extra_cuda_cflags=list(recipe.flags),
            # OpenMP's library is not named: the one that torch has loaded serves both, two would make two
            # pools of threads. -z now: were it missing, loading would say so.
            extra_ldflags=["-Wl,-z,now"] if sys.platform == "linux" else [],
            build_directory=str(folder),
            with_cuda=recipe.device == "cuda",
            is_python_module=False,
        )

    path = os.pathsep.join([*_ninja_folders(), for_children().get("PATH") or os.defpath])
    variables = {
        "PATH": os.pathsep.join([*_guarded_ninja(folder, path), path]),
        "CXX": _one_word(compiler, folder),
        "TORCH_CUDA_ARCH_LIST": recipe.architectures,
        # The check tells nothing that the compiler does not, but logs warnings of its own.
        "TORCH_DONT_CHECK_COMPILER_ABI": "1",
        "LC_ALL": "C",  # For _telling.
        **({} if jobs is None else {"MAX_JOBS": str(jobs)}),
    }
    with changed(variables):
        _patiently(load, compiler[0] if recipe.device == "cpu" else "nvcc", patience)
    return next(folder.glob("*.so"))


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


def find_compiler() -> list[str]:
    """The command of the C++ compiler. Raises DeviceError if it is not there."""
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


def _patiently(load: Callable[[], None], compiler: str, patience: float) -> None:
    """Calls `load`, which sets itself no limit, and waits for that many seconds. Raises DeviceError if it fails."""
    # The pool's thread is a daemon: one that waits for ever keeps nobody from leaving.
    pool = ThreadPool(1)
    try:
        pool.apply_async(load).get(patience)
    except PoolTimeout as error:
        raise DeviceError(f"building native kernels took more than {patience:.0f} seconds", OFF) from error
    except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
        raise DeviceError(f"{compiler} cannot build native kernels: {_telling(error)}", OFF) from error
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
