"""The weights that there are: the table `models.toml`, their files, their hashes, and loading them into a network.

`models.toml` has one table per set of weights, under the name that `--model` takes:

    [rpwc]
    network = "rpwc"                # a file of flowcli/models/flow
    file = "rpwc.safetensors"       # beside models.toml
    sha256 = "..."
    parameters = 1234567
    licence = "MIT"
    source = "where they come from"
    trained = "on what, when, how long"
    settings = { width = 64 }       # arguments of the network; may be left out
    gmacs = 1.5                     # and what it costs and how good it is, likewise
    epe = "..."                     # as its authors say
    measured = "..."                # by this project

A file of the user's own says the same in the metadata of its safetensors header: `network`, and `settings` as JSON.
Any safetensors file may have `ranges` there, as JSON: what goes into the convolutions, for computing in 8 bits.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import pickle
import re
import struct
import sys
import tomllib
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcli import models
from flowcli.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from flowcli.models.base import FlowModel

SUFFIXES = (".safetensors", ".pth", ".pt", ".tar", ".ckpt", ".pytorch", ".t7")
"""What is a file even if it is not there."""
REINSTALL = "install flowcli again"

_UNPICKLING_ERRORS = (
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
)
"""What torch's safe unpickler raises for files that are not what they claim to be, beside its own error."""


CLASSIC = {"dis": "dense inverse search, preset medium", "farneback": "polynomial expansion"}
"""Methods of OpenCV, which have no weights: name and what it is."""


@dataclass(frozen=True)
class Entry:
    """One set of weights, or with no file a method that has none."""

    name: str
    network: str
    file: Path | None
    sha256: str
    parameters: int
    licence: str = ""
    source: str = ""
    trained: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    gmacs: float = 0.0
    """10^9 multiply-adds of the convolutions for one pair of 1024x436; 0 where nobody knows."""
    epe: str = ""
    """Mean endpoint errors that its authors published, in words."""
    measured: str = ""
    """And those that this project measured."""


def folder() -> Path:
    """Where `models.toml` lies: in the installed package, or beside the package in a bare checkout."""
    spec = find_spec("flowcli._weights")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0])
    return Path(__file__).parent.parent / "weights"


def entries() -> list[Entry]:
    """The weights that flowcli carries, in the order of `models.toml`. Raises WeightsError if it cannot be read."""
    table = "models.toml"
    try:
        return [Entry(name, **{**values, "file": folder() / values["file"]}) for name, values in _table(table).items()]
    except (TypeError, KeyError) as error:
        raise WeightsError(f"list of weights is damaged: {folder() / table}: {error}", REINSTALL) from error


def _table(name: str) -> dict[str, dict[str, Any]]:
    path = folder() / name
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise WeightsError(f"list of weights is missing: {path}: {error.strerror}", REINSTALL) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WeightsError(f"list of weights is damaged: {path}: {error}", REINSTALL) from error


@dataclass(frozen=True)
class Published:
    """Weights that others published. sha256: its beginning at least; parameters and the rest: as of an Entry."""

    name: str
    network: str
    url: str
    licence: str
    trained: str
    parameters: int
    gmacs: float
    epe: str = ""
    measured: str = ""
    sha256: str = ""


def published() -> list[Published]:
    """What `published.toml` lists. Raises WeightsError if it cannot be read."""
    return [Published(name, **values) for name, values in _table("published.toml").items()]


def home() -> Path:
    """The user's own folder of weights, where those that are imported are kept; it need not exist."""
    named = os.environ.get("XDG_DATA_HOME") or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None)
    return (Path(named) if named else Path.home() / ".local" / "share") / "flowcli" / "weights"


def imported() -> list[Entry]:
    """The weights in the user's own folder. Raises WeightsError if one cannot be read."""
    return [_described(path) for path in sorted(home().glob("*.safetensors"))]


def classics() -> list[Entry]:
    """OpenCV's methods."""
    return [
        Entry(name, name, None, "", 0, "Apache-2.0", "OpenCV", f"not trained: {what}") for name, what in CLASSIC.items()
    ]


def resolve(name: str) -> Entry:
    """The entry of that name, or one made for a file of weights. Does not import torch.

    A file that is not safetensors is taken for one that others published: its entry has no network yet.
    Raises WeightsError if there is neither, or a safetensors file is damaged or does not name its network.
    """
    known = {entry.name: entry for entry in [*entries(), *classics()]}
    if name in known:
        return known[name]
    own = {path.stem: path for path in sorted(home().glob("*.safetensors"))}
    if name in own:
        return _described(own[name])
    path = Path(name)
    if path.suffix.lower() not in SUFFIXES and not path.is_file():
        names = [*known, *own]
        close = difflib.get_close_matches(name, names, 1)
        there = f"did you mean {close[0]}?" if close else f"there are: {', '.join(names)}"
        raise WeightsError(f"unknown model: {name}", f"{there}; or name a .safetensors file")
    return _described(path)


