"""Reading what this program itself wrote with torch.save, without running code that somebody may have put there."""

from __future__ import annotations

import io
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from flowcli.errors import WeightsError
from flowcli.regular import open_regular
from flowcli.weights.checkpoints import pickle_name
from flowcli.weights.pickles import read_pickle

_ERRORS = (
    pickle.UnpicklingError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)
"""What torch's safe unpickler raises for files that are not what they claim to be, beside its own error."""


def unpickle(path: Path, what: str, hint: str) -> Any:
    """What torch.save wrote, on the CPU; runs no code of the file. Raises WeightsError, which calls the file `what`."""
    try:
        _check_size(path)
        with warnings.catch_warnings():
            # torch warns of pickles that it then reads, or refuses, all the same.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except _ERRORS as error:
        # torch's own words are many, and recommend what must not be done.
        called = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it would call {called[1]}" if called else str(error).partition(". ")[0] or type(error).__name__
        raise WeightsError(f"unsafe or damaged {what}: {path}: {reason}", hint) from error


def _check_size(path: Path) -> None:
    """Raises ValueError or BadZipFile if reading it could take far more memory or time than its size lets expect."""
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        name = pickle_name(archive, file.seek(0, io.SEEK_END))
        read_pickle(io.BytesIO(archive.read(name)))
