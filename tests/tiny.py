"""flowcli with a network of known output as its default model, in this process or in another one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from flowcli.pictures import write_picture

NETWORKS = Path(__file__).parent / "networks"
ROOT = NETWORKS.parent.parent
DOWN = 0.5
"""v of every flow."""


def write_weights(path: Path, network: str = "brightness", settings: str = "{}", **tensors: Any) -> str:
    """Writes weights of `network` and returns their sha256. tensors: replace the right ones."""
    import torch
    from safetensors.torch import save_file

    save_file(tensors or {"down": torch.tensor([DOWN])}, path, metadata={"network": network, "settings": settings})
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_table(folder: Path, name: str = "rpwc") -> Path:
    """Makes `folder` one of weights, with `name` for the only entry. Returns the file of the weights."""
    folder.mkdir()
    file = folder / f"{name}.safetensors"
    digest = write_weights(file)
    (folder / "models.toml").write_text(
        f'[{name}]\nnetwork = "brightness"\nfile = "{file.name}"\nsha256 = "{digest}"\nparameters = 1\n'
        'licence = "MIT"\nsource = "made by the tests"\ntrained = "not at all"\n'
        'gmacs = 2.5\nepe = "none"\nmeasured = "nothing"\n'
    )
    return file


def write_pictures(folder: Path, count: int, height: int = 13, width: int = 18) -> Path:
    """A folder of `count` pictures, f0.png and so on; the nth has brightness 10 n."""
    folder.mkdir()
    for index in range(count):
        write_picture(folder / f"f{index}.png", np.full((height, width, 3), 10 * index, np.uint8))
    return folder


_START = """
import sys
from pathlib import Path
from flowcli.models import flow
from flowcli.weights import entries
from flowcli.cli.main import main
flow.__path__.append(sys.argv[1])
entries.folder = lambda: Path(sys.argv[2])
sys.exit(main(sys.argv[3:]))
"""


def start(weights: Path, arguments: Sequence[object], **options: Any) -> subprocess.Popen[bytes]:
    """Starts flowcli in another process, with the table of weights in the folder `weights`."""
    command = [sys.executable, "-c", _START, str(NETWORKS), str(weights), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "FLOWCLI_NATIVE": "off"}
    return subprocess.Popen(command, env=environment, **options)


def children(pid: int) -> set[int]:
    """All descendants of the process `pid`, from /proc; its threads may end meanwhile."""
    found = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, task.read_text().split()):
                found |= {child} | children(child)
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
