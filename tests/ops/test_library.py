"""Native kernels are compared with plain torch before they are used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WRONG = """
import logging, sys, warnings
import torch
from flowcli.errors import DeviceError
from flowcli.ops import library, native, correlation, lookup_correlation

logging.basicConfig(format="%(message)s", stream=sys.stdout)
assert native.ensure("cpu").kernel == "native"
# Right in everything but the order of channels, as a kernel with a wrong layout would be.
def wrong(first, second, radius, dilation):
    return library.FALLBACKS["correlation"](first, second, radius, dilation).flip(1)
warnings.simplefilter("ignore")
wrongs = torch.library.Library("flowcli", "IMPL")
if sys.argv[1] == "wrong":
    wrongs.impl("correlation", wrong, "CPU", allow_override=True)
first, second = torch.rand(2, 1, 3, 5, 7)
try:
    # Its kernel is asked for as before anything was loaded.
    entry = library._build_then("lookup_correlation", library.FALLBACKS["lookup_correlation"])
    entry(first, second, torch.zeros(1, 2, 5, 7), 1)
except DeviceError as error:
    print("error:", error.message)
else:
    right = torch.allclose(correlation(first, second, 1), library.FALLBACKS["correlation"](first, second, 1, 1))
    print("right" if right else "wrong")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "mode", "said"),
    [
        ("native", "auto", ["right"]),
        (
            "wrong",
            "auto",
            ["the native kernel of correlation gives wrong results on this cpu; the slower torch kernel runs", "right"],
        ),
        ("wrong", "require", ["error: the native kernel of correlation gives wrong results on this cpu"]),
    ],
)
def test_a_native_kernel_that_is_wrong_gives_way(
    root: Path, library: object, way: str, mode: str, said: list[str]
) -> None:
    environment = {**os.environ, "FLOWCLI_NATIVE": mode}
    words = [sys.executable, "-c", WRONG, way]
    done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == said
