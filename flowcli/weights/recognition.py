"""Files that others published: of which network their weights are, told by the names and shapes in them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from flowcli import models
from flowcli.errors import WeightsError
from flowcli.models.base import FlowModel, Network
from flowcli.models.flavours import Flavour, flavours
from flowcli.weights.checkpoints import read_checkpoint
from flowcli.weights.entries import other_network
from flowcli.weights.loading import build

Kind = TypeVar("Kind", bound=Network)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A file whose weights were recognised."""

    path: Path
    flavour: Flavour
    state: dict[str, Tensor]
    """The tensors under the names that the network has here."""

    def build(self, kind: type[Kind], **settings: Any) -> Kind:
        """The network with these weights, on the CPU, in evaluation mode; `settings` go over the flavour's own.

        Raises WeightsError if the network is not derived from `kind`, or does not take the settings.
        """
        flavour = self.flavour
        what = f"{flavour.title}, {self.path}"
        return build(kind, flavour.network, {**flavour.settings, **settings}, self.state, self.path, what)


def load(path: Path, network: str | None = None, **settings: Any) -> FlowModel:
    """The network of flow whose published weights the file holds, on the CPU, in evaluation mode.

    Raises WeightsError if they cannot be read safely, are of no network that is known, or of another than `network`.
    """
    checkpoint = recognise(path)
    flavour = checkpoint.flavour
    if network not in (None, flavour.network, flavour.name):
        raise other_network(path, flavour.network, str(network))
    return checkpoint.build(FlowModel, **settings)


def recognise(path: Path) -> Checkpoint:
    """The weights in the file, and whose they are.

    Any file of a set, as SpyNet's authors have one for each level, stands for all that lie beside it.
    Raises WeightsError if it cannot be read safely, or is of no network that is known.
    """
    state = _read(path)
    nearest = (0, "")
    for flavour in flavours():
        if not re.search(flavour.file, path.name, re.IGNORECASE):
            continue
        wanted = _shapes(flavour.network, json.dumps(dict(flavour.settings)))
        given = flavour.rename(state)
        zeros = {name: torch.zeros(shape) for name, shape in wanted.items() if re.search(flavour.zeros, name)}
        named = given if zeros.keys() & given.keys() else {**given, **zeros}
        found = {name: tuple(tensor.shape) for name, tensor in named.items()}
        if found == wanted:
            return Checkpoint(path, flavour, named)
        common = sum(wanted.get(name) == found[name] for name in given)
        nearest = max(nearest, (common, flavour.title), key=lambda each: each[0])
    near = f"; nearest is {nearest[1]}, of which it has {nearest[0]} tensors" if nearest[0] else ""
    raise WeightsError(
        f"weights of no network that is known: {path} has {len(state)} tensors{near}",
        f"known are {', '.join(flavour.title for flavour in flavours())}",
    )


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors in the file under the names there; those of a set have the file's number, from 1, before theirs."""
    for flavour in flavours():
        if not (names := flavour.parts(path.name)):
            continue
        state: dict[str, Tensor] = {}
        for number, name in enumerate(names, 1):
            part = path.with_name(name)
            if not part.is_file():
                raise WeightsError(
                    f"one of the files of {flavour.title} is not there: {part}", "put all of a set into one folder"
                )
            state |= {f"{number}.{key}": tensor for key, tensor in read_checkpoint(part).items()}
        return state
    return read_checkpoint(path)


@lru_cache(maxsize=64)
def _shapes(network: str, settings: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = models.find(network)(**json.loads(settings)).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
