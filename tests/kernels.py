"""Fixtures for tests that run with each kernel in turn; a conftest.py imports them."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from flowcli.ops import native
from flowcli.ops.library import FALLBACKS

_torch_library: Any = torch.library


@pytest.fixture(scope="session")
def library() -> Path:
    """The native library for the CPU, built if it is not in the user's cache, and loaded from now on."""
    if os.environ.get("FLOWCLI_NATIVE") == "off":
        pytest.skip("FLOWCLI_NATIVE=off")
    if shutil.which((os.environ.get("CXX") or "c++").split()[0]) is None:
        pytest.skip("no C++ compiler")
    status = native.ensure("cpu")
    assert status.kernel == "native", status.reason
    assert status.path is not None
    return status.path


@pytest.fixture(params=["torch", "cpp", "cu"])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """The device to test on, with the kernels of plain torch, the .cpp files or the .cu files."""
    if request.param == "cu":
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        status = native.ensure("cuda")
        assert status.kernel == "native", status.reason
        yield "cuda"
    elif request.param == "cpp":
        request.getfixturevalue("library")
        yield "cpu"
    else:
        with _torch_library._scoped_library("flowcli", "IMPL") as override:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Warning only once for all operators", UserWarning)
                for name, kernel in FALLBACKS.items():
                    override.impl(name, kernel, "CPU", allow_override=True)
            yield "cpu"
