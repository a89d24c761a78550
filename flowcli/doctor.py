"""Checks of everything that `flowcli estimate` needs."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from flowcli.api import estimate
from flowcli.errors import FlowcliError
from flowcli.options import EngineOptions
from flowcli.weights import entries

_OLDEST = (3, 11)
_SIDE = 128
"""Side of the pictures of the trial run, pixels."""


@dataclass(frozen=True)
class Check:
    """One finding. `fail`: flow cannot be estimated; `warn`: it can, but slower or with fewer features."""

    name: str
    status: Literal["ok", "warn", "fail"]
    text: str
    hint: str = ""


def checks() -> Iterator[Check]:
    """All checks in order of dependence; without torch, the checks that need it are left out."""
    yield _python()
    yield _ffmpeg()
    yield from _weights()
    torch = _torch()
    yield torch
    if torch.status != "fail":
        yield _device()
        yield _cpu()
        yield _kernel()
        yield _cache()
        yield _trial()


def _python() -> Check:
    text = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < _OLDEST:
        return Check("python", "fail", text, f"install Python {'.'.join(map(str, _OLDEST))} or newer")
    return Check("python", "ok", text)


def _ffmpeg() -> Check:
    from flowcli.video import ffmpeg_path, ffmpeg_version

    try:
        path = ffmpeg_path()
        return Check("ffmpeg", "ok", f"{ffmpeg_version(path)} at {path}")
    except FlowcliError as error:
        return Check("ffmpeg", "fail", error.message, error.hint)


def _weights() -> Iterator[Check]:
    try:
        carried = entries.entries()
    except FlowcliError as error:
        yield Check("weights", "fail", error.message, error.hint)
        return
    if EngineOptions.model not in [entry.name for entry in carried]:
        yield Check("weights", "fail", f"the default model {EngineOptions.model} is not there", entries.REINSTALL)
    for entry in carried:
        name = f"weights {entry.name}"
        try:
            entries.verified_file(entry)
            yield Check(name, "ok", f"verified, at {entry.file}")
        except FlowcliError as error:
            yield Check(name, "fail" if entry.name == EngineOptions.model else "warn", error.message, error.hint)


def _torch() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("torch", "fail", f"cannot be imported: {error}", "pip install torch")
    return Check("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Check("device", "ok", f"cuda: {', '.join(names)}")
    if torch.version.cuda:
        return Check("device", "warn", "cpu; torch finds no GPU", "if there is one, install its driver")
    return Check("device", "ok", "cpu; this torch is built without CUDA")


def _cpu() -> Check:
    import torch

    from flowcli.engine.precision import fast_precisions

    capability, precisions = torch.backends.cpu.get_cpu_capability(), fast_precisions(torch.device("cpu"))
    return Check("cpu", "ok", f"{capability}, {os.cpu_count()} cores, runs in {precisions[0]}")


def _kernel() -> Check:
    import torch

    from flowcli.ops import native

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        status = native.ensure(device)
    except FlowcliError as error:
        return Check("kernel", "fail", error.message, error.hint)
    if status.kernel == "native":
        return Check("kernel", "ok", f"native on {device}, at {status.path}")
    return Check("kernel", "warn", f"slower torch kernels on {device}: {status.reason}", status.hint)


def _cache() -> Check:
    from flowcli.ops import native

    try:
        folder = native.cache_folder()
    except FlowcliError as error:
        return Check("cache", "warn", error.message, error.hint)
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if os.access(there, os.W_OK | os.X_OK):
        return Check("cache", "ok", f"{folder} is writable")
    return Check("cache", "warn", f"{folder} is not writable", "set XDG_CACHE_HOME to a folder that is")


def _trial() -> Check:
    """Checks that two small pictures give finite flow of the right size."""
    import numpy as np

    from flowcli.types import Frame

    picture = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
    frames = [Frame(np.roll(picture, index, axis=1), index, Fraction(index)) for index in range(2)]
    began = time.perf_counter()
    try:
        flows = [pair.forward.uv for pair in estimate(frames)]
    except FlowcliError as error:
        return Check("estimate", "fail", error.message, error.hint)
    if [tuple(flow.shape) for flow in flows] != [(2, _SIDE, _SIDE)] or not bool(flows[0].isfinite().all()):
        return Check("estimate", "fail", "the flow of two small pictures is not finite", entries.REINSTALL)
    return Check(
        "estimate", "ok", f"{EngineOptions.model}, two pictures of {_SIDE}x{_SIDE}, {time.perf_counter() - began:.1f} s"
    )
