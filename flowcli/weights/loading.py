"""From an entry to a network with its weights."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from flowcli import models
from flowcli.errors import WeightsError
from flowcli.models.base import FlowModel, Network
from flowcli.models.conv import Conv
from flowcli.weights.entries import Entry, verified_file
from flowcli.weights.files import not_safetensors, read_header

Kind = TypeVar("Kind", bound=Network)


def load(entry: Entry, **settings: Any) -> FlowModel:
    """The network of flow with these weights, on the CPU, in evaluation mode; `settings` go over the entry's own.

    Raises WeightsError if the file is damaged, unsafe, or of another network.
    """
    return load_as(FlowModel, entry, **settings)


def load_as(kind: type[Kind], entry: Entry, **settings: Any) -> Kind:
    """As `load`, for networks that are derived from `kind`, whatever they make."""
    path = verified_file(entry)
    state = _read(entry, path)
    model = build(kind, entry.network, {**entry.settings, **settings}, state, path, f"network {entry.network}")
    if ranges := _ranges(path, model):
        model.ranges, model.precisions = ranges, ("int8", *model.precisions)
    return model


def read(entry: Entry) -> dict[str, Tensor]:
    """The tensors by the names that the entry's network has. Raises WeightsError, as `load` does."""
    return _read(entry, verified_file(entry))


def _read(entry: Entry, path: Path) -> dict[str, Tensor]:
    if not entry.network:
        raise WeightsError(f"weights do not name their network: {path}", f"take them in: flowcli models import {path}")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise not_safetensors(path, error) from error


def build(
    kind: type[Kind], network: str, settings: dict[str, Any], state: dict[str, Tensor], path: Path, what: str
) -> Kind:
    """The network with these tensors, in evaluation mode. path, what: where they are from and what of, in messages.

    Raises WeightsError if the network is not derived from `kind`, does not take the settings, or does not have these
    tensors.
    """
    made = models.find(network)
    if not issubclass(made, kind):
        raise WeightsError(f"{what} makes {made.makes}, not {kind.makes}", "choose another model")
    try:
        # First without memory: settings of a few bytes can ask for any amount of it, the tensors that are there cannot.
        with torch.device("meta"):
            _check_fit(path, network, state, made(**settings).state_dict())
        model = made(**settings)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise WeightsError(f"settings do not fit {what}: {error}", "leave them out") from error
    model.load_state_dict(state)
    return model.eval()


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


def _ranges(path: Path, model: Network) -> dict[str, tuple[float, float]]:
    """What goes into the convolutions of the model, by their names; empty where the file does not say."""
    stated = read_header(path).metadata.get("ranges", "{}")
    try:
        ranges = {name: (float(low), float(high)) for name, (low, high) in json.loads(stated).items()}
        damaged = [name for name, (low, high) in ranges.items() if not -math.inf < low <= 0 <= high < math.inf]
        damaged += [name for name in ranges if not isinstance(model.get_submodule(name), Conv)]
    except (AttributeError, TypeError, ValueError) as error:
        damaged = [str(error)]
    if damaged:
        raise WeightsError(f"ranges of the weights are damaged: {path}: {damaged[0]}", "leave them out of its metadata")
    return ranges
