"""Weights that a run starts from, in the place of random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowcli.errors import WeightsError
from flowcli.models.base import Network
from flowcli.weights import entries, loading
from flowcli.weights.unpickling import unpickle


def start_from(path: Path, network: str, model: Network) -> dict[str, Any] | None:
    """Take over the weights in that file; parts of the network that they do not have, or of other size, stay new.

    Of a checkpoint these are the weights as trained, not their average; returns the optimizer's state then.
    Raises WeightsError if the file is damaged, of another network, or fits nowhere.
    """
    momentum = None
    if path.suffix == ".pt":
        saved: dict[str, Any] = unpickle(path, "checkpoint", "start from another")
        theirs, state, momentum = saved["options"]["network"], saved["model"], saved["optimizer"]
    else:
        entry = entries.resolve(str(path))
        theirs, state = entry.network, loading.read(entry)
    if theirs != network:
        raise WeightsError(f"weights are of the network {theirs}: {path}", f"choose some of {network}")
    own = model.state_dict()
    kept = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    if not kept:
        raise WeightsError(f"no part of {network} is in the weights {path}", f"choose some of {network}")
    model.load_state_dict(own | kept)
    return momentum
