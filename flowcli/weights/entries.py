"""The weights that there are: those that flowcli carries, those in the user's own folder, and any other file.

The table `models.toml` has one entry per set of weights that flowcli carries, under the name that `--model` takes:

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

import os
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flowcli.errors import NotFetchedError, WeightsError, closest
from flowcli.models.flavours import downloads
from flowcli.weights import files

SUFFIXES = (".safetensors", ".pth", ".pt", ".tar", ".ckpt", ".pytorch", ".t7")
"""Endings of what is taken for the name of a file even if no such file is there."""
REINSTALL = "install flowcli again"

CLASSIC = {"dis": "dense inverse search, preset medium", "farneback": "polynomial expansion"}
"""OpenCV's methods, which have no weights: their names, and what they are."""


@dataclass(frozen=True)
class Entry:
    """One set of weights, or a method that has none, which has no file."""

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
    """Mean endpoint errors that this project measured, in words."""
    stated: bool = False
    """Whether `models.toml` states `sha256`, which the file must have; otherwise it is what the file has."""


def folder() -> Path:
    """The folder of `models.toml`: in the installed package, or beside the package in a bare checkout."""
    spec = find_spec("flowcli._weights")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0])
    return Path(__file__).parents[2] / "weights"


def entries() -> list[Entry]:
    """The weights that flowcli carries, in the order of `models.toml`. Raises WeightsError if it cannot be read."""
    path = folder() / "models.toml"
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
        return [
            Entry(name, **{**values, "file": path.with_name(values["file"]), "stated": True})
            for name, values in table.items()
        ]
    except OSError as error:
        raise WeightsError(f"list of weights is missing: {path}: {error.strerror}", REINSTALL) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise WeightsError(f"list of weights is damaged: {path}: {error}", REINSTALL) from error


def home() -> Path:
    """The user's own folder of weights, where imported ones are kept; it need not exist."""
    named = os.environ.get("XDG_DATA_HOME") or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None)
    return (Path(named) if named else Path.home() / ".local" / "share") / "flowcli" / "weights"


def imported() -> tuple[list[Entry], list[WeightsError]]:
    """The weights in the user's own folder, and what is wrong with those that cannot be read."""
    found, bad = list[Entry](), list[WeightsError]()
    for path in sorted(home().glob("*.safetensors")):
        try:
            found.append(_described(path))
        except WeightsError as error:
            bad.append(error)
    return found, bad


def classics() -> list[Entry]:
    """OpenCV's methods."""
    return [
        Entry(name, name, None, "", 0, "Apache-2.0", "OpenCV", f"not trained: {what}") for name, what in CLASSIC.items()
    ]


def resolve(name: str, offer: Sequence[str] | None = None) -> Entry:
    """The entry of that name, or one made for a file of weights. Does not import torch.

    A file that is not safetensors is taken for one that others published: its entry has no network yet.
    offer: names that the hint of an error may name, None for all.
    Raises NotFetchedError if the model has to be downloaded first, and WeightsError if there is none of that name, or a
    safetensors file is damaged or does not name its network.
    """
    known = {entry.name: entry for entry in [*entries(), *classics()]}
    if name in known:
        return known[name]
    own = {path.stem: path for path in sorted(home().glob("*.safetensors"))}
    if name in own:
        return _described(own[name])
    path = Path(name)
    if path.suffix.lower() not in SUFFIXES and not path.is_file():
        names = [*known, *own] if offer is None else offer
        listed = {download.name: flavour.licence for flavour, download in downloads()}
        if name in listed:
            raise NotFetchedError(name, listed[name])
        otherwise = f"there are: {', '.join(names)}; or name a .safetensors file"
        hint = closest(name, [*names, *(listed if offer is None else ())], otherwise)
        raise WeightsError(f"unknown model: {name}", hint)
    return _described(path)


def _described(path: Path) -> Entry:
    """The entry of a file that describes itself."""
    try:
        digest = files.sha256(path)
    except OSError as error:
        raise WeightsError(f"cannot read weights: {path}: {error.strerror}", "check the name") from error
    if path.suffix.lower() != ".safetensors":
        return Entry(path.stem, "", path, digest, 0, source=str(path))
    header = files.read_header(path)
    metadata = header.metadata
    return Entry(
        path.stem,
        header.network(),
        path,
        digest,
        header.parameters,
        metadata.get("licence", ""),
        metadata.get("source", str(path)),
        metadata.get("trained", ""),
        header.settings(),
        _gmacs(metadata.get("gmacs", "0")),
        metadata.get("epe", ""),
        metadata.get("measured", ""),
    )


def _gmacs(text: str) -> float:
    """0 where a file says what is no number."""
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0


def verified_file(entry: Entry) -> Path:
    """The file of the entry, which has the hash that is stated, if one is.

    Raises WeightsError if there is no such file, or it is another one.
    """
    path = entry.file
    if path is None:
        raise WeightsError(f"{entry.name} has no weights", "name a network")
    if entry.stated:
        try:
            digest = files.sha256(path)
        except OSError as error:
            raise WeightsError(f"cannot read weights: {path}: {error.strerror}", REINSTALL) from error
        if digest != entry.sha256:
            raise WeightsError(f"weights are damaged: {path}: sha256 is {digest}, expected {entry.sha256}", REINSTALL)
    return path


def other_network(file: Path | str, found: str, wanted: str) -> WeightsError:
    """What to raise for a file of weights of the network `found` where `wanted` was named."""
    return WeightsError(f"{file} holds weights of {found}, not of {wanted}", f"pass --model {found}")
