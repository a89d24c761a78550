"""What a file of weights says without its tensors being read: its hash, and the header of a safetensors file."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowcli import models
from flowcli.errors import WeightsError
from flowcli.regular import open_regular


def sha256(path: Path) -> str:
    """SHA-256 of the file, in hex. Raises OSError if it cannot be read."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Header:
    """The header of the safetensors file at `path`."""

    path: Path
    metadata: dict[str, str]
    parameters: int
    """How many numbers all tensors have together."""

    def network(self) -> str:
        """The network that the weights are of. Raises WeightsError if the header names none, or an unknown one."""
        network = self.metadata.get("network", "")
        known = [name for names in models.families().values() for name in names]
        if network not in known:
            said = f"name no known network: {network}" if network else "do not name their network"
            hint = f"set `network` in the metadata to one of {', '.join(known)}"
            raise WeightsError(f"weights {said}: {self.path}", hint)
        return network

    def settings(self) -> dict[str, Any]:
        """Arguments of the network. Raises WeightsError if they are damaged."""
        try:
            settings = json.loads(self.metadata.get("settings", "{}"))
        except json.JSONDecodeError as error:
            raise WeightsError(
                f"settings of the weights are not JSON: {self.path}: {error}", "write them again"
            ) from error
        if not isinstance(settings, dict):
            raise WeightsError(f"settings of the weights are not a JSON object: {self.path}", "write them again")
        return settings


def read_header(path: Path) -> Header:
    """The header of a safetensors file. Raises WeightsError if the file is missing, damaged or of another kind."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            parameters = sum(math.prod(file.get_slice(name).get_shape()) for name in names)
            return Header(path, file.metadata() or {}, parameters)
    except (SafetensorError, OSError) as error:
        raise not_safetensors(path, error) from error


def not_safetensors(path: Path, error: Exception) -> WeightsError:
    """What to raise for a file that safetensors refuses with `error`."""
    return WeightsError(f"not a safetensors file, or a damaged one: {path}: {error}", "fetch it again")
