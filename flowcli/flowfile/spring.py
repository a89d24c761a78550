"""Spring's .flo5: one HDF5 dataset `flow`, (H, W, 2), gzip, NaN where unknown. Needs h5py.

Source: the example code of the Spring benchmark, spring-benchmark.org.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from flowcli.errors import InputError
from flowcli.flowfile.base import Flow, interleaved, known
from flowcli.stored import check_size, check_stored, damaged, need, read_bytes, strange

_GZIP = {"compression": "gzip", "compression_opts": 5}


def read(path: Path) -> Flow:
    need("h5py", path)
    import h5py

    data = read_bytes(path)
    try:
        # From memory: then nothing in the file can make HDF5 open another one.
        with h5py.File(io.BytesIO(data), "r") as file:
            return known(interleaved(_dataset(path, file, len(data))[()]))
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise (damaged if data.startswith(b"\x89HDF\r\n\x1a\n") else strange)(path) from error


def write(path: Path, uv: np.ndarray) -> None:
    need("h5py", path)
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        flow = uv.transpose(1, 2, 0).astype("<f4")
        file.create_dataset("flow", data=flow, **_GZIP)
    path.write_bytes(buffer.getvalue())


def _dataset(path: Path, file: Any, stored: int) -> Any:
    """The dataset, when what it says of itself makes sense: HDF5 believes a damaged file and takes gigabytes."""
    import h5py

    if not isinstance(file.get("flow", getlink=True), h5py.HardLink) or not isinstance(file["flow"], h5py.Dataset):
        raise damaged(path, "has no dataset `flow`")
    flow = file["flow"]
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.dtype.kind != "f":
        raise InputError(f"not a flow (height, width, 2): {path} has {flow.dtype} {flow.shape}", "give Spring's .flo5")
    check_size(path, *flow.shape[:2])
    check_stored(path, flow.nbytes, stored)
    if flow.is_virtual or flow.external:
        raise damaged(path, "takes its data from other files")
    if flow.chunks is not None:
        check_stored(path, math.prod(flow.chunks) * flow.dtype.itemsize, stored)
    return flow