def _described(path: Path) -> Entry:
    """The entry of a file that describes itself."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read weights: {path}: {error.strerror}", "check the name") from error
    if path.suffix.lower() != ".safetensors":
        return Entry(path.stem, "", path, digest, 0, source=str(path))
    metadata, parameters = _header(path)
    return Entry(
        path.stem,
        _network(path, metadata),
        path,
        digest,
        parameters,
        metadata.get("licence", ""),
        metadata.get("source", str(path)),
        metadata.get("trained", ""),
        _settings(path, metadata),
        float(metadata.get("gmacs", 0)),
        metadata.get("epe", ""),
        metadata.get("measured", ""),
    )


def verify(entry: Entry) -> None:
    """Raises WeightsError if the file is missing or is not the one that the entry describes."""
    path = _file(entry)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read weights: {path}: {error.strerror}", REINSTALL) from error
    if digest != entry.sha256:
        raise WeightsError(f"weights are damaged: {path}: sha256 is {digest}, expected {entry.sha256}", REINSTALL)


def _file(entry: Entry) -> Path:
    if entry.file is None:
        raise WeightsError(f"{entry.name} has no weights", "name a network")
    return entry.file


def load(entry: Entry, **settings: Any) -> FlowModel:
    """The network with these weights, on the CPU, in evaluation mode; `settings` go over the entry's own.

    Raises WeightsError if the file is damaged, unsafe, or of another network.
    """
    network, own, state = read(entry)
    path = _file(entry)
    model = build(network, {**own, **settings}, state, path, f"network {network}")
    if ranges := _ranges(path, model):
        model.ranges, model.precisions = ranges, ("int8", *model.precisions)
    return model


def build(network: str, settings: dict[str, Any], state: dict[str, Tensor], path: Path, what: str) -> FlowModel:
    """The network with these tensors, in evaluation mode. path, what: where they are from and what of, in messages.

    Raises WeightsError if the network does not take the settings, or the tensors do not fit it.
    """
    try:
        model = models.create(network, **settings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"settings do not fit {what}: {error}", "leave them out") from error
    _check_fit(path, network, state, model.state_dict())
    model.load_state_dict(state)
    return model.eval()


def read(entry: Entry) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """The network that these weights are of, its settings, and the tensors. Raises WeightsError, as `load` does."""
    verify(entry)
    path = _file(entry)
    if not entry.network:
        raise WeightsError(f"weights do not name their network: {path}", f"take them in: flowcli models import {path}")
    return entry.network, entry.settings, _read(path)


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Metadata and number of parameters of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            return file.metadata() or {}, sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"not a safetensors file, or a damaged one: {path}: {error}", "fetch it again") from error


def _network(path: Path, metadata: dict[str, Any]) -> str:
    network = str(metadata.get("network", ""))
    if network not in models.names():
        said = f"name no known network: {network}" if network else "do not name their network"
        raise WeightsError(
            f"weights {said}: {path}", f"set `network` in the metadata to one of {', '.join(models.names())}"
        )
    return network


def _settings(path: Path, metadata: dict[str, Any]) -> dict[str, Any]:
    settings = metadata.get("settings", {})
    try:
        settings = json.loads(settings) if isinstance(settings, str) else settings
    except json.JSONDecodeError as error:
        raise WeightsError(f"settings of the weights are not JSON: {path}: {error}", "write them again") from error
    if not isinstance(settings, dict):
        raise WeightsError(f"settings of the weights are not a JSON object: {path}", "write them again")
    return settings


def _ranges(path: Path, model: FlowModel) -> dict[str, tuple[float, float]]:
    """What goes into the convolutions of the model, by their names; empty where the file does not say."""
    from flowcli.models.conv import Conv

    metadata, _ = _header(path)
    try:
        ranges = {
            name: (float(low), float(high)) for name, (low, high) in json.loads(metadata.get("ranges", "{}")).items()
        }
        damaged = [name for name, (low, high) in ranges.items() if not -math.inf < low <= 0 <= high < math.inf]
        damaged += [name for name in ranges if not isinstance(model.get_submodule(name), Conv)]
    except (AttributeError, TypeError, ValueError) as error:
        damaged = [str(error)]
    if damaged:
        raise WeightsError(f"ranges of the weights are damaged: {path}: {damaged[0]}", "leave them out of its metadata")
    return ranges


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"not a safetensors file, or a damaged one: {path}: {error}", "fetch it again") from error


def unpickle(path: Path, what: str, hint: str) -> Any:
    """What torch.save wrote, on the CPU; runs no code of the file. Raises WeightsError, which calls the file `what`."""
    import torch

    try:
        with warnings.catch_warnings():
            # torch warns of pickles that it then reads, or refuses, all the same.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except _UNPICKLING_ERRORS as error:
        # torch's own words are many, and recommend what must not be done.
        called = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it would call {called[1]}" if called else str(error).partition(". ")[0] or type(error).__name__
        raise WeightsError(f"unsafe or damaged {what}: {path}: {reason}", hint) from error


def _check_fit(path: Path, network: str, state: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in wanted if name not in state]
    problems += [f"{name} is too many" for name in state if name not in wanted]
    problems += [
        f"{name} is {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise WeightsError(
            f"weights are not of network {network}: {path}: {problems[0]}{more}", "choose weights made for it"
        )
