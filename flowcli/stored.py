"""What readers of files share: all of a file, the errors for bad ones, and checks of the sizes that they state."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from flowcli.errors import FlowcliError, InputError
from flowcli.regular import read_regular

LARGEST = 99_999
"""Largest width or height that is accepted."""
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
