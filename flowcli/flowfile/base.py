"""What the formats share: flow in memory, the errors for bad files, and checks of the sizes they state."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from flowcli.errors import FlowcliError, InputError
from flowcli.regular import read_regular

Flow = tuple[np.ndarray, np.ndarray | None]
"""uv: (2, H, W) float32, 0 where unknown; valid: (H, W) bool, None where all of it is known."""

LARGEST = 99_999
"""Largest width or height that is accepted."""
UNKNOWN = 1e9
"""Larger values mean unknown, in every format."""
_DEFLATE = 1032
"""Most bytes that one byte of a deflated stream can expand to."""
_HINT = "get the file again"


def need(package: str, path: Path) -> None:
    """Raises FlowcliError if the package that files like `path` need is not installed."""
    if find_spec(package) is None:
        kind = path.suffix.lower()
        raise FlowcliError(f"{package} is needed for {kind} files: {path}", "pip install 'flowcli[formats]'")


def read_bytes(path: Path) -> bytes:
    """All of the file. Raises InputError if it cannot be read."""
    try:
        return read_regular(path)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> InputError:
    """The error to raise when `path` cannot be read."""
    return InputError(f"cannot read {path}: {error.strerror or error}", "check the name and the permissions")


def damaged(path: Path, why: str = "") -> InputError:
    """The error to raise when the file is of its kind, but broken."""
    return InputError(f"damaged {path.suffix.lower()} file: {path}{why and ' '}{why}", _HINT)


def strange(path: Path) -> InputError:
    """The error to raise when the file is not of the kind that its suffix names."""
    return InputError(f"not a {path.suffix.lower()} file: {path}", _HINT)


def check_size(path: Path, height: int, width: int) -> None:
    """Raises InputError for a height or width below 1 or above LARGEST."""
    if not (1 <= width <= LARGEST and 1 <= height <= LARGEST):
        raise damaged(path, f"says {width}x{height}")


def check_stored(path: Path, size: int, stored: int) -> None:
    """Raises InputError if deflated data of `stored` bytes cannot hold the `size` bytes that a header promises."""
    if size > stored * _DEFLATE:
        raise damaged(path, f"promises {size} bytes and has {stored}")


def known(uv: np.ndarray, valid: np.ndarray | None = None) -> Flow:
    """`uv`, set to 0 in place where it is unknown, and its mask; unknown are NaN and large values too."""
    finite = np.all(np.abs(uv) <= UNKNOWN, axis=0)
    valid = finite if valid is None else finite & valid
    if valid.all():
        return uv, None
    uv[:, ~valid] = 0
    return uv, valid


def where_known(uv: np.ndarray) -> np.ndarray:
    """(H, W) bool of a flow that is NaN where unknown."""
    known: np.ndarray = ~np.isnan(uv).any(axis=0)
    return known


def floats(numbers: np.ndarray) -> np.ndarray:
    """A copy as float32; numbers that are too large become infinite."""
    with np.errstate(over="ignore"):
        return np.array(numbers, np.float32, order="C")


def interleaved(uv: np.ndarray) -> np.ndarray:
    """The first two channels of an (H, W, C) array as (2, H, W) float32."""
    return floats(uv[..., :2].transpose(2, 0, 1))
