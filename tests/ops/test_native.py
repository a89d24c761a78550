"""Building, caching and loading the native kernels, and how that fails; scripts take the place of compilers."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils import cpp_extension

from flowcli.errors import DeviceError, FlowcliError
from flowcli.ops import _compile, native
from flowcli.ops.library import FALLBACKS
from flowcli.ops.native import NativeStatus
from flowcli.private import Private
from tests.ops.compilers import BUILDING, WAITING, WRITE, Compiler, alive, probe, until
from tests.tiny import ROOT


@pytest.mark.slow
def test_builds_and_loads_once_and_says_so(compiler: Compiler, caplog: pytest.LogCaptureFixture) -> None:
    assert native.status("cpu") == NativeStatus("unused", "no operator has run")
    environment = dict(os.environ)
    status = native.ensure("cpu")
    (path,) = compiler.cache.iterdir()
    assert status == NativeStatus("native", f"built for torch {torch.__version__}", path)
    assert native.ensure("cpu") is status
    assert native.status("cpu") is status
    # Once, before it got its place, and not again from there.
    assert [loaded.parents[2] for loaded in compiler.loaded] == [compiler.cache]
    assert os.environ == environment
    assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", BUILDING)]


def test_what_is_built_is_loaded_in_silence(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    status = native.ensure("cpu")
    caplog.clear()
    compiler.does("exit 1")
    monkeypatch.setattr(native, "_known", {})
    monkeypatch.setattr(cpp_extension, "load", None)
    assert native.ensure("cpu") == status
    assert compiler.loaded[1:] == [status.path]
    assert caplog.messages == []


def test_off_builds_nothing(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FLOWCLI_NATIVE", "off")
    hint = "unset FLOWCLI_NATIVE for the faster kernels"
    assert native.ensure("cpu") == NativeStatus("fallback", "FLOWCLI_NATIVE=off", hint=hint)
    assert not compiler.cache.exists()
    assert caplog.messages == []


@pytest.mark.parametrize("value", ["on", "OFF", "1"])
def test_another_mode_is_an_error(compiler: Compiler, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FLOWCLI_NATIVE", value)
    with pytest.raises(FlowcliError) as caught:
        native.ensure("cpu")
    assert caught.value.message == f"FLOWCLI_NATIVE is {value!r}"
    assert caught.value.hint == "set it to off, auto, wait or require"


QUIET = "FLOWCLI_NATIVE=off silences this"
FAILURES = {
    "no compiler": ("", "native kernels need a C\\+\\+ compiler, 'nothing' is not there", "install g++ or set CXX"),
    "an error": (
        "echo 'In file included from'; echo 'a.cpp:3: error: no' >&2; echo 'ld: error' >&2; exit 1",
        "{compiler} cannot build native kernels: a.cpp:3: error: no",
        QUIET,
    ),
    "killed": (
        WRITE + 'echo go > "$2"; kill -9 $$',
        # Older versions of ninja leave the code out; which of the sources is first to fail, chance decides.
        "{compiler} cannot build native kernels: FAILED: (\\[code=137\\] )?\\w+\\.o",
        QUIET,
    ),
    "for ever": ("exec sleep 9", "building native kernels took more than 2 seconds", QUIET),
    "cannot be loaded": (
        WRITE + 'echo bad > "$2"',
        "{compiler} cannot build native kernels: {cache}/.build.*/flowcli_cpu.*: file too short",
        QUIET,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_one_warning_or_with_require_an_error(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: str
) -> None:
    script, pattern, hint = FAILURES[failure]
    compiler.does(script)
    if failure == "no compiler":
        monkeypatch.setenv("CXX", "nothing")
    if failure == "for ever":
        monkeypatch.setattr(native, "PATIENCE", 2)
    pattern = pattern.format(compiler=re.escape(str(compiler.path)), cache=re.escape(str(compiler.cache)))

    status = native.ensure("cpu")
    message = status.reason
    assert re.fullmatch(pattern, message), message
    assert status == NativeStatus("fallback", message, hint=hint)
    assert native.ensure("cpu") is status
    warned = f"{message}; the slower torch kernels run on cpu ({hint})"
    assert caplog.messages == ([] if failure == "no compiler" else [BUILDING]) + [warned]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * len(caplog.records)
    # Nothing half-made is left, but a note of what costs time.
    left = [path.suffix for path in compiler.cache.iterdir()] if compiler.cache.exists() else []
    assert left == ([] if failure == "no compiler" else [".failed"])

    monkeypatch.setattr(native, "_known", {})
    monkeypatch.setenv("FLOWCLI_NATIVE", "require")
    with pytest.raises(DeviceError) as caught:
        native.ensure("cpu")
    assert re.fullmatch(pattern, caught.value.message)
    assert caught.value.hint == hint


@pytest.mark.slow
def test_a_build_that_failed_is_not_tried_again(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    tried = tmp_path / "tried"
    compiler.does(f"echo x >> {shlex.quote(str(tried))}; echo 'a.cpp:3: error: no' >&2; exit 1")
    first = native.ensure("cpu")
    times = tried.read_text()
    (note,) = compiler.cache.iterdir()
    for _ in range(2):
        monkeypatch.setattr(native, "_known", {})
        caplog.clear()
        again = native.ensure("cpu")
        assert again == NativeStatus("fallback", first.reason, hint=f"to try again: rm {note}; {QUIET}")
        assert caplog.messages == [f"{again.reason}; the slower torch kernels run on cpu ({again.hint})"]
    assert tried.read_text() == times
    # Another compiler is another build, and so is one after the note has gone.
    compiler.does(WRITE + 'echo good > "$2"')
    monkeypatch.setattr(native, "_known", {})
    assert native.ensure("cpu").kernel == "fallback"
    other = compiler.path.with_name("other")
    compiler.path.rename(other)
    monkeypatch.setenv("CXX", str(other))
    monkeypatch.setattr(native, "_known", {})
    assert native.ensure("cpu").kernel == "native"
    assert not note.exists()


@pytest.mark.slow
def test_a_build_that_is_interrupted_tells_nothing_and_stops(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = compiler.hangs(tmp_path)

    def quietly(load: Callable[[], None]) -> None:
        # Its folder is gone by then.
        with suppress(RuntimeError, OSError):
            load()

    def interrupted(load: Callable[[], None], compiler: str, patience: float) -> None:
        threading.Thread(target=quietly, args=(load,), daemon=True).start()
        until(started.exists)
        raise KeyboardInterrupt

    monkeypatch.setattr(_compile, "_patiently", interrupted)
    with pytest.raises(KeyboardInterrupt):
        native.ensure("cpu")
    assert list(compiler.cache.iterdir()) == []
    until(lambda: not alive(int(started.read_text())))


_BUILDS = """
from flowcli.ops import native
native.ensure("cpu")
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_compiler_outlives_us(compiler: Compiler, tmp_path: Path, number: signal.Signals) -> None:
    started = compiler.hangs(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", _BUILDS], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        until(started.exists)
        process.send_signal(number)
        process.wait(timeout=30)
        until(lambda: not alive(int(started.read_text())))
    finally:
        process.kill()
        process.wait()


def test_a_folder_without_room_or_rights_costs_no_build(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler.does("sleep 60")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
        assert native.ensure("cpu").reason == f"there is no room for native kernels in {compiler.cache}"
    monkeypatch.setattr(native, "_known", {})
    monkeypatch.setattr(
        "os.statvfs",
        lambda folder: SimpleNamespace(
            f_flag=os.ST_NOEXEC, f_bavail=2**20, f_blocks=2**20, f_bfree=2**20, f_frsize=4096
        ),
    )
    assert native.ensure("cpu").reason == f"nothing can be run from {compiler.cache} (noexec)"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners")
def test_a_library_that_others_may_write_is_not_loaded(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    path = native.ensure("cpu").path
    assert path is not None
    for mode in (0o775, 0o757):
        path.chmod(mode)
        monkeypatch.setattr(native, "_known", {})
        assert native.ensure("cpu").path == path
        assert path.stat().st_mode & 0o022 == 0
    assert [loaded.parents[2] for loaded in compiler.loaded] == [compiler.cache] * 3
    copy = path.with_name("copy")
    path.rename(copy)
    path.symlink_to(copy)
    monkeypatch.setattr(native, "_known", {})
    assert native.ensure("cpu").path == path
    assert not path.is_symlink()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_what_another_user_owns_is_not_loaded(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    path = native.ensure("cpu").path
    assert path is not None
    os.chown(path, 12345, 12345)
    monkeypatch.setattr(native, "_known", {})
    assert native.ensure("cpu").path == path
    assert path.stat().st_uid == 0
    assert len(compiler.loaded) == 2
    os.chown(compiler.cache, 12345, 12345)
    monkeypatch.setattr(native, "_known", {})
    reason = f"the folder of native kernels belongs to another user: {compiler.cache}"
    hint = "set XDG_CACHE_HOME to a folder of your own"
    assert native.ensure("cpu") == NativeStatus("fallback", reason, hint=hint)
    assert len(compiler.loaded) == 2


@pytest.mark.slow
def test_a_folder_that_others_may_write(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler.cache.mkdir(parents=True)
    compiler.cache.chmod(0o777)
    assert native.ensure("cpu").kernel == "native"
    assert compiler.cache.stat().st_mode & 0o777 == 0o755
    compiler.cache.parent.chmod(0o777)
    monkeypatch.setattr(native, "_known", {})
    status = native.ensure("cpu")
    assert status.reason == (
        f"all users may replace the folder of native kernels: {compiler.cache.parent} is writable for all"
    )
    compiler.cache.parent.chmod(0o1777)
    monkeypatch.setattr(native, "_known", {})
    assert native.ensure("cpu").kernel == "native"


def test_without_setuptools(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.utils, "cpp_extension")
    monkeypatch.delitem(sys.modules, "torch.utils.cpp_extension")
    monkeypatch.setitem(sys.modules, "setuptools", None)
    reason = "native kernels need setuptools: import of setuptools halted; None in sys.modules"
    assert native.ensure("cpu") == NativeStatus("fallback", reason, hint="pip install setuptools")
    assert list(compiler.cache.iterdir()) == []


def test_without_ninja(compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_compile, "_ninja_folders", list)
    monkeypatch.setenv("PATH", str(tmp_path))
    reason = native.ensure("cpu").reason
    assert re.fullmatch(".* cannot build native kernels: Ninja is required .*pip install ninja.*", reason), reason


def test_a_cache_that_cannot_be_written(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(compiler.path))
    assert native.ensure("cpu") == NativeStatus(
        "fallback",
        f"cannot build native kernels in {compiler.path / 'flowcli'}: Not a directory",
        hint="set XDG_CACHE_HOME to a folder that can be written to",
    )
    assert len(caplog.records) == 1


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["go", "", "good but longer"])
def test_a_damaged_library_is_not_loaded_but_built_anew(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    path = native.ensure("cpu").path
    assert path is not None
    path.write_text(damage)
    monkeypatch.setattr(native, "_known", {})
    assert native.ensure("cpu").path == path
    assert path.read_text() == "good\n"
    assert list(compiler.cache.iterdir()) == [path]
    assert [loaded.parents[2] for loaded in compiler.loaded] == [compiler.cache] * 2


@pytest.mark.slow
def test_what_a_killed_build_left_is_removed(compiler: Compiler) -> None:
    killed = compiler.cache / ".build.0a1b.part"
    killed.mkdir(parents=True)
    (killed / "kernel.o").touch()
    (killed / "lock").touch()
    other = Private(compiler.cache, "build-of-another")
    other.path.rename(at_work := compiler.cache / ".build.2c3d.part")
    assert native.ensure("cpu").kernel == "native"
    assert not killed.exists()
    assert at_work.exists(), "another process is at work in it"


@pytest.mark.slow
def test_the_compiler_may_have_options(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler.does(f'[ "$1" = -option ] || exit 1; {WRITE} echo good > "$2"')
    monkeypatch.setenv("CXX", f"{shlex.quote(str(compiler.path))} -option")
    assert native.ensure("cpu").kernel == "native"


def test_the_key_names_everything_that_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "kernel.cpp"
    source.write_text("int a;")
    keys = [native._key([source], ["-O3"])]
    assert native._key([source], ["-O3"]) == keys[0]
    keys.append(native._key([source], ["-O2"]))
    source.write_text("int b;")
    keys.append(native._key([source], ["-O3"]))
    (tmp_path / "kernel.h").write_text("int c;")
    keys.append(native._key([source], ["-O3"]))
    monkeypatch.setattr(torch, "__version__", "9.9.9+cpu")
    keys.append(native._key([source], ["-O3"]))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NONE")
    keys.append(native._key([source], ["-O3"]))
    monkeypatch.setattr("platform.machine", lambda: "abacus")
    keys.append(native._key([source], ["-O3"]))
    assert len(set(keys)) == len(keys)


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.cache_folder() == tmp_path / "flowcli"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for system, folder in (("linux", ".cache"), ("darwin", "Library/Caches")):
        monkeypatch.setattr(sys, "platform", system)
        assert native.cache_folder() == tmp_path / folder / "flowcli"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert native.cache_folder() == tmp_path / "Local/flowcli"


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)
    with pytest.raises(DeviceError, match=r"^no home folder to keep native kernels in$"):
        native.cache_folder()


@pytest.mark.parametrize("device", ["mps", "cuda"])
def test_devices_without_native_kernels(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, device: str
) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    reason = f"there are no native kernels for {device} in torch {torch.__version__}"
    assert native.ensure(device) == NativeStatus("fallback", reason)
    assert caplog.messages == []
    monkeypatch.setattr(native, "_known", {})
    monkeypatch.setenv("FLOWCLI_NATIVE", "require")
    with pytest.raises(DeviceError) as caught:
        native.ensure(device)
    assert caught.value.message == reason


@pytest.fixture
def two_gpus(compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two unlike GPUs and CUDA 13.0 in the folder that comes back; nvcc is yet to be written there."""
    capabilities = [(9, 0), (8, 6)]
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capabilities[index])
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", str(tmp_path / "cuda"))
    (tmp_path / "cuda/bin").mkdir(parents=True)
    return tmp_path / "cuda/bin"


def nvcc(folder: Path, release: str) -> Path:
    """A script in the place of nvcc, which keeps its arguments beside it."""
    path = folder / "nvcc"
    told = f"Cuda compilation tools, release {release}, V{release}.1"
    said = shlex.quote(str(folder / "said"))
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo {told!r} && exit\necho "$*" > {said}; {WRITE} echo good > "$2"\n'
    )
    path.chmod(0o755)
    return path


@pytest.mark.slow
def test_cuda_kernels_are_built_for_all_gpus(two_gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvcc(two_gpus, "13.1")
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "7.5")
    status = native.ensure("cuda")
    assert status.kernel == "native", status.reason
    assert status.path is not None
    assert status.path.name.startswith("flowcli-cuda-")
    said = (two_gpus / "said").read_text().split()
    assert [word for word in said if word.startswith("-gencode")] == [
        f"-gencode=arch=compute_{number},code={kind}_{number}" for number in (86, 90) for kind in ("compute", "sm")
    ]
    assert os.environ["TORCH_CUDA_ARCH_LIST"] == "7.5"


@pytest.mark.slow
def test_the_key_names_the_gpus(two_gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvcc(two_gpus, "13.0")
    first = native.ensure("cuda").path
    monkeypatch.setattr(native, "_known", {})
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert native.ensure("cuda").path != first


CUDA_HINT = "install the CUDA toolkit 13.0, or set CUDA_HOME to it"


def test_nvcc_of_another_cuda(two_gpus: Path) -> None:
    path = nvcc(two_gpus, "12.8")
    reason = f"{path} is CUDA 12.8, torch is built for 13.0"
    assert native.ensure("cuda") == NativeStatus("fallback", reason, hint=CUDA_HINT)


def test_a_gpu_that_torch_does_not_know(two_gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvcc(two_gpus, "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (99, 0))
    reason = "nvcc cannot build native kernels: Unknown CUDA arch (99.0+PTX) or GPU not supported"
    assert native.ensure("cuda") == NativeStatus("fallback", reason, hint=QUIET)


@pytest.mark.slow
@pytest.mark.parametrize("home", [True, False])
def test_without_nvcc_the_cpu_still_has_its_kernels(
    two_gpus: Path, monkeypatch: pytest.MonkeyPatch, home: bool
) -> None:
    if not home:
        monkeypatch.setattr(cpp_extension, "CUDA_HOME", None)
    reason = "native kernels need nvcc, which is not there"
    assert native.ensure("cuda") == NativeStatus("fallback", reason, hint=CUDA_HINT)
    assert native.ensure("cpu").kernel == "native"


@pytest.mark.parametrize(("suffix", "key"), [(".cpp", "CPU"), (".cu", "CUDA")])
def test_the_sources_register_every_operator(root: Path, suffix: str, key: str) -> None:
    folder, found = root / "flowcli/ops", []
    for source in sorted(folder.glob(f"*{suffix}")):
        text = source.read_text(encoding="utf-8")
        assert re.findall(r"TORCH_LIBRARY_IMPL\(flowcli, (\w+),", text) == [key], source.name
        if "{ implement(library); }" in text:
            text = source.with_suffix(".h").read_text(encoding="utf-8")
        found += re.findall(r'\.impl\("(\w+)", (\w+)\)', text)
    # Plain torch does these on a GPU: numbers of 8 bits are for CPUs, and what is carried takes little time there.
    on_cpus = {"cell_means", "quantise", "crowded_out", "elect", "sample_labels", "splat", "sum_alike", "warp"}
    expected = set(FALLBACKS) - (on_cpus if key == "CUDA" else set())
    assert sorted(found) == sorted((operator, operator) for operator in expected)


@pytest.mark.slow
def test_two_processes_build_at_once(library: Path, compiler: Compiler, root: Path) -> None:
    """The compiler is slow and talks, and its product is the real library: one builds, the other waits for it."""
    compiler.does(
        f'echo talk; echo error >&2; {WRITE} sleep 1; head -c 1000 {library} > "$2"; sleep 1; cp {library} "$2"'
    )
    running = [probe(root, compiler.cache.parent, str(compiler.path)) for _ in range(2)]
    said = []
    for process in running:
        out, err = process.communicate(timeout=120)
        assert json.loads(out) == ["native", True, True, True, 1]
        said += err.splitlines()
    assert sorted(said) == [WAITING, BUILDING]
    (made,) = compiler.cache.iterdir()
    assert made.name == library.name


@pytest.mark.slow
def test_what_is_built_needs_nothing_to_build(library: Path, root: Path, tmp_path: Path) -> None:
    """Neither compiler nor ninja, and what builds is not even imported."""
    out, err = probe(root, library.parents[1], "nothing", PATH=str(tmp_path)).communicate(timeout=120)
    assert json.loads(out) == ["native", True, True, False, 1]
    assert err == ""


@pytest.mark.slow
def test_ninja_need_not_be_on_the_path(library: Path, compiler: Compiler, root: Path, tmp_path: Path) -> None:
    """As when the user runs `<venv>/bin/flowcli` without activating the environment."""
    tools = tmp_path / "bin"
    tools.mkdir()
    copy = shutil.which("cp")
    assert copy is not None
    (tools / "cp").symlink_to(copy)
    compiler.does(f'{WRITE} cp {library} "$2"')
    out, err = probe(root, compiler.cache.parent, str(compiler.path), PATH=str(tools)).communicate(timeout=120)
    assert json.loads(out) == ["native", True, True, True, 1]
    assert err.splitlines() == [BUILDING]


@pytest.mark.slow
def test_a_process_without_a_compiler_warns_once_and_works(compiler: Compiler, root: Path) -> None:
    out, err = probe(root, compiler.cache.parent, "nothing").communicate(timeout=120)
    assert json.loads(out) == ["fallback", False, True, False, 1]
    assert err.splitlines() == [
        "native kernels need a C++ compiler, 'nothing' is not there; the slower torch kernels run on cpu"
        " (install g++ or set CXX)"
    ]
