"""Taking in weights that others published: they are tried, and kept in the user's own folder under a name."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file

from flowcli.atomic import Part
from flowcli.errors import WeightsError
from flowcli.models.base import Network
from flowcli.models.cost import multiply_adds
from flowcli.weights import entries
from flowcli.weights.recognition import Checkpoint, recognise


def import_weights(
    path: Path, name: str | None = None, *, epe: str = "", measured: str = "", overwrite: bool = False
) -> entries.Entry:
    """The entry of the weights in `path`, which from now on go by `name`, or by the name of what they are.

    epe, measured: what is known of their errors, as of an Entry. The weights are kept under `entries.home()`. Raises
    WeightsError if they are not known, or their network does not run with them; OutputError if the name is taken and
    `overwrite` is not set.
    """
    checkpoint = recognise(path)
    _try(checkpoint)
    flavour = checkpoint.flavour
    kept = entries.home() / f"{name or flavour.name}.safetensors"
    kept.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "network": flavour.network,
        "settings": json.dumps(dict(flavour.settings)),
        "licence": flavour.licence,
        "source": f"{flavour.source} ({path.name})",
        "trained": f"by others: {flavour.title}",
        "gmacs": f"{multiply_adds(flavour.network, **flavour.settings):.1f}",
        "epe": epe,
        "measured": measured,
    }
    with Part(kept, overwrite) as part:
        # Tensors may be views of one storage, which safetensors refuses.
        own = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in checkpoint.state.items()}
        save_file(own, part.path, metadata)
    return entries.resolve(str(kept))


def _try(checkpoint: Checkpoint) -> None:
    """Raises WeightsError if the network makes nothing that can be right of two pictures of noise."""
    model = checkpoint.build(Network)
    side = max(64, model.stride)
    with torch.inference_mode():
        made = model.result(*torch.rand(2, 1, 3, side, 2 * side, generator=torch.Generator().manual_seed(0)))
    if not made.isfinite().all() or not math.isfinite(made.std().item()):
        title = checkpoint.flavour.title
        raise WeightsError(f"{title} gives no {model.makes} with the weights {checkpoint.path}", "fetch them again")
